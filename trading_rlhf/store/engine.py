"""Opens the database: SQLite in WAL mode by default, PostgreSQL by URL; one writer at a time."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock, Timeout
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from trading_rlhf.errors import StoreError
from trading_rlhf.store.chain import Chain
from trading_rlhf.types import Clock

__all__ = ["Store", "migration_config", "open_store"]

_WAIT_SECONDS = 30
# Any constant will do, as long as every process that writes to the database takes the same.
_POSTGRES_LOCK = 7_264_511


class Store:
    """An open database with its audit chain and clock; made by ``open_store``."""

    def __init__(self, engine: Engine, chain: Chain, clock: Clock) -> None:
        self._engine = engine
        self._reader = (
            engine
            if _is_sqlite(engine.url)
            else engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._writer = engine.execution_options(writes=True)
        self.chain = chain
        self.clock = clock

    def __repr__(self) -> str:
        return f"Store({self._engine.url.render_as_string(hide_password=True)})"

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give the only writing transaction: committed at the end, rolled back on any error.

        Raises:
            StoreError: the database refused, or stayed locked for 30 seconds.
        """
        with _clear_errors(), self._session(self._writer, writes=True) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a consistent view that cannot append events.

        Raises:
            StoreError: the database cannot be read.
        """
        with _clear_errors(), self._session(self._reader, writes=False) as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _session(self, engine: Engine, *, writes: bool) -> Session:
        info = {"chain": self.chain, "clock": self.clock, "writes": writes}
        return Session(engine, expire_on_commit=False, info=info)


def open_store(path_or_url: str | Path, audit_key: bytes, clock: Clock) -> Store:
    """Open a database, making or upgrading its tables.

    Args:
        path_or_url: a file ("runs/desk/store.db") or a SQLAlchemy URL
            ("postgresql+psycopg://user@host/name").
        audit_key: secret of the audit chain, at least 16 bytes.
        clock: the present, time-zone aware.

    Raises:
        StoreError: the file is no database, cannot be written, or comes from a newer version.
    """
    chain = Chain(audit_key)
    url = _url(path_or_url)
    try:
        if _is_sqlite(url):
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        with _setup_lock(url):
            _create_file(url)
            engine = create_engine(url, hide_parameters=True, **_options(url))
            _listen(engine)
            with _clear_errors():
                _migrate(engine)
    except Timeout:
        raise StoreError(
            "a database is set up by one process at a time",
            f"a lock on {url.database} that stayed for {_WAIT_SECONDS} s",
            "Stop the other process and try again.",
        ) from None
    except OSError as error:
        raise StoreError(
            "the database file must be writable",
            f"{url.database} ({error.strerror})",
            "Choose a folder that exists and is yours.",
        ) from None
    return Store(engine, chain, clock)


def migration_config(connection: Connection) -> Config:
    """Return Alembic's configuration for an open connection."""
    config = Config()
    # Alembic interpolates percent signs, which a folder's name may hold.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    return config


def _url(path_or_url: str | Path) -> URL:
    text = str(path_or_url)
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except SQLAlchemyError:
        url = URL.create("unknown")
    name = url.get_backend_name()
    in_memory = name == "sqlite" and url.database in (None, "", ":memory:")
    if name not in ("sqlite", "postgresql") or in_memory:
        raise StoreError(
            "the store must be a file or a PostgreSQL URL",
            f"a URL for {name}",
            "Pass a path such as runs/desk/store.db or postgresql+psycopg://host/name.",
        )
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _setup_lock(url: URL) -> AbstractContextManager[object]:
    """Two processes that open a new file must not both create it; PostgreSQL locks by itself."""
    if not _is_sqlite(url):
        return nullcontext()
    return FileLock(f"{url.database}.lock", timeout=_WAIT_SECONDS)


def _create_file(url: URL) -> None:
    """Create a new file readable by its owner only: it holds password hashes.

    An existing file is not opened: closing any descriptor of it drops SQLite's locks for the
    whole process, and another process would then delete the write-ahead log in use.
    """
    if _is_sqlite(url) and not os.path.isfile(str(url.database)):
        os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT, 0o600))


def _options(url: URL) -> dict[str, Any]:
    if _is_sqlite(url):
        return {"connect_args": {"timeout": _WAIT_SECONDS}}
    return {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}


def _listen(engine: Engine) -> None:
    if not _is_sqlite(engine.url):

        @event.listens_for(engine, "begin")
        def take_turn(connection: Connection) -> None:
            if connection.get_execution_options().get("writes"):
                connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))

        return

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transactions upgrade a read to a write and lose to a busy database.
        connection.isolation_level = None
        # A commit must outlive a power cut, or the head file would name events that are gone;
        # recursive triggers let the append-only triggers see INSERT OR REPLACE; secure delete
        # overwrites an erased note instead of leaving it in a free page.
        for name, value in (
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            ("foreign_keys", "ON"),
            ("recursive_triggers", "ON"),
            ("secure_delete", "ON"),
        ):
            connection.execute(f"PRAGMA {name}={value}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(engine: Engine) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        config = migration_config(connection)
        newest = ScriptDirectory.from_config(config).get_current_head()
        if MigrationContext.configure(connection).get_current_revision() == newest:
            return
        _refuse_foreign(connection)
        try:
            command.upgrade(config, "head")
        except CommandError:
            raise StoreError(
                "the database must not be newer than the program",
                "tables of an unknown revision",
                "Install the version of trading_rlhf that wrote it.",
            ) from None


def _refuse_foreign(connection: Connection) -> None:
    """Never put tables into somebody else's database."""
    tables = inspect(connection).get_table_names()
    if tables and "alembic_version" not in tables:
        raise StoreError(
            "the database must be empty or made by this program",
            f"one with the table {tables[0]}",
            "Name another file or database.",
        )


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn a database error into one sentence without the statement and its values."""
    try:
        yield
    except (SQLAlchemyError, UnicodeEncodeError) as error:
        cause = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        raise StoreError(
            "the database must accept this", cause, "Check the file, its space and its rights."
        ) from error
