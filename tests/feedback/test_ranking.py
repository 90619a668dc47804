"""The review desk with an active queue: what it hands out, and what it remembers of that."""

import pytest

from trading_rlhf.feedback import ReviewDesk, Submission, create_account
from trading_rlhf.feedback.records import Answer
from trading_rlhf.store import read_events, verify, write_head

SHARE = 0.25


@pytest.fixture
def active(store, clock) -> ReviewDesk:
    return ReviewDesk(store, clock, active=True)


def fill(desk, proposal, count=60) -> list[str]:
    made = [proposal(n) for n in range(count)]
    desk.add_proposals(made)
    return [trade.id for trade in made]


def ranked(desk, names) -> None:
    """The last proposal is worth most."""
    desk.rank({name: float(n) for n, name in reversed(list(enumerate(names)))}, SHARE, "model-1")


def work(desk, reviewer, count) -> list[tuple[int, bool, Answer]]:
    """Answer what comes; number of the proposal, what the item said, and the stored answer."""
    done = []
    for _ in range(count):
        item = desk.next_item(reviewer)
        number = int(item.proposal.id.removeprefix("proposal-"))
        given = desk.submit(reviewer, item.proposal.id, "approve", token=item.token, seconds=2.0)
        done.append((number, item.random_share, given))
    return done


def test_without_a_ranking_it_asks_as_the_random_queue_does(desk, active, ann, proposal) -> None:
    fill(desk, proposal)
    assert active.next_item(ann) == desk.next_item(ann)
    assert active.next_item(ann).random_share


def test_a_ranking_is_followed_but_for_the_random_share(active, ann, proposal, store) -> None:
    ranked(active, fill(active, proposal))
    done = work(active, ann, 40)
    picked = [number for number, random, _ in done if not random]
    drawn = [number for number, random, _ in done if random]
    assert picked == sorted(picked, reverse=True)
    assert 4 <= len(drawn) <= 18
    assert [given.random_share for *_, given in done] == [random for _, random, _ in done]
    assert active.standing_answers() == [given for *_, given in done]
    with store.read() as session:
        events = read_events(session, "answer", "picked")
    assert [event.subject for event in events] == [f"proposal-{number}" for number in picked]
    assert events[0].payload["value"] == picked[0]
    assert events[0].payload["ranking"].startswith("proposal-")


def test_two_reviewers_share_the_ranking_and_the_random_share(
    active, ann, bob, proposal, store
) -> None:
    ranked(active, fill(active, proposal))
    both = {name: [] for name in (ann, bob)}
    for _ in range(30):
        for name in both:
            both[name] += work(active, name, 1)
    hers, his = ({number: random for number, random, _ in both[name]} for name in both)
    assert not hers.keys() & his.keys()
    assert {*hers, *his} == set(range(60))
    with store.read() as session:
        assert len(read_events(session, "answer", "picked")) < 60


def test_the_item_on_the_screen_stays_when_a_new_ranking_comes(active, ann, proposal) -> None:
    names = fill(active, proposal)
    ranked(active, names)
    item = active.next_item(ann)
    active.rank({name: 1.0 for name in names if name != item.proposal.id}, SHARE, "model-2")
    assert active.next_item(ann) == item


def test_the_newest_ranking_counts(active, ann, proposal) -> None:
    names = fill(active, proposal)
    ranked(active, names)
    active.rank({name: 60.0 - n for n, name in enumerate(names)}, SHARE, "model-2")
    picked = [number for number, random, _ in work(active, ann, 30) if not random]
    assert picked == sorted(picked)


def test_an_undone_answer_to_a_picked_trade_stays_one(active, ann, proposal) -> None:
    ranked(active, fill(active, proposal))
    while active.next_item(ann).random_share:
        work(active, ann, 1)
    item = active.next_item(ann)
    work(active, ann, 1)
    active.undo(ann)
    again = active.next_item(ann)
    assert (again.proposal, again.random_share) == (item.proposal, False)
    ((_, random, given),) = work(active, ann, 1)
    assert not random
    assert not given.random_share


def test_switched_off_only_what_was_kept_apart_is_random(desk, active, ann, proposal) -> None:
    ranked(active, fill(active, proposal))
    work(active, ann, 20)
    left = work(desk, ann, 40)
    flags = [random for _, random, _ in left]
    assert flags == sorted(flags, reverse=True)
    assert any(flags)
    assert not all(flags)


def test_what_the_filter_let_through_is_no_random_draw(desk, ann, proposal, clock) -> None:
    until = clock().replace(year=2030)
    live = {"mode": "live", "expires_at": until}
    desk.add_proposals([proposal(0, **live, random_share=False), proposal(1, **live)])
    flags = {number: (random, given) for number, random, given in work(desk, ann, 2)}
    assert [flags[n][0] for n in (0, 1)] == [False, True]
    assert [flags[n][1].random_share for n in (0, 1)] == [False, True]


def test_answers_from_before_there_were_queues_are_random(desk, ann, proposal, store) -> None:
    fill(desk, proposal, 1)
    work(desk, ann, 1)
    with store.read() as session:
        (event,) = read_events(session, "answer", "verdict")
    event.payload.pop("random_share")
    assert Answer.from_event(event).random_share


def test_waiting_leaves_out_what_was_answered_closed_or_expired(
    active, ann, proposal, clock, store
) -> None:
    names = fill(active, proposal, 5)
    active.add_proposals([proposal(9, mode="live", expires_at=clock())])
    active.close_items([names[0]], "superseded", "system")
    robot = create_account(store, "simulated-1", None, "reviewer", simulated=True).id
    active.submit_many([Submission(robot, names[1], "approve", "t", 1.0)])
    active.next_item(ann)
    assert len(active.waiting()) == 2
    clock.advance(minutes=11)
    assert {trade.id for trade in active.waiting()} == set(names[2:])


def test_rankings_and_picks_are_in_the_audit_chain(active, ann, proposal, store, tmp_path) -> None:
    ranked(active, fill(active, proposal, 10))
    work(active, ann, 5)
    head = tmp_path / "head.json"
    write_head(store, head)
    report = verify(store, head)
    assert report.ok, report.problems
