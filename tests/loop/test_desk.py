"""A desk of people: begun from the demo's base policy, learning from their answers alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.errors import NotEnoughAnswersError, RunError
from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.loop import SettableClock, answered_trades, learn, open_context
from trading_rlhf.services.learning import BackgroundFit, fit_due
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.services.stages import Stage, first_user, fit, prepare_desk

SECRETS = Secrets(KEY, "a session key for tests, long enough")


@pytest.fixture
def stage(demo_run: Path, tmp_path: Path) -> Stage:
    made = Stage(tmp_path / "desk", SECRETS, None, {}, silent)
    prepare_desk(made, demo_run, 60)
    return made


def answer_all(stage: Stage, count: int, *, alike: bool = False) -> None:
    """A person who likes trades with the trend."""
    context = open_context(stage.run, KEY, SettableClock(present))
    try:
        desk = ReviewDesk(context.store, present)
        account = _person(stage, context.store)
        for _ in range(count):
            item = desk.next_item(account)
            assert item is not None
            trade = item.proposal
            likes = alike or trade.features[0] * trade.change > 0
            verdict = "approve" if likes else "reject"
            desk.submit(account, trade.id, verdict, token=item.token, seconds=3.0)
    finally:
        context.store.close()


def _person(stage: Stage, store) -> str:
    from trading_rlhf.feedback import create_account, list_accounts

    people = [a.id for a in list_accounts(store) if not a.simulated]
    return people[0] if people else create_account(store, "ann", "a long password", "lead").id


@pytest.fixture
def context(stage: Stage) -> Iterator:
    opened = open_context(stage.run, KEY, SettableClock(present))
    yield opened
    opened.store.close()


def test_desk_starts_without_simulated_answers(stage: Stage, context) -> None:
    desk = ReviewDesk(context.store, present)
    assert desk.standing_answers() == []
    assert len(desk.proposals()) == 60
    assert all(proposal.mode == "history" for proposal in desk.proposals())
    base, record = context.policy("base")
    assert base.members == 1
    assert record.note == "base"


def test_desk_needs_a_finished_demo(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="starts from a finished demo"):
        prepare_desk(Stage(tmp_path / "desk", SECRETS, None, {}, silent), tmp_path / "none", 10)
    assert not (tmp_path / "desk" / "config.yaml").exists()


def test_an_existing_desk_is_left_as_it_is(stage: Stage, demo_run: Path) -> None:
    answer_all(stage, 3)
    prepare_desk(stage, demo_run, 60)
    context = open_context(stage.run, KEY, SettableClock(present))
    try:
        desk = ReviewDesk(context.store, present)
        assert len(desk.standing_answers()) == 3
        assert len(desk.proposals()) == 60
    finally:
        context.store.close()


def test_first_user_is_made_once(stage: Stage) -> None:
    assert first_user(stage)
    assert first_user(stage) is None


def test_too_few_answers_say_how_many_are_missing(stage: Stage) -> None:
    answer_all(stage, 5)
    with pytest.raises(NotEnoughAnswersError, match="Review 25 more"):
        fit(stage, simulated=False)


def test_thirty_answers_make_a_reward_model_and_a_shaped_policy(stage: Stage) -> None:
    answer_all(stage, 45)
    facts = fit(stage, simulated=False)
    assert facts["answers"] == 45
    context = open_context(stage.run, KEY, SettableClock(present))
    try:
        stored = context.reward_model()
        assert stored is not None
        assert stored[1].simulated is False
        assert context.policy("shaped")[1].parent == context.policy("base")[1].id
    finally:
        context.store.close()


def test_simulated_answers_are_never_mixed_in(demo_run: Path) -> None:
    context = open_context(demo_run, KEY, SettableClock(present))
    try:
        assert answered_trades(context, simulated=False) == []
        assert len(answered_trades(context, simulated=True)) >= 80
        with pytest.raises(NotEnoughAnswersError):
            learn(context, simulated=False)
    finally:
        context.store.close()


def test_background_fit_starts_at_the_needed_number(stage: Stage) -> None:
    background = BackgroundFit(stage.run, SECRETS, present)
    answer_all(stage, 29)
    assert not background.start_if_due(_progress(stage))
    answer_all(stage, 1)
    assert background.start_if_due(_progress(stage))
    background.wait(60)
    assert background.problem is None
    after = _progress(stage)
    assert after.trained_on == 30
    assert not fit_due(after)
    assert not background.start_if_due(after)


def test_background_fit_keeps_its_problem_and_the_answers(stage: Stage) -> None:
    background = BackgroundFit(stage.run, SECRETS, present)
    answer_all(stage, 31, alike=True)
    assert background.start_if_due(_progress(stage))
    background.wait(60)
    assert "both approvals and rejections" in (background.problem or "")
    assert _progress(stage).usable == 31


def _progress(stage: Stage):
    context = open_context(stage.run, KEY, SettableClock(present))
    try:
        return ReviewDesk(context.store, present).progress(_person(stage, context.store))
    finally:
        context.store.close()
