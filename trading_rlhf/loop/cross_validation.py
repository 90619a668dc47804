"""Combinatorial purged cross-validation of a training: several whole histories out of sample.

Lopez de Prado (2018), "Advances in financial machine learning", chapter 12. The bars are cut into
groups; for every choice of tested groups a policy is trained on the others, without the bars
around a test. Each group is then tested several times, and the tests join to paths over all bars.
Trainings see bars later than their tests, too: the paths say how much a result hangs on what
happened to be trained on, not what could have been earned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch

from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.agent import Policy, orthogonal_start, start_training, walk
from trading_rlhf.backtest import (
    PathFigures,
    join_paths,
    path_figures,
    run_backtest,
    stack_policies,
)
from trading_rlhf.env import cut_market
from trading_rlhf.errors import DataError
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.fitting import Checkpoint, Watch, fit_policy
from trading_rlhf.loop.folds import FEWEST_TESTED, fold_gap, folds_workshop, part_of
from trading_rlhf.loop.reporting import equal_targets, hold_targets
from trading_rlhf.loop.training import store_policy
from trading_rlhf.loop.trial_ledger import record_walks
from trading_rlhf.loop.trial_names import walked_trial
from trading_rlhf.market import CombinatorialSplits, combinatorial_purged
from trading_rlhf.types import FloatArray, JsonDict, Progress

__all__ = ["CrossValidated", "cross_validate", "group_splits", "plan_trainings", "training_pieces"]

_Tested: TypeAlias = tuple[slice, FloatArray]
"""A test period (bars from the first that may be used) and the returns over it."""

_STAGE = "cross-validating"


@dataclass(frozen=True)
class CrossValidated:
    """Paths over the same bars, each by policies that were not trained on what they trade.

    Attributes:
        dates: ``[K + 1]`` closes of the bars: the first decision to the last return's end.
        splits: number of trainings.
        gap: bars left out of training on both sides of a test, twice as many after it.
        figures: curves and Sharpe ratios of the paths.
        rules: curves and Sharpe ratios of ``EQUAL`` and ``HOLD``, in this order.
    """

    dates: pd.DatetimeIndex
    splits: int
    gap: int
    figures: PathFigures
    rules: PathFigures


def cross_validate(context: Context, progress: Progress) -> CrossValidated:
    """Train and test the base policy for every choice of tested groups.

    Trainings have the run's settings, but neither stop early, nor are pre-trained, nor see
    resampled histories: those take bars in one piece, which here would tell of the tests. Each test
    starts from cash. Every training is a trial.

    Args:
        context: the run; its own policies stay as they are.
        progress: told about the iterations of all trainings together.

    Raises:
        DataError: there are too few bars for the settings.
        TrainingError: a training explodes.
    """
    cut, pieces = plan_trainings(context)
    with folds_workshop(context) as workshop:
        fold = _without_stopping(workshop)
        policies = []
        for number, own in enumerate(pieces):
            told = part_of(progress, _STAGE, number, len(pieces), fold.config.train.iterations)
            policies.append(_fit(fold, own, told))
        tested = _test(fold, policies, cut)
        _count(context, fold, policies, tested)
    whole = range(context.train_bars.start, context.bars.shape[0])
    return CrossValidated(
        dates=context.bars.dates[whole.start :],
        splits=len(pieces),
        gap=fold_gap(context.config),
        figures=path_figures(join_paths(chain(*tested)), context.bars.bars_per_year),
        rules=path_figures(_rules(context, whole), context.bars.bars_per_year),
    )


def plan_trainings(context: Context) -> tuple[CombinatorialSplits, list[list[range]]]:
    """The splits, and the bars of each training in pieces.

    Raises:
        DataError: there are too few bars for the settings.
    """
    first, cut = context.train_bars.start, group_splits(context)
    pieces = [training_pieces(cut, number, first) for number in range(len(cut.splits))]
    _require_room(context, cut, pieces)
    return cut, pieces


def group_splits(context: Context) -> CombinatorialSplits:
    """Every choice of tested groups of the run's usable bars; bar 0 is the first of them.

    Raises:
        DataError: there are too few bars for the settings.
    """
    folds, gap = context.config.folds, fold_gap(context.config)
    # The last bar has no return after it, so nothing is decided there.
    decided = context.bars.shape[0] - 1 - context.train_bars.start
    return combinatorial_purged(decided, folds.groups, folds.tested, gap, gap)


def training_pieces(cut: CombinatorialSplits, number: int, first: int) -> list[range]:
    """Bars of one training, a piece for each group, so that each has its turn.

    Args:
        cut: the splits.
        number: which one.
        first: bar of the run at which the splits begin.
    """
    train = cut.splits[number].train
    inside = (train[(train >= fold[0]) & (train <= fold[-1])] for fold in cut.folds)
    return [range(first + int(x[0]), first + int(x[-1]) + 1) for x in inside if len(x)]


def _require_room(context: Context, cut: CombinatorialSplits, pieces: list[list[range]]) -> None:
    """Refuse groups in which nothing could be learned or tested, before hours are spent."""
    needed = max(context.config.train.horizon + 2, FEWEST_TESTED)
    shortest = min(len(piece) for own in pieces for piece in own)
    if shortest < needed:
        raise DataError(
            f"each group must leave {needed} bars to train on beside the gaps around a test",
            f"{shortest} of {min(map(len, cut.folds))} bars in a group",
            "Use a longer history or fewer --folds.groups.",
        )


def _without_stopping(workshop: Context) -> Context:
    """The same settings, but for what takes bars in one piece."""
    config = workshop.config
    train = config.train.model_copy(update={"patience": 0})
    config = config.model_copy(update={"train": train, "histories": 0})
    return replace(workshop, config=config, stopping_bars=range(0))


def _fit(fold: Context, pieces: Sequence[range], watch: Watch) -> Policy:
    """Train a base policy on pieces of the bars in turn."""
    config, generator = fold.config, fold.generator("train")
    policy = Policy(len(config.features), config.policy, 1, generator)
    if config.train.method == "ppo" and config.train.ppo.orthogonal:
        orthogonal_start(policy, generator)
    training = start_training(policy, config.train, generator)
    market = fold.market.to(torch.float32)
    fit_policy(
        fold,
        training,
        [(market, piece) for piece in pieces],
        Checkpoint(fold.folder / "training", {}),
        watch,
    )
    return policy


def _test(
    fold: Context, policies: Sequence[Policy], cut: CombinatorialSplits
) -> list[list[_Tested]]:
    """What each policy earned on each group that it was not trained on, from cash.

    A group is walked once, by all policies that it tests.
    """
    config, first = fold.config, fold.train_bars.start
    found: list[list[_Tested]] = [[] for _ in policies]
    for group in cut.folds:
        period = slice(int(group[0]), int(group[-1]) + 1)
        testing = [
            number for number, split in enumerate(cut.splits)
            if any(test[0] == period.start for test in split.tests)
        ]  # fmt: skip
        walked = walk(
            stack_policies([policies[number] for number in testing]), fold.market,
            torch.tensor([first + period.start]), len(group), config.costs, config.gate,
            capital=config.equity, generator=fold.generator("reviews"),
        )  # fmt: skip
        returns = walked.log_growth[:, :, 0].double().exp().numpy() - 1.0
        for member, number in enumerate(testing):
            found[number].append((period, returns[:, member]))
    return found


def _count(
    context: Context, fold: Context, policies: Sequence[Policy], tested: list[list[_Tested]]
) -> None:
    """Count every training as a trial, with what its policy earned on all of its tests."""
    dates, first = context.bars.dates, context.train_bars.start
    whole, walks, returns = replace(fold, test_bars=range(first, len(dates))), [], []
    for number, (policy, own) in enumerate(zip(policies, tested, strict=True)):
        made: JsonDict = {
            "policy": store_policy(fold, policy, "base", None).id,
            "tested": [dates[first + period.start].isoformat() for period, _ in own],
        }
        walks.append((f"cross-validation {number + 1}", walked_trial(whole, made)))
        returns.append(np.concatenate([values for _, values in own]))
    with context.store.write() as session:
        record_walks(session, whole, walks, returns)
    context.sign()


def _rules(context: Context, whole: range) -> FloatArray:
    """Returns of equal weight and of buy and hold over all these bars, ``[2, K]``."""
    config = context.config
    window, limit = context.bars.window(whole.start, whole.stop), config.policy.max_gross
    result = run_backtest(
        window,
        np.stack([equal_targets(window, limit), hold_targets(window, limit)]),
        config.costs,
        max_gross=limit,
        equity_usd=config.equity,
        market=cut_market(context.market, whole),
        keep="equity",
    )
    returns: FloatArray = per_bar_returns(torch.as_tensor(result.equity)).numpy()
    return returns
