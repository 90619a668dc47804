import pytest

from tests.processor_time import processor_seconds
from trading_rlhf.errors import ReviewError
from trading_rlhf.feedback import (
    LateAnswerError,
    ReviewDesk,
    Submission,
    create_account,
)
from trading_rlhf.store import read_events


def answer(desk, reviewer, proposal_id="proposal-0", verdict="approve", token="t", **more):
    return desk.submit(reviewer, proposal_id, verdict, token=token, seconds=2.5, **more)


def fill(desk, proposal, count=3, **changes):
    desk.add_proposals([proposal(n, **changes) for n in range(count)])


def robots(store, count):
    return [
        create_account(store, f"simulated-{n}", None, "reviewer", simulated=True).id
        for n in range(count)
    ]


def test_bulk_answers_are_the_same_events(desk, store, proposal):
    fill(desk, proposal, 4)
    one, two = robots(store, 2)
    bulk = [
        Submission(name, f"proposal-{n}", "approve", f"t{n}", 1.0, tags=("news",), note="n")
        for name in (one, two)
        for n in range(3)
    ]
    given = desk.submit_many(bulk)
    assert [a.proposal_id for a in given[:3]] == ["proposal-0", "proposal-1", "proposal-2"]
    assert desk.submit_many(bulk) == given
    assert desk.standing_answers() == given
    single = ReviewDesk(store, desk._clock, overlap=9).submit(
        one, "proposal-3", "approve", token="t3", seconds=1.0, tags=("news",), note="n"
    )
    with store.read() as session:
        events = read_events(session, "answer")
    assert single.event_id == events[-1].id
    assert events[0].payload.keys() == events[-1].payload.keys()
    assert desk.undo(two) == "proposal-2"


def test_bulk_answers_are_all_or_none_and_never_a_persons(desk, store, ann, proposal):
    fill(desk, proposal, 1)
    (robot,) = robots(store, 1)
    good = Submission(robot, "proposal-0", "approve", "t", 1.0)
    with pytest.raises(ReviewError, match="a stored trade"):
        desk.submit_many([good, Submission(robot, "nothing", "approve", "u", 1.0)])
    with pytest.raises(ReviewError, match="only simulated"):
        desk.submit_many([good, Submission(ann, "proposal-0", "approve", "u", 1.0)])
    with pytest.raises(LateAnswerError, match="answers a trade once"):
        desk.submit_many([good, Submission(robot, "proposal-0", "reject", "u", 1.0)])
    assert desk.standing_answers() == []


def test_the_desk_is_quick_with_many_items(desk, store, ann, proposal):
    made = [proposal(n % 500, id=f"p{n}") for n in range(10_000)]
    (robot,) = robots(store, 1)
    bulk = [Submission(robot, f"p{n}", "approve", f"t{n}", 1.0) for n in range(5_000)]
    # Generous: ten times and more of what an idle machine takes.
    assert processor_seconds(lambda: desk.add_proposals(made), 1) < 40
    assert processor_seconds(lambda: desk.submit_many(bulk), 1) < 12
    assert processor_seconds(lambda: desk.next_item(ann)) < 2
    assert processor_seconds(lambda: desk.progress(ann)) < 4
