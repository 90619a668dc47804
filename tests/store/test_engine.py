import sqlite3
import stat

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from trading_rlhf.errors import StoreError
from trading_rlhf.store import append, engine, open_store, read_events
from trading_rlhf.store.engine import migration_config
from trading_rlhf.store.schema import Base


def test_migrations_make_the_models(store, path):
    with create_engine(f"sqlite:///{path}").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_downgrade_leaves_no_table(store, path):
    store.close()
    with create_engine(f"sqlite:///{path}").begin() as connection:
        downgrade(migration_config(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_a_store_opens_again_with_its_events(store, path, audit_key, clock):
    with store.write() as session:
        append(session, "data", "loaded", {"rows": 3}, actor="test")
    store.close()
    with open_store(path, audit_key, clock) as again, again.read() as session:
        assert [event.payload for event in read_events(session, "data")] == [{"rows": 3}]


def test_a_folder_may_have_a_percent_sign(tmp_path, audit_key, clock, monkeypatch):
    open_store(tmp_path / "100%20 done" / "store.db", audit_key, clock).close()
    monkeypatch.setattr(engine, "__file__", "/home/100% me/engine.py")
    folder = migration_config(None).get_main_option("script_location")
    assert folder == "/home/100% me/migrations"


def test_sqlite_is_durable_and_private(store, path):
    with store.read() as session:
        connection = session.connection()
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    assert values == ["wal", 2, 1, 1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("a_file/store.db", "must be writable"),
        ("a_folder", "must be writable"),
        ("sqlite://", "must be a file"),
        (":memory:", "must be a file"),
        ("mysql://root:hunter2@host/name", "must be a file"),
        ("not a url://", "must be a file"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_sentence(
    tmp_path, monkeypatch, audit_key, clock, where, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(StoreError, match=sentence) as caught:
        open_store(where, audit_key, clock)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(path, audit_key, clock):
    path.write_text("date,symbol,close\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(path, audit_key, clock)


def test_a_newer_database_is_refused(store, path, audit_key, clock):
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer than the program"):
        open_store(path, audit_key, clock)


def test_a_short_key_is_refused(path, clock):
    with pytest.raises(StoreError, match="at least 16 bytes"):
        open_store(path, b"short", clock)


def test_no_secret_shows(store, audit_key):
    assert audit_key.decode() not in repr(store) + repr(store.chain) + repr(
        vars(store.chain).keys()
    )


def test_an_error_in_the_middle_leaves_nothing(store):
    def work():
        with store.write() as session:
            append(session, "data", "loaded", {"rows": 1}, actor="test")
            raise RuntimeError("the machine stops")

    with pytest.raises(RuntimeError, match="the machine stops"):
        work()
    with store.read() as session:
        assert read_events(session, "data") == []


def test_a_reading_session_cannot_append(store):
    with store.read() as session, pytest.raises(StoreError, match="a writing session"):
        append(session, "data", "loaded", {}, actor="test")


def test_a_reader_keeps_one_view(store):
    with store.read() as session:
        assert read_events(session, "trial") == []
        with store.write() as other:
            append(other, "trial", "run", {}, actor="a")
        assert read_events(session, "trial") == []
    with store.read() as session:
        assert len(read_events(session, "trial")) == 1
