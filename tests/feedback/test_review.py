import pytest

from trading_rlhf.errors import ReviewError
from trading_rlhf.feedback import (
    LateAnswerError,
    ReviewDesk,
    create_account,
    update_account,
)
from trading_rlhf.store import append, erase_notes, read_events, verify, write_head


def answer(desk, reviewer, proposal_id="proposal-0", verdict="approve", token="t", **more):
    return desk.submit(reviewer, proposal_id, verdict, token=token, seconds=2.5, **more)


def fill(desk, proposal, count=3, **changes):
    desk.add_proposals([proposal(n, **changes) for n in range(count)])


def test_an_answer_is_stored_as_given(desk, ann, proposal, clock):
    fill(desk, proposal, 1)
    given = answer(
        desk, ann, verdict="resize", resized_to=0.2, rating=4, tags=("too large", "odd"), note=" x "
    )
    assert (given.verdict, given.resized_to, given.rating, given.seconds) == ("resize", 0.2, 4, 2.5)
    assert given.tags == ("too large", "odd")
    assert (given.reviewer, given.proposal_id, given.kind) == (ann, "proposal-0", "verdict")
    assert given.at == clock()
    assert (given.simulated, given.certified, given.hindsight) == (False, True, False)
    assert given.trainable
    assert desk.notes([given]) == {given.event_id: "x"}
    assert desk.standing_answers() == [given]


def test_flags_come_from_the_account(desk, store, proposal):
    fill(desk, proposal, 2)
    robot = create_account(store, "simulated-1", None, "reviewer", simulated=True)
    assert robot.id == "simulated-1"
    novice = create_account(store, "novice", None, "reviewer", certified=False)
    assert answer(desk, robot.id).simulated
    assert not desk.has_human_answers()
    given = answer(desk, novice.id, "proposal-1")
    assert not given.certified
    assert not given.trainable
    assert desk.has_human_answers()
    assert [a.reviewer for a in desk.standing_answers(simulated=True)] == [robot.id]
    assert [a.reviewer for a in desk.standing_answers(simulated=False)] == [novice.id]
    assert [a.reviewer for a in desk.standing_answers(reviewers=[novice.id])] == [novice.id]


def test_an_answer_without_an_account_is_refused(desk, store, ann, proposal):
    fill(desk, proposal, 1)
    with pytest.raises(ReviewError, match="active account"):
        answer(desk, "ann")
    with pytest.raises(ReviewError, match="active account"):
        desk.next_item("ann")
    update_account(store, ann, active=False)
    with pytest.raises(ReviewError, match="active account"):
        answer(desk, ann)


def test_an_unknown_trade_is_refused(desk, ann):
    with pytest.raises(ReviewError, match="a stored trade"):
        answer(desk, ann, "no such thing")


def test_a_double_click_is_one_answer(desk, ann, proposal, store):
    fill(desk, proposal, 1)
    first = answer(desk, ann, note="once")
    second = answer(desk, ann, verdict="reject", note="twice")
    assert first == second
    with store.read() as session:
        assert len(read_events(session, "answer")) == 1


def test_tokens_of_two_reviewers_never_meet(store, clock, ann, bob, proposal):
    desk = ReviewDesk(store, clock, overlap=2)
    fill(desk, proposal, 1)
    assert answer(desk, ann).reviewer == ann
    assert answer(desk, bob, verdict="reject").verdict == "reject"


def test_a_token_belongs_to_one_trade(desk, ann, proposal):
    fill(desk, proposal, 2)
    answer(desk, ann)
    with pytest.raises(ReviewError, match="belongs to one trade"):
        answer(desk, ann, "proposal-1")


def test_a_second_answer_needs_an_undo(desk, ann, proposal):
    fill(desk, proposal, 1)
    answer(desk, ann)
    with pytest.raises(LateAnswerError, match="Undo the first"):
        answer(desk, ann, token="t2")


def test_an_undo_is_a_new_event_and_the_item_comes_back_first(desk, ann, proposal, store):
    fill(desk, proposal, 5)
    seen = []
    for n in range(3):
        item = desk.next_item(ann)
        seen.append(item.proposal.id)
        answer(desk, ann, item.proposal.id, token=item.token, note=f"note {n}")
    desk.next_item(ann)
    assert desk.undo(ann) == seen[2]
    item = desk.next_item(ann)
    assert item.proposal.id == seen[2]
    assert [a.proposal_id for a in desk.standing_answers()] == seen[:2]
    changed = answer(desk, ann, seen[2], "reject", token=item.token)
    assert desk.standing_answers()[-1] == changed
    with store.read() as session:
        kinds = [event.kind for event in read_events(session, "answer")]
    assert kinds == ["verdict", "verdict", "verdict", "undo", "verdict"]


@pytest.mark.parametrize("order", [(0, 2, 4), (4, 2, 0)])
def test_undo_goes_back_step_by_step_and_items_return_in_that_order(desk, ann, proposal, order):
    fill(desk, proposal, 5)
    seen = [f"proposal-{n}" for n in order]
    for name in seen:
        answer(desk, ann, name, token=name)
    assert [desk.undo(ann) for _ in range(4)] == [seen[2], seen[1], seen[0], None]
    assert desk.standing_answers() == []
    again = []
    for _ in range(3):
        item = desk.next_item(ann)
        again.append(item.proposal.id)
        answer(desk, ann, item.proposal.id, token=item.token)
    assert again == seen


def test_a_new_answer_after_an_undo_is_undone_next(desk, ann, proposal):
    fill(desk, proposal, 2)
    answer(desk, ann, "proposal-0", token="a")
    answer(desk, ann, "proposal-1", token="b")
    assert desk.undo(ann) == "proposal-1"
    answer(desk, ann, "proposal-1", "reject", token="c")
    assert desk.undo(ann) == "proposal-1"
    assert desk.undo(ann) == "proposal-0"


def test_a_double_click_on_undo_undoes_once(desk, ann, proposal):
    fill(desk, proposal, 2)
    answer(desk, ann, "proposal-0", token="a")
    answer(desk, ann, "proposal-1", token="b")
    assert desk.undo(ann, token="u") == desk.undo(ann, token="u") == "proposal-1"
    assert desk.undo(ann, token="v") == "proposal-0"


def test_nobody_undoes_for_another(desk, ann, bob, proposal):
    fill(desk, proposal, 2)
    answer(desk, ann)
    assert desk.undo(bob) is None
    assert len(desk.standing_answers()) == 1


def test_a_note_can_be_erased_and_the_chain_stays_in_order(desk, ann, proposal, store, tmp_path):
    fill(desk, proposal, 1)
    given = answer(desk, ann, note="the news about the merger")
    head = tmp_path / "audit_head.json"
    write_head(store, head)
    with store.write() as session:
        assert erase_notes(session, hashes=[given.note_hash]) == 1
    assert desk.notes([given]) == {}
    assert desk.standing_answers() == [given]
    assert verify(store, head).problems == []


def test_progress_counts(desk, ann, bob, proposal, store):
    fill(desk, proposal, 6)
    answer(desk, ann, "proposal-0", token="1")
    answer(desk, ann, "proposal-1", "cannot_tell", token="2")
    answer(desk, bob, "proposal-2", token="3", tags=('"certified":false,"hindsight":true',))
    progress = desk.progress(ann)
    assert (progress.answered, progress.usable, progress.queue) == (2, 2, 3)
    assert sum(a.trainable for a in desk.standing_answers()) == progress.usable
    update_account(store, bob, certified=False)
    answer(desk, bob, "proposal-3", token="4")
    assert desk.progress(bob).usable == 2
    assert (progress.trained_on, progress.needed) == (0, 30)
    with store.write() as session:
        append(session, "reward_model", "fitted", {"answers": 31}, actor="loop")
    assert desk.progress(ann).trained_on == 31


def test_proposals_are_stored_once_and_read_back(desk, proposal):
    made = [proposal(n) for n in range(3)]
    assert desk.add_proposals(made) == 3
    assert desk.add_proposals([*made, proposal(9, mode="live")]) == 1
    assert desk.proposals(["proposal-2", "nothing", "proposal-0"]) == [made[2], made[0]]
    assert [p.id for p in desk.proposals(mode="live")] == ["proposal-9"]
    assert len(desk.proposals()) == 4
