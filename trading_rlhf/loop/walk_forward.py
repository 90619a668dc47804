"""Train anew, trade the next stretch, move on: one path that is out of sample from end to end.

Pardo (2008), "The evaluation and optimization of trading strategies", chapter 11, with the purged
gap of Lopez de Prado (2018), "Advances in financial machine learning", chapter 7. The account goes
on from one policy to the next, so that what a change of policy trades is paid for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.agent import load_policy, walk
from trading_rlhf.backtest import (
    ArmStatistics,
    BacktestResult,
    arm_statistics,
    compare_arms,
    count_trials,
    run_backtest,
)
from trading_rlhf.env import cut_market
from trading_rlhf.errors import DataError
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.folds import (
    EQUAL,
    FEWEST_TESTED,
    HOLD,
    fold_gap,
    folds_workshop,
    part_of,
)
from trading_rlhf.loop.reporting import equal_targets, hold_targets
from trading_rlhf.loop.sweep_cell import unheard, walk_targets
from trading_rlhf.loop.training import train_base
from trading_rlhf.loop.trial_ledger import record_walks
from trading_rlhf.loop.trial_names import given_trial, walked_trial
from trading_rlhf.market import walk_forward as walk_forward_splits
from trading_rlhf.types import FloatArray, Progress

__all__ = ["POLICY", "Period", "WalkedForward", "forward_periods", "walk_forward"]

POLICY = "walk-forward policy"

_STAGE = "walking forward"


@dataclass(frozen=True)
class Period:
    """One training and the stretch after it.

    Attributes:
        train: bars that were fitted on.
        stopping: bars after those, purged, that said when training stops; empty unless the
            settings stop early.
        test: decision bars after those, purged; the last one's return ends on the bar after it.
    """

    train: range
    stopping: range
    test: range


@dataclass(frozen=True)
class WalkedForward:
    """A policy trained anew before each stretch, beside what needs no policy.

    Attributes:
        periods: in order of time; the test stretches follow each other without a gap.
        policies: id of each period's policy.
        result: of ``POLICY``, ``EQUAL`` and ``HOLD``, in this order, over all stretches.
        statistics: of each of them, after every trial in the run's ledger.
        tests: the policy against each of the others, from ``compare_arms``.
        bars_per_year: of these bars.
    """

    periods: list[Period]
    policies: list[str]
    result: BacktestResult
    statistics: list[ArmStatistics]
    tests: pd.DataFrame
    bars_per_year: float


def forward_periods(context: Context) -> list[Period]:
    """Cut the run's usable bars into trainings and the test stretches that follow them.

    Raises:
        DataError: there are too few bars for the settings.
    """
    config, first = context.config, context.train_bars.start
    folds, gap = config.folds, fold_gap(config)
    # The last bar has no return after it, so nothing is decided there.
    decided = context.bars.shape[0] - 1 - first
    tested = (decided - int(decided * folds.first)) // folds.periods
    trained = decided - gap - folds.periods * tested
    if tested < FEWEST_TESTED or trained < 1:
        raise DataError(
            f"walk-forward needs {FEWEST_TESTED} bars to test on in each of {folds.periods} "
            f"periods, and bars to train on before a gap of {gap}",
            f"{tested} in each and {trained} to train on, of {decided}",
            "Use a longer history, fewer --folds.periods or another --folds.first.",
        )
    splits = walk_forward_splits(decided, trained, tested, gap, expanding=not folds.rolling)
    return [
        _period(
            context,
            range(first + train.start, first + train.stop),
            range(first + test.start, first + test.stop),
        )
        for train, test in splits
    ]


def _period(context: Context, train: range, test: range) -> Period:
    """Where training stops early, what says so are the last bars before the gap."""
    config = context.config
    if not config.train.patience:
        return Period(train, range(0), test)
    # As in a run, where half of the validation bars stop the training.
    kept = int(len(train) * config.validation_fraction) // 2
    left = len(train) - kept - fold_gap(config)
    if kept < FEWEST_TESTED or left < 1:
        raise DataError(
            f"stopping early needs at least {FEWEST_TESTED} bars beside those to train on",
            f"{kept} in a training of {len(train)} bars",
            "Use a larger --folds.first or validation_fraction, or train.patience 0.",
        )
    return Period(train[:left], train[len(train) - kept :], test)


def walk_forward(context: Context, progress: Progress) -> WalkedForward:
    """Train the base policy on each period's earlier bars, trade the next stretch, chain them.

    Every training is a trial, and so are the chain and what it is compared with.

    Args:
        context: the run; its own policies stay as they are.
        progress: told about the iterations of all trainings together.

    Raises:
        DataError: there are too few bars for the settings.
        TrainingError: a training explodes.
    """
    periods = forward_periods(context)
    policies, ordered = _walk_periods(context, periods, progress)
    chain = replace(context, test_bars=range(periods[0].test.start, context.bars.shape[0]))
    result = _backtest(chain, ordered)
    returns: FloatArray = per_bar_returns(torch.as_tensor(result.equity)).numpy()
    curves = dict(zip((POLICY, EQUAL, HOLD), returns, strict=True))
    names = [
        (POLICY, walked_trial(chain, {"walk_forward": policies})),
        (EQUAL, given_trial(chain, EQUAL)),
        (HOLD, given_trial(chain, HOLD)),
    ]
    per_year, generator = context.bars.bars_per_year, context.generator("walk-forward")
    with context.store.write() as session:
        record_walks(session, chain, names, returns)
        trials = count_trials(session, per_year)
    context.sign()
    drawn = {name: curve[None] for name, curve in curves.items()}
    pairs = [(POLICY, EQUAL), (POLICY, HOLD)]
    return WalkedForward(
        periods=periods,
        policies=policies,
        result=result,
        statistics=arm_statistics(drawn, trials, per_year, generator),
        tests=compare_arms(curves, generator, per_year, pairs=pairs, confidence=0.95),
        bars_per_year=per_year,
    )


def _walk_periods(
    context: Context, periods: Sequence[Period], progress: Progress
) -> tuple[list[str], FloatArray]:
    """Ids of the policies, and what they ordered one after the other: ``[K, N]`` (K decisions)."""
    ids, ordered, position = [], [], None
    generator = context.generator("reviews")
    with folds_workshop(context) as workshop:
        for number, period in enumerate(periods):
            fold = replace(
                workshop, train_bars=period.train, stopping_bars=period.stopping,
                validation_bars=range(0), test_bars=period.test,
            )  # fmt: skip
            told = part_of(progress, _STAGE, number, len(periods), fold.config.train.iterations)
            record = train_base(fold, unheard, told)
            policy, _ = load_policy(fold.policies, record.id)
            walked = walk(
                policy, context.market, torch.tensor([period.test.start]), len(period.test),
                fold.config.costs, fold.config.gate, position=position,
                capital=fold.config.equity, generator=generator,
            )  # fmt: skip
            position = walked.end
            ids.append(record.id)
            ordered.append(walk_targets(walked)[:-1])
            # Counted as soon as it was looked at, whatever becomes of the others.
            with context.store.write() as session:
                record_walks(
                    session, fold, [(f"walk-forward {number + 1}", walked_trial(fold, record.id))],
                    [walked.log_growth[:, 0, 0].double().exp().numpy() - 1.0],
                )  # fmt: skip
            context.sign()
    return ids, np.concatenate(ordered)


def _backtest(chain: Context, ordered: FloatArray) -> BacktestResult:
    """The policies' orders and both rules over all stretches, at the same fills and costs."""
    config, test = chain.config, chain.test_bars
    window, limit = chain.bars.window(test.start, test.stop), config.policy.max_gross
    # The last bar decides nothing.
    policy = np.concatenate([ordered, np.full((1, ordered.shape[1]), np.nan)])
    return run_backtest(
        window,
        np.stack([policy, equal_targets(window, limit), hold_targets(window, limit)]),
        config.costs,
        max_gross=limit,
        equity_usd=config.equity,
        market=cut_market(chain.market, test),
    )
