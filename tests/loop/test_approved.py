"""The arm that trades what reviewers approved, and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.loop.hand_made import (
    COSTS,
    FIRST_TEST_BAR,
    answer,
    make_context,
    make_person,
    make_simulated,
    make_trade,
)
from trading_rlhf.backtest import run_backtest
from trading_rlhf.loop import Context
from trading_rlhf.loop.approved import approved_arm


@pytest.fixture
def opened(tmp_path: Path, audit_key: bytes) -> Iterator[Callable[..., Context]]:
    made = []

    def make(**changes: int) -> Context:
        made.append(make_context(tmp_path, audit_key, **changes))
        return made[-1]

    yield make
    for context in made:
        context.store.close()


def answer_many(context: Context, reviewer: str, count: int) -> None:
    """Approves every second trade, from the first test bar on."""
    for k in range(count):
        trade = make_trade(context, FIRST_TEST_BAR + k, mode="live", target=0.1 + 0.001 * k)
        answer(context, reviewer, trade, "reject" if k % 2 else "approve")


def test_only_approved_trades_are_traded(opened) -> None:
    context = opened()
    ann, bob = make_person(context, "ann"), make_person(context, "bob")
    answer_many(context, ann, 50)
    # One reject stops a trade, the smaller size is taken, and B never fills without an approval.
    answer(context, bob, make_trade(context, FIRST_TEST_BAR, mode="live", target=0.1), "reject")
    second = make_trade(context, FIRST_TEST_BAR + 2, mode="live", target=0.102)
    answer(context, bob, second, "resize", resized_to=0.05)
    arm = approved_arm(context, simulated=False)
    expected = np.full((len(context.test_bars), 2), np.nan)
    expected[2:50:2, 0] = 0.1 + 0.001 * np.arange(2, 50, 2)
    expected[2, 0] = 0.05
    np.testing.assert_allclose(arm.targets, expected)
    assert (arm.answered, arm.approved, arm.source) == (50, 24, "human")
    assert arm.name == "only what people approved"
    window = context.bars.window(FIRST_TEST_BAR, context.bars.shape[0])
    assert (
        run_backtest(window, arm.targets, COSTS, engine="reference").traded[0, :, 0] != 0
    ).sum() == 24


def test_fewer_than_fifty_answers_are_not_enough(opened) -> None:
    context = opened()
    ann = make_person(context, "ann")
    answer_many(context, ann, 49)
    # Neither the training period nor "cannot tell" counts.
    answer(context, ann, make_trade(context, 30), "approve")
    late = make_trade(context, FIRST_TEST_BAR + 60, mode="live")
    answer(context, ann, late, "cannot_tell")
    arm = approved_arm(context, simulated=False)
    assert arm.targets is None
    assert arm.note.startswith("Not enough: people answered 49 trades")


def test_people_and_the_simulated_desk_never_mix(opened) -> None:
    context = opened()
    answer_many(context, make_simulated(context, "simulated-1"), 60)
    assert approved_arm(context, simulated=False).targets is None
    arm = approved_arm(context, simulated=True)
    assert (arm.answered, arm.approved) == (60, 30)
    assert arm.name == "only what the simulated desk approved"


def test_a_review_delay_moves_the_order_to_the_end_of_its_review(opened) -> None:
    context = opened(delay=3)
    answer_many(context, make_person(context, "ann"), 50)
    targets = approved_arm(context, simulated=False).targets
    assert targets is not None
    assert np.flatnonzero(np.isfinite(targets[:, 0])).tolist() == list(range(3, 53, 2))
