"""The active queue of a run: ranked after a fit, followed at the desk, measured without it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.config import RunConfig, write_config
from trading_rlhf.feedback import ReviewDesk, create_account
from trading_rlhf.loop import Context, SettableClock, learn, open_context, rank_queue
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.services.learning import BackgroundFit
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.services.stages import Stage, prepare_desk
from trading_rlhf.store import last_event

SECRETS = Secrets(KEY, "a session key for tests, long enough")
ACTIVE = {"ask.queue": "active", "ask.active_from": 40}


@pytest.fixture
def run(demo_run: Path, tmp_path: Path) -> Path:
    stage = Stage(tmp_path / "desk", SECRETS, None, ACTIVE, silent)
    prepare_desk(stage, demo_run, 100)
    return stage.run


@pytest.fixture
def context(run: Path) -> Iterator[Context]:
    opened = open_context(run, KEY, SettableClock(present))
    yield opened
    opened.store.close()


@pytest.fixture
def ann(context: Context) -> str:
    return create_account(context.store, "ann", "a long password", "lead").id


def desk_of(context: Context) -> ReviewDesk:
    return ReviewDesk(context.store, present, active=True)


def answer(context: Context, reviewer: str, count: int) -> list:
    """A person who likes trades with the trend; the items as they were handed out."""
    desk, items = desk_of(context), []
    for _ in range(count):
        item = desk.next_item(reviewer)
        trade = item.proposal
        verdict = "approve" if trade.features[0] * trade.change > 0 else "reject"
        desk.submit(reviewer, trade.id, verdict, token=item.token, seconds=4.0)
        items.append(item)
    return items


def ranking(context: Context):
    with context.store.read() as session:
        return last_event(session, "proposal", "ranked")


def with_settings(context: Context, **settings: object) -> Context:
    ask = context.config.ask.model_copy(update=settings)
    return replace(context, config=context.config.model_copy(update={"ask": ask}))


def test_the_queue_is_random_unless_it_is_asked_otherwise() -> None:
    assert RunConfig().ask.queue == "random"


def test_nothing_is_ranked_before_a_fit_below_enough_answers_or_unless_wanted(
    context: Context, ann: str
) -> None:
    assert rank_queue(context) == 0
    answer(context, ann, 39)
    learn(context, simulated=False)
    assert rank_queue(context) == 0
    answer(context, ann, 1)
    assert rank_queue(with_settings(context, queue="random")) == 0
    assert ranking(context) is None
    assert rank_queue(context) == 60
    assert ranking(context) is not None


def test_what_is_asked_next_is_what_the_members_disagree_on(context: Context, ann: str) -> None:
    first = answer(context, ann, 40)
    assert all(item.random_share for item in first)
    learned = learn(context, simulated=False)
    # Likeness left out, the value is disagreement times notional over the seconds of an answer.
    plain = with_settings(context, nearness=0.0, by_notional=1.0)
    assert rank_queue(plain) == 60
    order = ranking(context).payload["order"]
    trades = desk_of(context).proposals(ids=[name for name, _ in order])
    shown = TradeTensors.of(trades).full()
    apart = learned.fitted.model.disagreement(*shown)[0, :, 0].double().numpy()
    worth = apart * np.array([trade.notional for trade in trades]) / 4.0
    assert [value for _, value in order] == pytest.approx(worth.tolist(), rel=1e-4)
    assert (np.diff(worth) <= 0).all()
    picked = [item for item in answer(context, ann, 12) if not item.random_share]
    names = [name for name, _ in order]
    places = [names.index(item.proposal.id) for item in picked]
    assert places == sorted(places)
    assert 5 <= len(picked) < 12


def test_all_trades_may_count_alike(context: Context, ann: str) -> None:
    answer(context, ann, 40)
    learned = learn(context, simulated=False)
    rank_queue(with_settings(context, nearness=0.0, by_notional=0.0))
    order = ranking(context).payload["order"]
    shown = TradeTensors.of(desk_of(context).proposals(ids=[name for name, _ in order])).full()
    apart = learned.fitted.model.disagreement(*shown)[0, :, 0] / 4.0
    assert [value for _, value in order] == pytest.approx(apart.tolist(), rel=1e-4)


def test_likeness_changes_the_order_but_not_who_comes_first(context: Context, ann: str) -> None:
    answer(context, ann, 40)
    learn(context, simulated=False)
    rank_queue(with_settings(context, nearness=0.0))
    plain = [name for name, _ in ranking(context).payload["order"]]
    rank_queue(with_settings(context, nearness=2.0))
    apart = [name for name, _ in ranking(context).payload["order"]]
    assert set(apart) == set(plain)
    assert apart != plain


def test_a_background_fit_ranks_and_the_head_stays_signed(
    context: Context, ann: str, run: Path
) -> None:
    answer(context, ann, 40)
    background = BackgroundFit(run, SECRETS, present)
    assert background.start_if_due(desk_of(context).progress(ann))
    background.wait(60)
    assert background.problem is None
    event = ranking(context)
    assert len(event.payload["order"]) == 60
    assert event.subject == context.reward_model()[1].id


def test_quality_counts_only_answers_to_trades_drawn_at_random(context: Context, ann: str) -> None:
    answer(context, ann, 40)
    learn(context, simulated=False)
    rank_queue(context)
    items = answer(context, ann, 55)
    drawn = {item.proposal.id for item in items if item.random_share}
    assert 0 < len(drawn) < 40
    learned = learn(context, simulated=False)
    answers = {a.event_id: a for a in desk_of(context).standing_answers()}
    random = torch.tensor([answers[name].random_share for name in learned.record.answer_ids])
    bars = learned.answers.verdicts.bar[0]
    late = bars >= bars.double().quantile(1 - context.config.fit.held_out)
    usable = int((late & random).sum())
    assert usable < int(late.sum())
    if usable >= 10:
        assert learned.quality.answers == usable - usable // 2
    else:
        assert learned.quality is None


def test_a_run_keeps_its_queue_in_its_settings(context: Context, run: Path) -> None:
    write_config(context.config, run / "config.yaml")
    again = open_context(run, KEY, SettableClock(present))
    try:
        assert again.config.ask == context.config.ask
        assert again.config.ask.queue == "active"
    finally:
        again.store.close()
