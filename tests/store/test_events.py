import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from trading_rlhf.errors import StoreError
from trading_rlhf.store import Draft, append, append_many, canonical_json, last_event, read_events
from trading_rlhf.store.schema import EventRow, ProposalRow


def add(store, number=1, stream="trial", **more):
    with store.write() as session:
        return [
            append(session, stream, "run", {"number": n}, actor="test", **more)
            for n in range(1, number + 1)
        ]


def test_each_stream_counts_by_itself(store):
    assert [event.seq for event in add(store, 3)] == [1, 2, 3]
    assert [event.seq for event in add(store, 2, stream="data")] == [1, 2]
    assert [event.id for event in add(store, 1)] == ["trial-4"]


def test_an_event_reads_back_as_it_was_appended(store, clock):
    with store.write() as session:
        written = append(session, "trial", "run", {"x": 0.1}, actor="a", subject="s", key="k")
    with store.read() as session:
        (read,) = read_events(session, "trial")
        assert last_event(session, "trial") == read
        assert last_event(session, "data") is None
    assert written.is_new
    assert vars(read) == {**vars(written), "is_new": False}
    assert read.at == clock()


def test_a_key_appends_once(store):
    first = add(store, 1, key="k")[0]
    second = add(store, 1, key="k")[0]
    assert (second.seq, second.mac, second.is_new) == (1, first.mac, False)
    assert add(store, 1, key="other")[0].seq == 2
    with store.write() as session:
        twice = append_many(session, "data", [Draft("run", {}, "a", key="k")] * 2)
    assert [event.is_new for event in twice] == [True, False]


def test_events_are_filtered(store):
    add(store, 3)
    with store.write() as session:
        append(session, "trial", "other", {}, actor="test", subject="s")
    with store.read() as session:
        assert [event.seq for event in read_events(session, "trial", after=2)] == [3, 4]
        assert [event.seq for event in read_events(session, "trial", kind="other")] == [4]
        assert [event.seq for event in read_events(session, "trial", subject="s")] == [4]


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": {1, 2}}, {"x": float("inf")}])
def test_only_json_is_stored(store, payload):
    with store.write() as session, pytest.raises(StoreError, match="plain JSON"):
        append(session, "trial", "run", payload, actor="test")


def test_an_unknown_stream_is_refused(store):
    with store.write() as session, pytest.raises(StoreError, match="must be known"):
        append(session, "gossip", "run", {}, actor="test")


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.one_of(st.text(), st.floats(allow_nan=False), st.integers())))
def test_canonical_json_does_not_depend_on_order(value):
    try:
        text = canonical_json(value)
    except StoreError:
        assert any(x in (float("inf"), float("-inf")) for x in value.values())
        return
    assert text == canonical_json(dict(reversed(value.items())))
    assert text.isascii()


@pytest.mark.parametrize("table", [EventRow, ProposalRow])
@pytest.mark.parametrize("change", ["update", "delete", "replace"])
def test_the_database_refuses_changes(store, proposal_payload, table, change):
    from trading_rlhf.store import insert_proposals

    with store.write() as session:
        insert_proposals(session, [proposal_payload])

    statement = {
        "update": update(table).values(payload="{}"),
        "delete": delete(table),
        "replace": insert(table)
        .prefix_with("OR REPLACE")
        .from_select(list(table.__table__.columns), table.__table__.select()),
    }[change]
    with pytest.raises(StoreError, match="append-only"), store.write() as session:
        session.execute(statement)


def test_another_program_is_refused_too(store, path):
    add(store)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM events")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE events SET actor = 'me'")
    connection.close()
