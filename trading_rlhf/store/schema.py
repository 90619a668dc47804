"""The tables. Events and proposals are append-only; the rest is working state or erasable."""

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from trading_rlhf.errors import StoreError

__all__ = [
    "AccountRow",
    "Base",
    "EventRow",
    "FailureRow",
    "LeaseRow",
    "NoteRow",
    "ProposalRow",
    "SessionRow",
    "UtcTime",
    "utc_text",
]


def utc_text(moment: datetime) -> str:
    """Return a moment as ISO text in UTC with microseconds, so that texts sort as times do.

    Raises:
        StoreError: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise StoreError("a stored time must carry a zone", "a naive time", "Use UTC.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime kept as ISO text: the same bytes in every database."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Turn an aware datetime into text."""
        return None if value is None else utc_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn text into an aware datetime."""
        return None if value is None else datetime.fromisoformat(value)


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it again."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class EventRow(Base):
    """One thing that happened; the sequence and the code are per stream."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("stream", "kind", "key"),
        Index(None, "stream", "kind", "actor"),
        Index(None, "stream", "kind", "subject"),
    )

    stream: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcTime)
    actor: Mapped[str] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)
    mac: Mapped[str] = mapped_column(String(64))


class ProposalRow(Base):
    """A proposal: the whole of it as canonical JSON, and beside it what is searched for."""

    __tablename__ = "proposals"
    __table_args__ = (Index(None, "mode", "expires_at"), Index(None, "market", "known_at"))

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    market: Mapped[str] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(String(16))
    bar: Mapped[int] = mapped_column(Integer)
    known_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    policy_id: Mapped[str] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)


class NoteRow(Base):
    """The text of a note, erasable; the chain holds the hash of salt and text."""

    __tablename__ = "notes"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    reviewer: Mapped[str] = mapped_column(Text, index=True)
    salt: Mapped[str | None] = mapped_column(String(32))
    text: Mapped[str | None] = mapped_column(Text)
    erased_at: Mapped[datetime | None] = mapped_column(UtcTime)


class AccountRow(Base):
    """Who may log in; the chain knows only the id, so names can be erased."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    display_name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(Text)
    simulated: Mapped[bool] = mapped_column(Boolean)
    certified: Mapped[bool] = mapped_column(Boolean)
    active: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class SessionRow(Base):
    """A login; only the hash of its token is kept."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)


class FailureRow(Base):
    """A login attempt that has not succeeded; the name is hashed (it may be a password)."""

    __tablename__ = "login_failures"
    __table_args__ = (Index(None, "name_hash", "at"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name_hash: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcTime)


class LeaseRow(Base):
    """An item that a reviewer is looking at, and the token its answer carries."""

    __tablename__ = "leases"

    reviewer: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    proposal_id: Mapped[str] = mapped_column(ForeignKey("proposals.id"), index=True)
    token: Mapped[str] = mapped_column(String(64))
    until: Mapped[datetime] = mapped_column(UtcTime)
