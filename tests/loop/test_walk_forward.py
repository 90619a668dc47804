"""Base policies trained anew on parts of the bars: what is cut, chained, counted and unseen."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.backtest import count_trials, run_backtest, sharpe_per_bar
from trading_rlhf.config import read_config
from trading_rlhf.errors import DataError
from trading_rlhf.loop import (
    EQUAL,
    HOLD,
    POLICY,
    Context,
    SettableClock,
    WalkedForward,
    cross_validate,
    hold_targets,
    open_context,
    walk_forward,
)
from trading_rlhf.loop.cross_validation import group_splits, training_pieces
from trading_rlhf.loop.folds import fold_gap
from trading_rlhf.loop.reporting import equal_targets
from trading_rlhf.loop.walk_forward import forward_periods
from trading_rlhf.market import Bars, load_sample, write_bars
from trading_rlhf.store import read_events

FEATURES = ["trend_60", "reversal_5"]
QUICK = {
    "features": FEATURES, "train.iterations": 40, "folds.iterations": 6, "folds.periods": 3,
    "folds.groups": 4, "histories": 1, "train.batch": 8, "train.horizon": 10,
}  # fmt: skip

Open = Callable[..., Context]


def some_bars() -> Bars:
    return load_sample("us4").window(1200, 1600)


def changed_after(bars: Bars, bar: int) -> Bars:
    """The same until the close of a bar; other prices and volumes from the next bar on."""
    draws = np.random.default_rng(1)
    later = np.arange(bars.shape[0])[:, None] > bar
    scale = np.where(later, np.exp(draws.normal(0, 0.05, bars.shape).cumsum(0)), 1.0)
    prices = {name: getattr(bars, name) * scale for name in ("open", "high", "low", "close")}
    volume = np.where(later, bars.volume * 3.0, bars.volume)
    return Bars(dates=bars.dates, symbols=bars.symbols, volume=volume, **prices)


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Open a small run on bars of its own."""
    made: list[Context] = []

    def call(bars: Bars | None = None, **settings: object) -> Context:
        folder = tmp_path / f"run-{len(made)}"
        folder.mkdir()
        write_bars(some_bars() if bars is None else bars, folder / "bars.parquet")
        dotted = {name.replace("__", "."): value for name, value in settings.items()}
        config = read_config(None, {"data": str(folder / "bars.parquet"), **QUICK, **dotted})
        made.append(open_context(folder, KEY, SettableClock(present), config))
        return made[-1]

    return call


def returns(walked: WalkedForward) -> np.ndarray:
    return per_bar_returns(torch.as_tensor(walked.result.equity)).numpy()


@pytest.mark.parametrize("rolling", [False, True])
@pytest.mark.parametrize(("window", "gap"), [(1, 20), (40, 39)])
def test_stretches_follow_each_other_and_trainings_end_before_them(
    opened: Open, rolling: bool, window: int, gap: int
) -> None:
    encoder = "mlp" if window == 1 else "gru"
    context = opened(
        folds__rolling=rolling, policy__encoder=encoder, policy__window=window
    )  # fmt: skip
    periods = forward_periods(context)
    assert len(periods) == 3
    assert fold_gap(context.config) == gap
    for before, after in pairwise(periods):
        assert before.test.stop == after.test.start
        assert (len(before.train) == len(after.train)) is rolling
    assert periods[-1].test.stop == context.bars.shape[0] - 1
    for period in periods:
        assert period.test.start - period.train.stop == gap
        assert (period.train.start == context.train_bars.start) is (
            not rolling or period is periods[0]
        )


def test_where_training_stops_early_the_bars_that_say_so_lie_before_the_gap(opened: Open) -> None:
    context = opened(train__patience=2, validation_fraction=0.5, folds__first=0.7)
    for period in forward_periods(context):
        assert len(period.stopping) >= 20
        assert period.stopping.start - period.train.stop == 20
        assert period.test.start - period.stopping.stop == 20
    with pytest.raises(DataError, match="stopping early needs at least 20 bars"):
        forward_periods(opened(train__patience=2, validation_fraction=0.1))


def test_too_short_a_history_is_one_sentence(opened: Open) -> None:
    with pytest.raises(DataError, match="20 bars to test on in each of 30 periods"):
        walk_forward(opened(folds__periods=30), silent)
    with pytest.raises(DataError, match="each group must leave 20 bars to train on"):
        cross_validate(opened(folds__groups=6), silent)


def test_nothing_later_changes_what_was_trained_or_traded_before(opened: Open) -> None:
    """Trainings, resampled histories and orders up to a bar are the same bits whatever follows."""
    context = opened()
    last = forward_periods(context)[1].train[-1]
    other = opened(changed_after(some_bars(), last))
    one, two = walk_forward(context, silent), walk_forward(other, silent)
    assert one.policies[:2] == two.policies[:2]
    assert one.policies[2] != two.policies[2]
    seen = last - one.periods[0].test.start
    assert seen > 40
    np.testing.assert_array_equal(returns(one)[:, :seen], returns(two)[:, :seen])
    np.testing.assert_array_equal(one.result.traded[:, :seen], two.result.traded[:, :seen])
    assert (one.result.traded[0, :seen] != 0).any(-1).sum() > 25
    assert (returns(one)[:, seen:] != returns(two)[:, seen:]).mean() > 0.9


def test_every_training_and_the_chain_are_trials_counted_once(opened: Open) -> None:
    context = opened()
    walked = walk_forward(context, silent)
    with context.store.read() as session:
        events = read_events(session, "trial")
    names = ["walk-forward 1", "walk-forward 2", "walk-forward 3", POLICY, EQUAL, HOLD]
    assert [event.subject for event in events] == names
    assert walked.statistics[0].luck.trials == 6
    assert events[3].payload["config"]["policy"] == {"walk_forward": walked.policies}
    assert len(set(walked.policies)) == 3
    # What a policy's own walk earned is what the chain's backtest says of its stretch: the account
    # goes on, and both follow the same law.
    own, first = returns(walked)[0], walked.periods[0].test.start
    for event, period in zip(events[:3], walked.periods, strict=True):
        stretch = own[period.test.start - first : period.test.stop - first]
        assert event.payload["sharpe_per_bar"] == pytest.approx(sharpe_per_bar(stretch), rel=1e-9)
    assert walk_forward(context, silent).statistics[0].luck.trials == 6
    # The run's own policies are what they were.
    assert context.newest("policy", "base") is None


def test_what_was_looked_at_before_a_stop_stays_counted(opened: Open) -> None:
    context = opened()

    def stop(_stage: str, done: int, _total: int) -> None:
        if done > 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk_forward(context, stop)
    with context.store.read() as session:
        assert count_trials(session).count == 2


def test_equal_weight_is_restored_monthly_and_leaves_alone_what_does_not_trade() -> None:
    bars = some_bars().window(0, 60)
    tradable = bars.tradable.copy()
    second = int(np.flatnonzero(np.diff(bars.dates.month))[0]) + 1
    tradable[second, 0] = False
    targets = equal_targets(replace(bars, tradable=tradable), 1.0)
    ordered = np.flatnonzero(np.isfinite(targets).any(-1))
    assert ordered.tolist() == [0, *(np.flatnonzero(np.diff(bars.dates.month)) + 1)]
    assert np.nansum(targets[ordered], -1) == pytest.approx(0.98)
    assert np.isnan(targets[second, 0])
    assert equal_targets(bars, 0.5)[0] == pytest.approx(0.125)


@pytest.mark.parametrize(("window", "gap"), [(1, 20), (40, 39)])
def test_no_policy_is_trained_near_what_it_is_tested_on(
    opened: Open, window: int, gap: int
) -> None:
    encoder = "mlp" if window == 1 else "gru"
    context = opened(
        load_sample("us4").window(1200, 2400),
        policy__encoder=encoder, policy__window=window, folds__groups=6,
    )  # fmt: skip
    cut, first = group_splits(context), context.train_bars.start
    group = len(cut.folds[0])
    assert first + sum(map(len, cut.folds)) == context.bars.shape[0] - 1
    for number, split in enumerate(cut.splits):
        pieces = training_pieces(cut, number, first)
        # Each group that is not tested has its piece, in order.
        assert len(pieces) == 4
        trained = np.concatenate([list(piece) for piece in pieces]) - first
        for test in split.tests:
            near = (trained >= test[0] - gap) & (trained <= test[-1] + 2 * gap)
            assert not near.any()
        groups = {min(int(bar) // group, 5) for bar in trained}
        assert len(groups) == 4
        assert not groups & {int(test[0]) // group for test in split.tests}


def test_paths_run_through_every_bar_once(opened: Open) -> None:
    context = opened()
    told: list[tuple[int, int]] = []
    found = cross_validate(context, lambda _, done, total: told.append((done, total)))
    assert told == [(done, 36) for done in range(1, 37)]
    assert (found.splits, found.figures.equity.shape[0]) == (6, 3)
    first = context.train_bars.start
    assert found.figures.equity.shape[1] == len(found.dates) == context.bars.shape[0] - first
    assert len({row.tobytes() for row in found.figures.equity}) == 3
    window, limit = context.bars.window(first, context.bars.shape[0]), 0.98
    hold = run_backtest(window, hold_targets(window, limit), context.config.costs)
    assert found.rules.sharpes[1] == pytest.approx(hold.measures["sharpe"][0])
    assert found.rules.equity[1] == pytest.approx(hold.equity[0])
    with context.store.read() as session:
        events = read_events(session, "trial")
    assert [event.subject for event in events] == [f"cross-validation {n}" for n in range(1, 7)]
    assert context.newest("policy", "base") is None
