"""Alembic's entry: works on the connection that the engine passes in, never on its own."""

from alembic import context

from trading_rlhf.store.schema import Base

__all__: list[str] = []

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
