"""How much approval costs in profit: the filter's threshold, target approval and reward price."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pandas as pd
import torch

from trading_rlhf.agent import Policy, Walk, walk
from trading_rlhf.backtest import figures, stack_policies
from trading_rlhf.errors import RunError
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.learning import wanted_weights
from trading_rlhf.loop.training import shape_policies
from trading_rlhf.loop.trial_ledger import record_walks
from trading_rlhf.loop.trial_names import NOBODY, desk_name, walked_trial
from trading_rlhf.reward import ModelDesk, RewardModel, ShapingConfig
from trading_rlhf.types import Desk, JsonDict, Progress

__all__ = [
    "PRICES",
    "TARGETS",
    "THRESHOLDS",
    "Frontier",
    "price_frontier",
    "threshold_frontier",
]

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Bars of the filter that are tried, besides the run's own."""

PRICES = (0.0, 10.0, 30.0, 100.0)
"""Charges on disapproved notional that are tried (basis points)."""

TARGETS = (0.5, 0.7, 0.9)
"""Target approvals that are tried: the price is charged for what falls short of them."""


@dataclass(frozen=True)
class Frontier:
    """Approval against profit, out of sample.

    Attributes:
        points: one row per policy, price, target and threshold: policy, price_bps and
            target_approval that it was shaped with (NaN where they do not bear on it: of a policy
            that was not shaped, and a target without a price), threshold, approval (by notional of
            what was shown, NaN below 50 items), approval_count, growth_bps (log growth a step
            through the desk), growth_error (its standard error), sharpe, reviews (items a step),
            shown (items), own (the run's own settings) and best (no other point of the table has
            at least as much of both approval and growth, and more of one).
        approval: "true" where the desk's own probability decides and is averaged, "predicted" where
            the reward model stands in for people, who cannot be asked about every point.
        note: what that means, in words.
    """

    points: pd.DataFrame
    approval: Literal["true", "predicted"]
    note: str


@dataclass(frozen=True)
class _Tried:
    """A policy to be walked, and what names its trial."""

    name: str
    policy: Policy
    identity: str | JsonDict
    price: float
    target: float
    own: bool


_Judge: TypeAlias = tuple[RewardModel, str, Desk | None]
"""The model that filters, its id, and the true desk or None."""


def threshold_frontier(
    context: Context,
    policies: Mapping[str, str],
    decider: Desk | None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Frontier:
    """Sweep the filter's bar for several policies in one walk over the test period.

    Every point is looked at out of sample, so every point is counted as a trial.

    Args:
        context: the run.
        policies: kinds of stored policies by the name that they are shown under.
        decider: the true desk of a simulation; None lets the reward model decide.
        thresholds: bars of the filter; the run's own is added.

    Raises:
        RunError: the run has no reward model, or lacks a policy.
    """
    tried = []
    for name, kind in policies.items():
        policy, record = context.policy(kind)
        price, target = (math.nan, math.nan) if kind == "base" else _bearing(_shaped_with(context))
        tried.append(_Tried(name, policy, record.id, price, target, own=True))
    return _frontier(context, tried, _judge(context, decider), thresholds)


def price_frontier(
    context: Context,
    decider: Desk | None,
    progress: Progress,
    prices: Sequence[float] = PRICES,
    targets: Sequence[float] = TARGETS,
) -> Frontier:
    """Shape a policy at each price and target approval, side by side, and walk them all.

    Every point has the run's budget of training. The stored policy stands at the settings that it
    was shaped with.

    Args:
        context: the run.
        decider: the true desk of a simulation; None lets the reward model decide.
        progress: told about each iteration of the training.
        prices: charges (basis points of disapproved notional).
        targets: approvals below which they are charged; at price zero no target matters.

    Raises:
        RunError: the run has no reward model, or lacks a policy.
    """
    judge = _judge(context, decider)
    (base, base_record), (shaped, shaped_record) = map(context.policy, ("base", "shaped"))
    own = _shaped_with(context)
    given = [
        ShapingConfig(price_bps=price, target_approval=target)
        for price in prices
        for target in targets[: None if price else 1]
    ]
    others = [shaping for shaping in given if _bearing(shaping) != _bearing(own)]
    trained = _shape(context, base, judge[0], others, progress)
    tried = [
        _Tried("shaped", policy, _made(context, base_record.id, judge[1], shaping),
               *_bearing(shaping), own=False)
        for policy, shaping in zip(trained, others, strict=True)
    ]  # fmt: skip
    tried.append(_Tried("shaped", shaped, shaped_record.id, *_bearing(own), own=True))
    tried.sort(key=lambda point: (point.price, point.target))
    return _frontier(context, tried, judge, ())


def _judge(context: Context, decider: Desk | None) -> _Judge:
    stored = context.reward_model()
    if stored is None:
        raise RunError(
            "a frontier needs a reward model to filter with",
            f"none in {context.folder}",
            "Run 'trading-rlhf learn' first, or leave out --frontier.",
        )
    return stored[0], stored[1].id, decider


def _shape(
    context: Context,
    base: Policy,
    model: RewardModel,
    shapings: Sequence[ShapingConfig],
    progress: Progress,
) -> list[Policy]:
    """One policy for each price and target, with the random numbers of the run's own shaping."""
    if not shapings:
        return []
    desks = [ModelDesk(model, context.config.fit.pessimism)] * len(shapings)
    stored = context.reward_model()
    taught = None if stored is None else wanted_weights(context, stored[1], ["resizes"])
    return shape_policies(context, base, desks, "shape", progress, shapings, taught)


def _shaped_with(context: Context) -> ShapingConfig:
    """What the stored shaped policy was shaped with."""
    event = context.newest("policy", "shaped")
    kept = None if event is None else event.payload.get("shaping")
    return context.config.shaping if kept is None else ShapingConfig(**kept)


def _bearing(shaping: ShapingConfig) -> tuple[float, float]:
    """Price and target, as far as they bear on anything."""
    return shaping.price_bps, shaping.target_approval if shaping.price_bps else math.nan


def _made(context: Context, base_id: str, model_id: str, shaping: ShapingConfig) -> JsonDict:
    """Names a policy by what it was made from: it is not kept, so it has no id."""
    config = context.config
    return {
        "shaped_from": base_id,
        "under": model_id,
        "pessimism": config.fit.pessimism,
        "shape": config.shape.model_dump(mode="json"),
        "shaping": shaping.model_dump(mode="json"),
    }


def _frontier(
    context: Context, tried: Sequence[_Tried], judge: _Judge, thresholds: Sequence[float]
) -> Frontier:
    config, (model, _, decider) = context.config, judge
    bars = sorted({*thresholds, config.gate.threshold})
    keys = [(point, bar) for point in tried for bar in bars]
    learned = ModelDesk(RewardModel.stack([model] * len(keys)))
    walked = walk(
        stack_policies([point.policy for point, _ in keys]),
        context.market,
        torch.tensor([context.test_bars.start]),
        len(context.test_bars) - 1,
        config.costs,
        config.gate,
        model=learned,
        thresholds=torch.tensor([bar for _, bar in keys]),
        decider=learned if decider is None else decider,
        capital=config.equity,
        generator=context.generator("reviews"),
    )
    rows = [_row(walked, arm, *key, context) for arm, key in enumerate(keys)]
    points = pd.DataFrame(rows)
    points["best"] = _undominated(points)
    _count(context, walked, keys, judge)
    approval: Literal["true", "predicted"] = "predicted" if decider is None else "true"
    error = points["growth_error"].median()
    noise = (
        f"Growth carries a standard error of about {error:.1f} bps a bar, so the highest of many "
        "points is high by luck, too."
    )
    return Frontier(points, approval, f"{_NOTES[approval]} {noise}")


def _row(
    walked: Walk, arm: int, point: _Tried, threshold: float, context: Context
) -> dict[str, str | float | int]:
    found = figures(walked, arm, context.bars.bars_per_year)
    growth = walked.log_growth[:, arm].flatten()
    return {
        "policy": point.name,
        "price_bps": point.price,
        "target_approval": point.target,
        "threshold": threshold,
        "approval": math.nan if found.approval is None else found.approval,
        "approval_count": math.nan if found.approval_count is None else found.approval_count,
        "growth_bps": found.profit,
        "growth_error": 1e4 * float(growth.std()) / len(growth) ** 0.5,
        "sharpe": found.sharpe,
        "reviews": found.reviews,
        "shown": found.shown,
        "own": point.own and threshold == context.config.gate.threshold,
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
    context: Context, walked: Walk, keys: Sequence[tuple[_Tried, float]], judge: _Judge
) -> None:
    """Count every point as a trial; the same point is counted once, an arm's own included."""
    _, model_id, decider = judge
    walks = [
        (
            f"frontier {point.name}",
            walked_trial(
                context, point.identity, model_id=model_id, threshold=threshold,
                decided_by=_decided_by(context, threshold, decider),
            ),
        )
        for point, threshold in keys
    ]  # fmt: skip
    returns = walked.log_growth[:, :, 0].exp().double().numpy() - 1.0
    with context.store.write() as session:
        record_walks(session, context, walks, returns.T)
    context.sign()


def _decided_by(context: Context, threshold: float, decider: Desk | None) -> str:
    if decider is not None:
        return desk_name(context)
    # A model that lets through only what it approves of refuses nothing afterwards.
    return NOBODY if threshold >= _APPROVED else "the reward model"


_APPROVED = 0.5
"""A deciding desk executes what it approves of rather than not, as in a walk."""

_NOTES = {
    "true": "Approval is the simulated desk's own probability, by notional of what is shown; that "
    "desk decides.",
    "predicted": "Approval is predicted by the reward model, which also filters and decides in "
    "people's place: it flatters itself, and what people would have said may be lower.",
}
