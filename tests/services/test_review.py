import json
from dataclasses import replace
from typing import Any

import pytest

from tests.services.desk_run import DeskRun, make_proposal
from trading_rlhf.errors import ReviewError
from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.services.review import ReviewService
from trading_rlhf.services.review_views import ReviewItem
from trading_rlhf.services.runs import Run, open_run
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import append, open_store, read_events, verify


def events(desk_run: DeskRun, audit_key: bytes, clock: Any) -> list[tuple[str, str | None]]:
    """Kind and verdict of every answer event but what was shown."""
    with open_store(desk_run.path / "store.db", audit_key, clock) as store, store.read() as session:
        return [
            (event.kind, event.payload.get("verdict"))
            for event in read_events(session, "answer")
            if event.kind != "shown"
        ]


def next_item(service: ReviewService, desk_run: DeskRun) -> ReviewItem:
    item = service.page(desk_run.ana.id).item
    assert item is not None
    return item


def test_the_live_trade_comes_first_and_the_rest_are_masked(
    service: ReviewService, desk_run: DeskRun
) -> None:
    kinds = []
    for _ in range(5):
        item = next_item(service, desk_run)
        kinds.append((item.banner.kind, item.masked))
        service.submit(desk_run.ana.id, item, "approve")
    assert kinds[0] == ("live", False)
    assert sorted(kinds[1:]) == [*[("history", True)] * 3, ("practice", True)]
    page = service.page(desk_run.ana.id)
    assert page.item is None
    assert page.last is not None
    assert page.progress.queue == "0 wait in the queue"


def test_an_answer_is_stored_with_all_that_came_with_it(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    item = next_item(service, desk_run)
    clock.advance(seconds=7)
    service.submit(
        desk_run.ana.id, item, "reject", stars=1, tags=("chasing",), note=" <b>too late</b> "
    )
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        desk = ReviewDesk(store, clock)
        (answer,) = desk.standing_answers()
        notes = desk.notes([answer])
    assert (answer.reviewer, answer.proposal_id) == (desk_run.ana.id, item.proposal_id)
    assert (answer.verdict, answer.rating, answer.tags, answer.seconds) == (
        "reject",
        2,
        ("chasing",),
        7.0,
    )
    assert list(notes.values()) == ["<b>too late</b>"]
    last = service.page(desk_run.ana.id).last
    assert last is not None
    assert last.note == "<b>too late</b>"
    assert last.text == f"Rejected: {item.headline}, just now"


def test_a_doubled_key_press_is_one_answer(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    item = next_item(service, desk_run)
    service.submit(desk_run.ana.id, item, "approve")
    service.submit(desk_run.ana.id, item, "approve")
    assert events(desk_run, audit_key, clock) == [("verdict", "approve")]


def test_undo_brings_the_item_back_and_is_an_event(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    first = next_item(service, desk_run)
    service.submit(desk_run.ana.id, first, "approve")
    page = service.page(desk_run.ana.id)
    assert service.undo(desk_run.ana.id, page.view)
    assert service.undo(desk_run.ana.id, page.view)  # the same press, doubled
    again = next_item(service, desk_run)
    assert again.proposal_id == first.proposal_id
    assert service.page(desk_run.ana.id).last is None
    service.submit(desk_run.ana.id, again, "reject")
    assert events(desk_run, audit_key, clock) == [
        ("verdict", "approve"),
        ("undo", None),
        ("verdict", "reject"),
    ]


def test_undo_of_nothing_does_nothing(service: ReviewService, desk_run: DeskRun) -> None:
    assert not service.undo(desk_run.ana.id, service.page(desk_run.ana.id).view)


def test_a_live_trade_past_its_deadline_is_refused_with_the_note_in_the_sentence(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    item = next_item(service, desk_run)
    clock.advance(hours=3)
    with pytest.raises(ReviewError, match=r"deadline.*too hot"):
        service.submit(desk_run.ana.id, item, "approve", note="too hot")
    assert events(desk_run, audit_key, clock) == []
    assert next_item(service, desk_run).masked


def test_a_closed_trade_is_refused(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    item = next_item(service, desk_run)
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        ReviewDesk(store, clock).close_items([item.proposal_id], "superseded", "system")
    with pytest.raises(ReviewError, match="closed"):
        service.submit(desk_run.ana.id, item, "approve")


@pytest.mark.parametrize("weight", [None, 3.0, 7.41, -1.0, float("nan")])
def test_a_resize_outside_the_trade_is_refused(
    service: ReviewService, desk_run: DeskRun, weight: float | None
) -> None:
    item = next_item(service, desk_run)
    with pytest.raises(ReviewError, match=r"between 3\.0% and 7\.4%"):
        service.submit(desk_run.ana.id, item, "resize", resize_percent=weight)


def test_a_resize_is_stored_as_a_fraction(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    item = next_item(service, desk_run)
    assert item.resize.presets[1] == ("half", 5.2)
    assert service.preview(item, 5.2).allowed
    service.submit(desk_run.ana.id, item, "resize", resize_percent=5.2)
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        (answer,) = ReviewDesk(store, clock).standing_answers()
    assert answer.resized_to == pytest.approx(0.052)


def test_selling_everything_can_be_resized_but_not_to_nothing(
    service: ReviewService, desk_run: DeskRun
) -> None:
    """The GOOG proposal sells 22% down to 0%: both ends of its range are special."""
    for _ in range(5):
        item = next_item(service, desk_run)
        if item.headline.startswith("Sell all"):
            break
        service.submit(desk_run.ana.id, item, "cannot_tell")
    assert (item.resize.minimum, item.resize.maximum) == (0.0, 22.0)
    assert not service.preview(item, 22.0).allowed
    service.submit(desk_run.ana.id, item, "resize", resize_percent=0.0)


def test_siblings_are_the_other_proposals_of_the_same_bar(
    service: ReviewService, desk_run: DeskRun
) -> None:
    counts = {}
    for _ in range(5):
        item = next_item(service, desk_run)
        counts[item.proposal_id] = len(item.siblings)
        service.submit(desk_run.ana.id, item, "cannot_tell")
    assert counts == {proposal.id: int(proposal.bar == 1600) for proposal in desk_run.proposals}


def test_proposals_made_while_the_page_is_open_are_shown(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    for _ in range(5):
        service.submit(desk_run.ana.id, next_item(service, desk_run), "approve")
    late = make_proposal(desk_run.bars, 2000, "IBM", target=0.1)
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        ReviewDesk(store, clock).add_proposals([late])
    assert next_item(service, desk_run).proposal_id == late.id


def test_progress_counts_to_the_first_fit_and_then_names_the_model(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    ana = desk_run.ana.id
    assert service.page(ana).progress.text == "0 of 30 until the first fit"
    service.submit(ana, next_item(service, desk_run), "approve")
    service.submit(ana, next_item(service, desk_run), "cannot_tell")
    progress = service.page(ana).progress
    assert (progress.text, progress.queue) == ("1 of 30 until the first fit", "3 wait in the queue")
    assert progress.fraction == pytest.approx(1 / 30, abs=1e-3)
    with (
        open_store(desk_run.path / "store.db", audit_key, clock) as store,
        store.write() as session,
    ):
        payload = {"id": "m1", "answers": 30, "quality": None}
        append(session, "reward_model", "fitted", payload, actor="system")
    assert "not enough answers yet" in service.page(ana).progress.text
    with (
        open_store(desk_run.path / "store.db", audit_key, clock) as store,
        store.write() as session,
    ):
        payload = {"id": "m2", "answers": 60, "quality": {"accuracy": 0.714, "answers": 21}}
        append(session, "reward_model", "fitted", payload, actor="system")
    assert service.page(ana).progress.text == (
        "Reward model 2: held-out accuracy 0.71 on 21 answers"
    )


def test_data_that_changed_since_the_decision_is_not_drawn(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    wrong = replace(desk_run.proposals[1], id="wrong", bar=1599)
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        desk = ReviewDesk(store, clock)
        desk.close_items([p.id for p in desk_run.proposals], "superseded", "system")
        desk.add_proposals([wrong])
    with pytest.raises(ReviewError, match="decided on"):
        service.page(desk_run.ana.id)


def test_a_simulated_run_is_marked(service: ReviewService, desk_run: DeskRun) -> None:
    assert not service.page(desk_run.ana.id).simulated
    (desk_run.path / "summary.json").write_text(json.dumps({"simulated": True}))
    assert service.page(desk_run.ana.id).simulated


def test_nobody_reviews_without_an_account(service: ReviewService) -> None:
    with pytest.raises(ReviewError, match="account"):
        service.page("person-unknown")


def test_whoever_fits_is_told_after_each_answer(run: Run, desk_run: DeskRun, clock: Any) -> None:
    told = []
    service = ReviewService(run, clock, lambda progress: told.append(progress.usable))
    for verdict in ("approve", "cannot_tell", "reject"):
        service.submit(desk_run.ana.id, next_item(service, desk_run), verdict)
    assert told == [1, 1, 2]


def test_an_active_queue_follows_its_ranking_and_keeps_the_head_signed(
    desk_run: DeskRun, secrets: Secrets, audit_key: bytes, clock: Any
) -> None:
    masked = [trade.id for trade in desk_run.proposals if trade.mode == "history"]
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        ReviewDesk(store, clock).rank({masked[1]: 2.0, masked[0]: 1.0}, 1e-9, "model-1")
    (desk_run.path / "config.yaml").write_text("data: us4\nask: {queue: active}\n")
    run = open_run(desk_run.path, secrets, clock)
    try:
        service = ReviewService(run, clock)
        service.submit(desk_run.ana.id, next_item(service, desk_run), "approve")
        for name in masked[1::-1]:
            item = next_item(service, desk_run)
            assert item.proposal_id == name
            report = verify(run.store, desk_run.path / "audit_head.json")
            assert report.ok, report.problems
            service.submit(desk_run.ana.id, item, "reject")
    finally:
        run.close()
    kinds = [kind for kind, _ in events(desk_run, audit_key, clock)]
    # The live trade stood in no ranking, and was not drawn from what is kept apart.
    assert kinds == ["picked", "verdict"] * 3
