import json
import sqlite3

import pytest

from trading_rlhf.errors import AuditError
from trading_rlhf.store import (
    append,
    erase_notes,
    insert_proposals,
    open_store,
    read_notes,
    save_note,
    verify,
    write_head,
)


@pytest.fixture
def filled(store, head, proposal_payload):
    """Five answers, one with a note, and three proposals, signed."""
    with store.write() as session:
        for n in range(3):
            insert_proposals(session, [{**proposal_payload, "id": f"p{n}"}])
        for n in range(5):
            note = save_note(session, "ann", "too large") if n == 2 else None
            payload = {"n": n, "note_hash": note}
            append(session, "answer", "verdict", payload, actor="ann", subject="p1", key=f"k{n}")
    write_head(store, head)
    return store


def problems(store, head):
    report = verify(store, head)
    assert report.ok is (not report.problems)
    return report.problems


def test_an_untouched_store_is_in_order(filled, head):
    report = verify(filled, head)
    assert (report.ok, report.problems) == (True, [])
    assert report.streams == {"answer": 5, "proposal": 3}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", '{"n": 1,"note_hash":null}'),
        ("payload", "{"),
        ("payload", b"\xff\x00"),
        ("actor", "bob"),
        ("kind", "undo"),
        ("subject", "p2"),
        ("subject", None),
        ("key", "other"),
        ("key", None),
        ("at", "2024-03-01T21:00:00.000001+00:00"),
        ("at", "yesterday"),
        ("mac", "0" * 64),
        ("mac", "\u00e9"),
    ],
)
def test_a_changed_event_is_named(filled, head, tamper, column, value):
    tamper(f"UPDATE events SET {column} = ? WHERE stream = 'answer' AND seq = 2", (value,))
    assert problems(filled, head)[0].startswith("answer 2")
    assert "was changed" in problems(filled, head)[0]


def test_a_changed_event_does_not_blame_others(filled, head, tamper):
    tamper("UPDATE events SET actor = 'bob' WHERE stream = 'answer' AND seq = 2")
    (problem,) = problems(filled, head)
    assert problem == "answer 2: the event was changed, moved or signed with another key."


def test_a_removed_event_is_named(filled, head, tamper):
    tamper("DELETE FROM events WHERE stream = 'answer' AND seq = 2")
    assert problems(filled, head) == ["answer 2: the event is missing."]


def test_a_removed_event_with_renumbered_followers_is_named(filled, head, tamper):
    tamper("DELETE FROM events WHERE stream = 'answer' AND seq = 2")
    for n in (3, 4, 5):
        tamper("UPDATE events SET seq = ? WHERE stream = 'answer' AND seq = ?", (n - 1, n))
    assert any(text.startswith("answer 2 to 4") for text in problems(filled, head))
    assert any("answer 5" in text and "cut off" in text for text in problems(filled, head))


def test_reordered_events_are_named(filled, head, tamper):
    for old, new in ((2, 99), (3, 2), (99, 3)):
        tamper("UPDATE events SET seq = ? WHERE stream = 'answer' AND seq = ?", (new, old))
    assert any(text.startswith("answer 2 to ") for text in problems(filled, head))


def test_a_truncated_stream_is_named(filled, head, tamper):
    tamper("DELETE FROM events WHERE stream = 'answer' AND seq >= 4")
    (problem,) = problems(filled, head)
    assert problem.startswith("answer 5: the head file vouches for this event")
    assert "ends at 3: the end was cut off" in problem


def test_a_whole_stream_that_is_gone_is_named(filled, head, tamper):
    tamper("DELETE FROM events WHERE stream = 'answer'")
    assert any("answer 5" in text and "ends at 0" in text for text in problems(filled, head))


def test_an_event_added_by_hand_is_named(filled, head, tamper):
    tamper(
        "INSERT INTO events SELECT stream, 6, kind, at, actor, subject, 'k9', payload, mac "
        "FROM events WHERE stream = 'answer' AND seq = 5"
    )
    assert problems(filled, head)[0].startswith("answer 6: the event was changed")


def test_a_truncated_and_rewritten_end_is_named(filled, head, tamper):
    """Whoever holds the key rewrites the end; the head file still tells."""
    tamper("DELETE FROM events WHERE stream = 'answer' AND seq = 5")
    with filled.write() as session:
        append(session, "answer", "verdict", {"n": 9}, actor="ann", subject="p1", key="k9")
    found = problems(filled, head)
    assert "answer 5: the head file vouches for another event of this number." in found


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", "{}"),
        ("symbol", "AAPL"),
        ("mode", "history"),
        ("bar", 8),
        ("expires_at", "2030-01-01T00:00:00.000000+00:00"),
        ("known_at", "never"),
        ("policy_id", "other"),
        ("market", "sp20"),
    ],
)
def test_a_changed_proposal_is_named(filled, head, tamper, column, value):
    tamper(f"UPDATE proposals SET {column} = ? WHERE id = 'p1'", (value,))
    (problem,) = problems(filled, head)
    assert problem.startswith("proposal 2: ")
    assert "changed" in problem


def test_a_removed_proposal_is_named(filled, head, tamper):
    tamper("DELETE FROM proposals WHERE id = 'p1'")
    assert problems(filled, head) == ["proposal 2: the row of the proposal is missing."]


def test_a_proposal_without_an_event_is_named(filled, head, tamper):
    tamper(
        "INSERT INTO proposals SELECT 'p9', market, symbol, mode, bar, known_at, expires_at, "
        "policy_id, payload FROM proposals WHERE id = 'p1'"
    )
    assert problems(filled, head) == ["proposal 3: a proposal after it has no event: p9."]


def test_a_changed_note_is_named(filled, head, tamper):
    tamper("UPDATE notes SET text = 'just right'")
    assert problems(filled, head) == ["answer 3: the note was changed."]
    tamper("DELETE FROM notes")
    assert problems(filled, head) == ["answer 3: the row of its note is missing."]


def test_an_exchanged_note_is_named(filled, head, tamper):
    tamper("UPDATE notes SET hash = 'x', text = 'just right'")
    found = problems(filled, head)
    assert found[0] == "answer 3: the row of its note is missing."
    assert "belongs to no answer" in found[1]


def test_an_erased_note_leaves_the_chain_in_order(filled, head, path):
    with filled.write() as session:
        assert erase_notes(session, reviewer="bob") == 0
        assert erase_notes(session) == 0
        assert erase_notes(session, reviewer="ann") == 1
    assert problems(filled, head) == []
    with filled.read() as session:
        assert read_notes(session, ["x"]) == {}
    filled.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT text, salt FROM notes").fetchall() == [(None, None)]
    connection.close()
    assert b"too large" not in path.read_bytes()


def test_another_key_vouches_for_nothing(filled, head, path, clock):
    with open_store(path, b"another key of sixteen bytes", clock) as other:
        found = problems(other, head)
        assert found[0].startswith("answer 1 to 5: ")
        assert any("from another key" in text and "answer 5" in text for text in found)
        with pytest.raises(AuditError, match="another key"):
            write_head(other, head)


def test_a_missing_head_file_is_named(filled, head):
    head.unlink()
    (problem,) = problems(filled, head)
    assert "is missing" in problem
    assert "answer 5, proposal 3" in problem


def test_an_old_head_file_is_named(filled, head):
    with filled.write() as session:
        append(session, "answer", "verdict", {}, actor="ann")
        append(session, "trial", "run", {}, actor="ann")
    found = problems(filled, head)
    assert found[0].startswith("answer 6: the head file is older than the database")
    assert found[1].startswith("trial 1: the head file is older than the database")
    write_head(filled, head)
    assert problems(filled, head) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "\x00", '{"signature": "x", "streams": {"answer": 3}}', "5"]
)
def test_an_unreadable_head_file_is_named(filled, head, text):
    head.write_text(text)
    assert "cannot be read" in problems(filled, head)[0]


def test_a_changed_head_file_is_named(filled, head):
    content = json.loads(head.read_text())
    content["streams"]["answer"]["seq"] = 4
    head.write_text(json.dumps(content))
    assert "changed after it was signed: answer 4" in problems(filled, head)[0]


def test_a_head_file_is_never_replaced_by_one_that_hides_a_loss(filled, head, tamper):
    before = head.read_text()
    tamper("DELETE FROM events WHERE stream = 'answer' AND seq >= 4")
    with pytest.raises(AuditError, match="answer 5"):
        write_head(filled, head)
    assert head.read_text() == before


def test_no_half_written_head_file_stays(filled, head, monkeypatch):
    before = head.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_head(filled, head)
    assert head.read_text() == before


def test_many_proposals_are_stored_in_seconds(store, head, proposal_payload):
    import time

    # Time of the processor, which other processes on a busy machine do not lengthen.
    start = time.process_time()
    with store.write() as session:
        rows = [{**proposal_payload, "id": f"q{n}"} for n in range(10_000)]
        assert insert_proposals(session, rows) == 10_000
        assert insert_proposals(session, rows[:100]) == 0
    assert time.process_time() - start < 30
    write_head(store, head)
    assert problems(store, head) == []


def test_an_event_from_another_store_with_this_key_is_named(
    filled, head, tamper, tmp_path, audit_key, clock
):
    """One key serves every run; the code of the event before tells their chains apart."""
    with open_store(tmp_path / "other.db", audit_key, clock) as other, other.write() as session:
        append(session, "answer", "verdict", {"n": "x"}, actor="ann", subject="p1", key="k0")
        foreign = append(session, "answer", "verdict", {"n": 99}, actor="ann", key="k1")
    tamper(
        "UPDATE events SET payload = '{\"n\":99}', subject = NULL, mac = ? "
        "WHERE stream = 'answer' AND seq = 2",
        (foreign.mac,),
    )
    assert problems(filled, head)[0].startswith("answer 2")
