"""Approval against profit: the sweep meets the arms of the run, and says whose approval it is."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.backtest import count_trials
from trading_rlhf.loop import Context, SettableClock, open_context, simulated_desk
from trading_rlhf.loop.frontier import (
    Frontier,
    _undominated,
    price_frontier,
    threshold_frontier,
)
from trading_rlhf.types import Desk


@pytest.fixture(scope="module")
def context(demo_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A copy of the demo: a sweep counts its trials in the run."""
    copy = tmp_path_factory.mktemp("frontier") / "demo"
    shutil.copytree(demo_run, copy)
    opened = open_context(copy, KEY, SettableClock(present))
    yield opened
    opened.store.close()


def sweep(context: Context, decider: Desk | None) -> Frontier:
    kinds = {kind: kind for kind in ("base", "shaped")}
    return threshold_frontier(context, kinds, decider, (0.1, 0.9))


def counted(context: Context) -> int:
    with context.store.read() as session:
        return count_trials(session).count


def test_points_at_the_runs_own_threshold_are_its_arms(context, demo_summary) -> None:
    desk, _ = simulated_desk(context)
    before = counted(context)
    found = sweep(context, desk)
    assert found.approval == "true"
    assert found.points["threshold"].tolist() == [0.1, 0.5, 0.9] * 2
    own = found.points[found.points["threshold"] == 0.5].set_index("policy")
    for policy, arm in (("base", "base_filter"), ("shaped", "shaped")):
        for column, key in (
            ("approval", "approval"),
            ("approval_count", "approval_count"),
            ("growth_bps", "profit_through_gate"),
            ("sharpe", "sharpe"),
            ("reviews", "reviews_per_step"),
        ):
            assert own.loc[policy, column] == pytest.approx(demo_summary[key][arm], rel=1e-6)
    base = found.points[found.points["policy"] == "base"]
    # The highest bar may show too little to have an approval.
    assert base["approval"].notna().sum() >= 2
    assert base["approval"].dropna().is_monotonic_increasing
    assert base["reviews"].is_monotonic_decreasing
    # Looked at out of sample, each point is a trial; at the run's own threshold it is the trial
    # that the demo has counted, and looked at again it is the same one.
    assert counted(context) == before + 4
    sweep(context, desk)
    assert counted(context) == before + 4
    assert found.points["own"].tolist() == [False, True, False] * 2


def test_without_a_desk_approval_is_predicted_and_says_so(context) -> None:
    found = sweep(context, None)
    assert found.approval == "predicted"
    assert found.note.startswith("Approval is predicted by the reward model")
    # What is shown has p above the bar by the same model.
    known = found.points[found.points["approval"].notna()]
    assert len(known) >= 4
    assert (known["approval"] > known["threshold"]).all()


def test_prices_and_targets_train_other_policies_and_the_runs_own_is_the_stored_one(
    context, demo_summary
) -> None:
    config = context.config
    short = config.model_copy(update={"shape": config.shape.model_copy(update={"iterations": 3})})
    quick, before = replace(context, config=short), counted(context)
    desk, _ = simulated_desk(context)
    found = price_frontier(quick, desk, silent, prices=(0.0, 1000.0), targets=(0.5, 1.0))
    points = found.points
    assert points["price_bps"].tolist() == [0.0, 1000.0, 1000.0]
    assert points["target_approval"].isna().tolist() == [True, False, False]
    assert points["target_approval"].tolist()[1:] == [0.5, 1.0]
    assert points["threshold"].tolist() == [0.5] * 3
    assert points["own"].tolist() == [True, False, False]
    assert points["growth_bps"].nunique() == 3
    assert points["growth_bps"][0] == pytest.approx(
        demo_summary["profit_through_gate"]["shaped"], rel=1e-6
    )
    # The stored policy under the run's settings was counted with the demo's arms.
    assert counted(context) == before + 2


def test_the_best_points_are_those_that_none_beats() -> None:
    points = pd.DataFrame(
        [
            (0.6, 3.0, True),
            (0.7, 2.0, True),
            (0.7, 1.0, False),  # less growth at the same approval
            (0.5, 2.5, False),  # less of both than the first
            (0.7, 2.0, True),  # a twin
            (float("nan"), 9.0, False),  # too few items to have an approval
        ],
        columns=["approval", "growth_bps", "best"],
    )
    assert _undominated(points) == points["best"].tolist()
