"""How much approval costs in profit: the filter's threshold and the reward price, swept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
import torch

from trading_rlhf.agent import Policy, Walk, walk
from trading_rlhf.backtest import figures, record_trial, sharpe_per_bar, stack_policies
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.training import shape_policies
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.types import Desk, Progress

__all__ = ["PRICES", "THRESHOLDS", "Frontier", "price_frontier", "threshold_frontier"]

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Bars of the filter that are tried, besides the run's own."""

PRICES = (0.0, 10.0, 30.0, 100.0)
"""Charges on disapproved notional that are tried (basis points)."""


@dataclass(frozen=True)
class Frontier:
    """Approval against profit, out of sample.

    Attributes:
        points: one row per policy, price and threshold: policy, price_bps (of the run, in a sweep
            of thresholds), threshold, approval (by notional of what was shown, NaN below 50 items),
            approval_count, growth_bps (log growth a step through the desk), growth_error (its
            standard error), sharpe, reviews (items a step), shown (items) and best (no other point
            of the table has at least as much of both approval and growth, and more of one).
        approval: "true" where the desk's own probability decides and is averaged, "predicted" where
            the reward model stands in for people, who cannot be asked about every point.
        note: what that means, in words.
    """

    points: pd.DataFrame
    approval: Literal["true", "predicted"]
    note: str


def threshold_frontier(
    context: Context,
    policies: Mapping[str, Policy],
    model: RewardModel,
    decider: Desk | None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Frontier:
    """Sweep the filter's bar for several policies in one walk over the test period.

    Every point is looked at out of sample, so every point is counted as a trial.

    Args:
        context: the run.
        policies: single policies by name, such as "base" and "shaped".
        model: the reward model that filters (S = 1).
        decider: the true desk of a simulation; None lets the reward model decide.
        thresholds: bars of the filter; the run's own is added.
    """
    priced = {(name, context.config.shaping.price_bps): p for name, p in policies.items()}
    return _frontier(context, priced, model, decider, thresholds)


def price_frontier(
    context: Context,
    base: Policy,
    model: RewardModel,
    decider: Desk | None,
    progress: Progress,
    prices: Sequence[float] = PRICES,
) -> Frontier:
    """Shape a policy at each price of disapproval, with the run's budget, and walk them all.

    Args:
        context: the run.
        base: the profit-only policy, from which each is trained.
        model: the reward model that trains and filters (S = 1).
        decider: the true desk of a simulation; None lets the reward model decide.
        progress: told about each iteration of each training.
        prices: charges (basis points of disapproved notional).
    """
    trained = {}
    for price in prices:
        shaping = context.config.shaping.model_copy(update={"price_bps": price})
        config = context.config.model_copy(update={"shaping": shaping})
        desk = ModelDesk(model, config.fit.pessimism)
        (policy,) = shape_policies(replace(context, config=config), base, [desk], "price", progress)
        trained["shaped", float(price)] = policy
    return _frontier(context, trained, model, decider, ())


def _frontier(
    context: Context,
    policies: Mapping[tuple[str, float], Policy],
    model: RewardModel,
    decider: Desk | None,
    thresholds: Sequence[float],
) -> Frontier:
    config = context.config
    bars = sorted({*thresholds, config.gate.threshold})
    keys = [(name, price, bar) for name, price in policies for bar in bars]
    learned = ModelDesk(RewardModel.stack([model] * len(keys)))
    walked = walk(
        stack_policies([policies[name, price] for name, price, _ in keys]),
        context.market,
        torch.tensor([context.test_bars.start]),
        len(context.test_bars) - 1,
        config.costs,
        config.gate,
        model=learned,
        thresholds=torch.tensor([bar for _, _, bar in keys]),
        decider=learned if decider is None else decider,
        capital=config.equity,
        generator=context.generator("reviews"),
    )
    rows = [_point(walked, arm, *key, context) for arm, key in enumerate(keys)]
    points = pd.DataFrame(rows)
    points["best"] = _undominated(points)
    approval: Literal["true", "predicted"] = "predicted" if decider is None else "true"
    _count(context, walked, keys, approval)
    error = points["growth_error"].median()
    noise = f"Growth carries a standard error of about {error:.1f} bp a step."
    return Frontier(points, approval, f"{_NOTES[approval]} {noise}")


def _point(
    walked: Walk, arm: int, policy: str, price: float, threshold: float, context: Context
) -> dict[str, str | float | int]:
    found = figures(walked, arm, context.bars.bars_per_year)
    growth = walked.log_growth[:, arm].flatten()
    return {
        "policy": policy,
        "price_bps": price,
        "threshold": threshold,
        "approval": math.nan if found.approval is None else found.approval,
        "approval_count": math.nan if found.approval_count is None else found.approval_count,
        "growth_bps": found.profit,
        "growth_error": 1e4 * float(growth.std()) / len(growth) ** 0.5,
        "sharpe": found.sharpe,
        "reviews": found.reviews,
        "shown": found.shown,
    }


def _undominated(points: pd.DataFrame) -> list[bool]:
    """Whether no other point is as good in both approval and growth, and better in one."""
    both = points[["approval", "growth_bps"]].to_numpy()
    # Comparisons with NaN are false: a point without approval dominates nothing.
    return [
        not any((other >= own).all() and (other > own).any() for other in both)
        and not math.isnan(own[0])
        for own in both
    ]


def _count(
    context: Context, walked: Walk, keys: Sequence[tuple[str, float, float]], approval: str
) -> None:
    """Count every point as a trial; the same point is counted once."""
    settings, per_year = context.config.model_dump(mode="json"), context.bars.bars_per_year
    with context.store.write() as session:
        for arm, (policy, price, threshold) in enumerate(keys):
            returns = walked.log_growth[:, arm, 0].exp().double().numpy() - 1.0
            config = {
                "arm": f"frontier {policy}", "price_bps": price, "threshold": threshold,
                "decided by": approval, "settings": settings,
            }  # fmt: skip
            record_trial(
                session, "backtest", config=config, data=context.bars.sha256,
                seed=context.config.seed, actor="system", sharpe=sharpe_per_bar(returns),
                bars_per_year=per_year, subject=f"frontier {policy}",
            )  # fmt: skip
    context.sign()


_NOTES = {
    "true": "Approval is the simulated desk's own probability, by notional of what is shown; that "
    "desk decides.",
    "predicted": "Approval is predicted by the reward model, which also filters and decides in "
    "people's place: it flatters itself, and what people would have said may be lower.",
}
