"""Like trades: what may be shown of them, to whom, and when."""

import json
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest

from tests.services.desk_run import PASSWORD, DeskRun, make_proposal
from trading_rlhf.feedback import Account, Answer, ReviewDesk, create_account
from trading_rlhf.market import Bars
from trading_rlhf.proposals import Proposal
from trading_rlhf.services.review import ReviewService
from trading_rlhf.services.review_similar import similar_to
from trading_rlhf.services.review_views import ReviewItem
from trading_rlhf.store import open_store
from trading_rlhf.types import Clock


def old_trades(bars: Bars, clock: Clock) -> list[Proposal]:
    """Live trades that are still open, with a later deadline than the run's own one."""
    later = clock() + timedelta(days=1)
    trades = [
        make_proposal(bars, 2380 + i, "MSFT", "live", target=0.06 + 0.01 * i, expires_at=later)
        for i in range(3)
    ]
    return [replace(one, features=(1.8 + 0.1 * i,)) for i, one in enumerate(trades)]


def say(store: Any, clock: Clock, who: str, trade: Proposal, verdict: Any, **more: Any) -> None:
    desk = ReviewDesk(store, clock, overlap=3)
    desk.submit(who, trade.id, verdict, token=f"{who}-{trade.id}", seconds=5.0, **more)


def answered(run: DeskRun, audit_key: bytes, clock: Clock) -> Account:
    """Let Ana and another reviewer, Bo, answer three live trades like the run's own one."""
    trades = old_trades(run.bars, clock)
    with open_store(run.path / "store.db", audit_key, clock) as store:
        bo = create_account(store, "bo", PASSWORD, "reviewer", display_name="Bo")
        ReviewDesk(store, clock).add_proposals(trades)
        say(store, clock, run.ana.id, trades[0], "reject", tags=("too costly",), note="MSFT again")
        say(store, clock, run.ana.id, trades[1], "approve")
        say(store, clock, bo.id, trades[1], "reject", tags=("chasing",), note="Bo's secret")
        say(store, clock, bo.id, trades[2], "reject", tags=("chasing",))
    return bo


@pytest.fixture
def history(desk_run: DeskRun, audit_key: bytes, clock: Any) -> Account:
    return answered(desk_run, audit_key, clock)


def show(service: ReviewService, desk_run: DeskRun, proposal_id: str) -> ReviewItem:
    """Answer "cannot tell" until this trade is on the screen."""
    for _ in range(10):
        item = service.page(desk_run.ana.id).item
        assert item is not None
        if item.proposal_id == proposal_id:
            return item
        service.submit(desk_run.ana.id, item, "cannot_tell")
    raise AssertionError(f"{proposal_id} was not shown")


def last(service: ReviewService, desk_run: DeskRun) -> str:
    answer = service.page(desk_run.ana.id).last
    assert answer is not None
    return answer.similar


def add(desk_run: DeskRun, audit_key: bytes, clock: Any, *trades: Proposal) -> None:
    with open_store(desk_run.path / "store.db", audit_key, clock) as store:
        ReviewDesk(store, clock).add_proposals(trades)


@pytest.mark.usefixtures("history")
def test_before_the_answer_a_live_trade_shows_ones_own_answers_only(
    service: ReviewService, desk_run: DeskRun
) -> None:
    item = show(service, desk_run, desk_run.proposals[0].id)
    assert [(one.verdict, one.trade, one.reasons, one.note) for one in item.similar] == [
        ("Rejected", "a buy 3.0% → 6.0%", "too costly", "MSFT again"),
        ("Approved", "a buy 3.0% → 7.0%", "", ""),
    ]
    text = json.dumps([asdict(one) for one in item.similar])
    assert "Bo" not in text
    assert "chasing" not in text


@pytest.mark.usefixtures("history")
def test_once_answered_it_shows_what_the_desk_said_and_no_note_of_others(
    service: ReviewService, desk_run: DeskRun
) -> None:
    item = show(service, desk_run, desk_run.proposals[0].id)
    service.submit(desk_run.ana.id, item, "approve")
    assert last(service, desk_run) == (
        "Of trades like it the desk rejected 3, approved 1 (chasing, too costly)"
    )


@pytest.mark.usefixtures("history")
def test_the_random_share_shows_nothing_before_and_only_ones_own_after(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    drawn = replace(desk_run.proposals[0], id="drawn", bar=2399, random_share=True)
    drawn = replace(drawn, **times(desk_run.bars, 2399), expires_at=clock() + timedelta(hours=1))
    add(desk_run, audit_key, clock, drawn)
    item = show(service, desk_run, "drawn")
    assert item.similar == ()
    service.submit(desk_run.ana.id, item, "approve")
    assert last(service, desk_run) == ("Of trades like it you rejected 1, approved 1 (too costly)")


def times(bars: Bars, t: int) -> dict[str, Any]:
    like = make_proposal(bars, t, "MSFT", "live", target=0.1)
    names = ("known_at", "decided_at", "earliest_fill_at")
    return {name: getattr(like, name) for name in names}


@pytest.mark.usefixtures("history")
def test_a_masked_trade_shows_nothing_before_and_no_note_after(
    service: ReviewService, desk_run: DeskRun
) -> None:
    seen = 0
    while (item := service.page(desk_run.ana.id).item) is not None:
        service.submit(desk_run.ana.id, item, "approve")
        if item.masked and item.buys:
            said = last(service, desk_run)
            assert said.startswith("Of trades like it you ")
            assert "MSFT" not in said
            assert "chasing" not in said
            assert item.similar == ()
            seen += 1
    assert seen == 2


def test_the_same_trade_asked_again_does_not_tell_what_was_said(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    first = show(service, desk_run, desk_run.proposals[0].id)
    service.submit(desk_run.ana.id, first, "reject", tags=("chasing",))
    again = replace(desk_run.proposals[0], id="again", policy_id="policy-2")
    add(desk_run, audit_key, clock, again)
    assert show(service, desk_run, "again").similar == ()


@pytest.mark.usefixtures("history")
def test_trades_that_are_not_alike_are_not_shown(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    far = replace(
        desk_run.proposals[0], id="far", features=(9.0,), expires_at=clock() + timedelta(hours=1)
    )
    add(desk_run, audit_key, clock, far)
    assert show(service, desk_run, "far").similar == ()


def test_answers_with_hindsight_are_not_shown(
    service: ReviewService, desk_run: DeskRun, audit_key: bytes, clock: Any
) -> None:
    """Ana has seen the bars up to 2400; an open trade of an earlier one is answered knowing."""
    live = show(service, desk_run, desk_run.proposals[0].id)
    service.submit(desk_run.ana.id, live, "cannot_tell")
    early = old_trades(desk_run.bars, clock)[0]
    new = make_proposal(desk_run.bars, 2410, "MSFT", "live", target=0.08)
    new = replace(new, expires_at=clock() + timedelta(days=2))
    add(desk_run, audit_key, clock, early, new)
    service.submit(desk_run.ana.id, show(service, desk_run, early.id), "reject")
    verdicts = [one.verdict for one in show(service, desk_run, new.id).similar]
    assert verdicts == ["Could not tell"]


def test_an_answer_of_others_counts_only_when_it_may(desk_run: DeskRun, clock: Any) -> None:
    """Neither before one's own answer, nor for the random share, nor from whoever is no judge."""
    asked, earlier = desk_run.proposals[0], old_trades(desk_run.bars, clock)[0]
    own = Answer(
        "answer-1", earlier.id, "ana", "verdict", "reject", None, None, (), 5.0, clock(),
        simulated=False, certified=True, hindsight=False, note_hash=None,
    )  # fmt: skip
    bo = replace(own, event_id="answer-2", reviewer="bo")
    known = {earlier.id: earlier}

    def seen(trade: Proposal, answer: Answer, answered: bool) -> bool:
        return bool(similar_to(trade, "ana", [answer], known, answered=answered))

    drawn = replace(asked, random_share=True)
    assert [seen(asked, bo, False), seen(asked, bo, True)] == [False, True]
    assert [seen(drawn, bo, False), seen(drawn, bo, True)] == [False, False]
    assert [seen(asked, own, False), seen(drawn, own, False), seen(drawn, own, True)] == [
        True, False, True,
    ]  # fmt: skip
    for unfit in (replace(bo, simulated=True), replace(bo, certified=False)):
        assert not seen(asked, unfit, True)
    assert not seen(asked, replace(own, simulated=True), False)
    sale = replace(asked, target=0.0)
    assert not seen(sale, own, True)
