"""First tables: events and proposals (append-only), accounts, sessions, leases, notes."""

import sqlalchemy as sa
from alembic import op

__all__ = ["downgrade", "upgrade"]

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.String(32)
APPEND_ONLY = ("events", "proposals")


def upgrade() -> None:
    _create_append_only()
    _create_accounts()
    _create_working_state()
    for table in APPEND_ONLY:
        if op.get_bind().dialect.name == "sqlite":
            _refuse_changes_sqlite(table)
        else:
            _refuse_changes_postgres(table)


def downgrade() -> None:
    for table in (
        "leases",
        "notes",
        "login_failures",
        "sessions",
        "accounts",
        "proposals",
        "events",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION trading_rlhf_append_only")


def _create_append_only() -> None:
    op.create_table(
        "events",
        sa.Column("stream", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("stream", "seq", name="pk_events"),
        sa.UniqueConstraint("stream", "kind", "key", name="uq_events_stream_kind_key"),
    )
    op.create_index("ix_events_stream_kind_actor", "events", ["stream", "kind", "actor"])
    op.create_index("ix_events_stream_kind_subject", "events", ["stream", "kind", "subject"])
    op.create_table(
        "proposals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("bar", sa.Integer(), nullable=False),
        sa.Column("known_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("policy_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_proposals"),
    )
    op.create_index("ix_proposals_market_known_at", "proposals", ["market", "known_at"])
    op.create_index("ix_proposals_mode_expires_at", "proposals", ["mode", "expires_at"])


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("certified", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_sessions_account_id_accounts"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
    )
    op.create_index("ix_sessions_account_id", "sessions", ["account_id"])
    op.create_table(
        "login_failures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name_hash", sa.String(64), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_failures"),
    )
    op.create_index("ix_login_failures_name_hash_at", "login_failures", ["name_hash", "at"])


def _create_working_state() -> None:
    op.create_table(
        "notes",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("salt", sa.String(32), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("erased_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("hash", name="pk_notes"),
    )
    op.create_index("ix_notes_reviewer", "notes", ["reviewer"])
    op.create_table(
        "leases",
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("proposal_id", sa.Text(), nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["proposal_id"], ["proposals.id"], name="fk_leases_proposal_id_proposals"
        ),
        sa.ForeignKeyConstraint(["reviewer"], ["accounts.id"], name="fk_leases_reviewer_accounts"),
        sa.PrimaryKeyConstraint("reviewer", name="pk_leases"),
    )
    op.create_index("ix_leases_proposal_id", "leases", ["proposal_id"])


def _refuse_changes_sqlite(table: str) -> None:
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_refuse_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        )


def _refuse_changes_postgres(table: str) -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION trading_rlhf_append_only() RETURNS trigger AS $$ "
        "BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION trading_rlhf_append_only()"
    )
