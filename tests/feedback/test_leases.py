from datetime import timedelta

import pytest

from trading_rlhf.feedback import (
    LateAnswerError,
    ReviewDesk,
)


def answer(desk, reviewer, proposal_id="proposal-0", verdict="approve", token="t", **more):
    return desk.submit(reviewer, proposal_id, verdict, token=token, seconds=2.5, **more)


def fill(desk, proposal, count=3, **changes):
    desk.add_proposals([proposal(n, **changes) for n in range(count)])


def test_two_reviewers_never_hold_one_item(desk, ann, bob, proposal):
    fill(desk, proposal, 2)
    first, second = desk.next_item(ann), desk.next_item(bob)
    assert first.proposal.id != second.proposal.id
    assert desk.next_item(ann) == first
    fill(desk, proposal, 2)
    answer(desk, ann, first.proposal.id, token=first.token)
    assert desk.next_item(ann) is None


def test_overlap_asks_two_reviewers(store, clock, person, proposal):
    desk = ReviewDesk(store, clock, overlap=2)
    fill(desk, proposal, 1)
    ids = [person(name).id for name in ("ann", "bob", "eve")]
    items = [desk.next_item(name) for name in ids]
    assert [item is None for item in items] == [False, False, True]
    with pytest.raises(LateAnswerError, match="a free place"):
        answer(desk, ids[2])
    for name, item in zip(ids[:2], items[:2], strict=True):
        answer(desk, name, token=item.token)
    assert [desk.next_item(name) for name in ids] == [None] * 3


def test_nobody_is_asked_twice(store, clock, ann, proposal):
    desk = ReviewDesk(store, clock, overlap=3)
    fill(desk, proposal, 1)
    answer(desk, ann, token=desk.next_item(ann).token)
    assert desk.next_item(ann) is None


def test_the_item_on_the_screen_stays_when_a_live_one_arrives(desk, ann, proposal, clock):
    fill(desk, proposal, 1)
    item = desk.next_item(ann)
    desk.add_proposals([proposal(9, mode="live", expires_at=clock() + timedelta(hours=1))])
    assert desk.next_item(ann) == item


def test_an_abandoned_item_returns_after_ten_minutes(desk, ann, bob, proposal, clock):
    fill(desk, proposal, 1)
    item = desk.next_item(ann)
    assert item.lease_until == clock() + timedelta(minutes=10)
    clock.advance(minutes=9, seconds=59)
    assert desk.next_item(bob) is None
    clock.advance(seconds=1)
    assert desk.next_item(bob).proposal.id == item.proposal.id
    with pytest.raises(LateAnswerError, match="others took") as caught:
        answer(desk, ann, note="long thought", tags=("odd",))
    assert "long thought" in str(caught.value)
    assert caught.value.submission.tags == ("odd",)
    assert desk.standing_answers() == []


def test_a_late_answer_counts_when_nobody_took_the_item(desk, ann, proposal, clock):
    fill(desk, proposal, 1)
    item = desk.next_item(ann)
    clock.advance(hours=2)
    assert answer(desk, ann, token=item.token).at == clock()


def test_looking_again_renews_the_lease(desk, ann, bob, proposal, clock):
    fill(desk, proposal, 1)
    token = desk.next_item(ann).token
    clock.advance(minutes=9)
    assert desk.next_item(ann).token == token
    clock.advance(minutes=9)
    assert desk.next_item(bob) is None


def test_an_undone_item_is_held_for_its_reviewer(desk, ann, bob, proposal, clock):
    fill(desk, proposal, 1)
    first = desk.next_item(ann)
    answer(desk, ann, token=first.token)
    desk.undo(ann)
    assert desk.next_item(bob) is None
    assert desk.next_item(ann).token != first.token
    clock.advance(minutes=11)
    assert desk.next_item(bob).proposal.id == "proposal-0"


def test_a_live_item_expires(desk, ann, proposal, clock, store):
    live = proposal(0, mode="live", expires_at=clock() + timedelta(minutes=5))
    desk.add_proposals([live])
    item = desk.next_item(ann)
    clock.advance(minutes=5)
    assert desk.next_item(ann) is None
    with pytest.raises(LateAnswerError, match=r"no trade.* Your note: .too late"):
        answer(desk, ann, token=item.token, note="too late")
    assert desk.standing_answers() == []


def test_masked_items_do_not_expire(desk, ann, proposal, clock):
    fill(desk, proposal, 1)
    clock.advance(days=900)
    assert answer(desk, ann, desk.next_item(ann).proposal.id).verdict == "approve"


def test_live_items_come_first_and_soonest_deadline_first(desk, ann, proposal, clock):
    fill(desk, proposal, 5)
    late = proposal(7, mode="live", expires_at=clock() + timedelta(hours=9))
    soon = proposal(8, mode="live", expires_at=clock() + timedelta(hours=8))
    desk.add_proposals([late, soon])
    order = []
    for _ in range(2):
        order.append(desk.next_item(ann).proposal.id)
        answer(desk, ann, order[-1], token=order[-1])
    assert order == ["proposal-8", "proposal-7"]


def test_closed_items_are_refused(desk, ann, proposal):
    fill(desk, proposal, 1)
    assert desk.close_items(["proposal-0", "unknown"], "superseded", "policy-2") == 1
    assert desk.close_items(["proposal-0"], "superseded", "policy-2") == 0
    assert desk.next_item(ann) is None
    with pytest.raises(LateAnswerError, match="closed"):
        answer(desk, ann)


def test_looking_back_after_later_bars_is_hindsight(desk, ann, bob, proposal, clock):
    until = clock() + timedelta(days=30)
    early, late = (proposal(n, mode="live", expires_at=until) for n in (0, 5))
    same = proposal(5, id="other", symbol="AAPL", mode="live", expires_at=until)
    elsewhere = proposal(0, id="elsewhere", market="sp20", mode="live", expires_at=until)
    masked = proposal(1)
    desk.add_proposals([early, late, same, elsewhere, masked])
    assert not answer(desk, ann, late.id, token="1").hindsight
    assert not answer(desk, ann, same.id, token="2").hindsight
    assert not answer(desk, ann, elsewhere.id, token="3").hindsight
    assert not answer(desk, ann, masked.id, token="4").hindsight
    given = answer(desk, ann, early.id, token="5")
    assert given.hindsight
    assert not given.trainable


def test_being_shown_a_later_bar_is_enough_for_hindsight(desk, ann, proposal, clock):
    until = clock() + timedelta(days=30)
    early = proposal(0, mode="live", expires_at=until + timedelta(days=1))
    late = proposal(5, mode="live", expires_at=until)
    desk.add_proposals([early, late])
    assert desk.next_item(ann).proposal.id == late.id
    assert answer(desk, ann, early.id).hindsight
    assert desk.progress(ann).answered == 1
    assert desk.progress(ann).usable == 0


def test_changing_an_answer_is_no_hindsight(desk, ann, proposal, clock):
    desk.add_proposals([proposal(0, mode="live", expires_at=clock() + timedelta(days=9))])
    item = desk.next_item(ann)
    answer(desk, ann, token=item.token)
    desk.undo(ann)
    assert not answer(desk, ann, token=desk.next_item(ann).token).hindsight
