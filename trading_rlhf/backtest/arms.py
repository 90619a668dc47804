"""The arms of an experiment, walked side by side out of sample while the true desk decides."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from trading_rlhf.accounting import BARS_PER_YEAR, CostModel, sharpe_ratio
from trading_rlhf.agent import Policy, Walk, walk
from trading_rlhf.backtest.statistics import sharpe_standard_error
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.reward import ModelDesk, RewardModel, SlicedDesk
from trading_rlhf.types import Desk, JsonDict

__all__ = [
    "ENOUGH_ITEMS",
    "Arm",
    "ArmFigures",
    "figures",
    "gap_closed",
    "matching_thresholds",
    "mean_figures",
    "shown_notional",
    "stack_policies",
    "walk_arms",
]

ENOUGH_ITEMS = 50
"""Approval of fewer shown items is not reported."""

_CANDIDATES = 25


@dataclass(frozen=True)
class Arm:
    """One policy under one filter.

    Attributes:
        name: "base", "base_filter", "shaped", "oracle", "placebo" or another label.
        policy: a single policy (S = 1).
        filter: what decides what is shown; None shows everything.
        threshold: the filter's bar; a trade is shown with p above it.
        decider: the desk that answers what is shown; None executes everything shown.
    """

    name: str
    policy: Policy
    filter: Desk | None
    threshold: float
    decider: Desk | None


@dataclass(frozen=True)
class ArmFigures:
    """What an arm did, out of sample.

    Attributes:
        approval: mean true p of what was shown, weighted by notional; None below 50 items.
        approval_count: the same by count.
        profit: mean log growth per step through the gate (basis points).
        sharpe: yearly Sharpe ratio through the gate.
        sharpe_error: its standard error.
        reviews: items shown per step.
        turnover: sum of absolute executed changes per step (fraction of equity).
        shown: number of items shown.
    """

    approval: float | None
    approval_count: float | None
    profit: float
    sharpe: float
    sharpe_error: float
    reviews: float
    turnover: float
    shown: int

    def to_json(self) -> JsonDict:
        """JSON-ready dict."""
        return asdict(self)


def stack_policies(policies: list[Policy]) -> Policy:
    """Join policies along S, in order."""
    first = policies[0]
    joined = first.select([0] * sum(policy.members for policy in policies))
    for name, parameter in joined.named_parameters():
        parts = [dict(policy.named_parameters())[name].data for policy in policies]
        parameter.data = torch.cat(parts)
    return joined


def walk_arms(
    arms: list[Arm],
    market: MarketTensors,
    start: Tensor,
    length: int,
    costs: CostModel,
    gate: GateConfig,
    *,
    capital: float = 1e6,
    generator: torch.Generator | None = None,
) -> Walk:
    """Walk every arm over the same bars; the S axis of the result follows ``arms``.

    Args:
        arms: the arms.
        market: prices.
        start: ``[B]`` first decision bars.
        length: decisions per episode.
        costs: cost model.
        gate: cool-down, smallest trade and the review's length.
        capital: equity at the start (USD), for costs in USD.
        generator: draws when reviews are answered, where that is a matter of chance.
    """
    return walk(
        stack_policies([arm.policy for arm in arms]),
        market,
        start,
        length,
        costs,
        gate,
        model=SlicedDesk(tuple((1, arm.filter) for arm in arms)),
        # An arm without a filter scores 1, which any threshold below 1 lets pass.
        thresholds=torch.tensor([arm.threshold for arm in arms]),
        decider=SlicedDesk(tuple((1, arm.decider) for arm in arms)),
        capital=capital,
        generator=generator,
    )


def figures(walked: Walk, arm: int, bars_per_year: float = BARS_PER_YEAR) -> ArmFigures:
    """Figures of one arm of a walk.

    Args:
        walked: from ``walk_arms``; its decider is the true desk.
        arm: index along S.
        bars_per_year: bars in a year, for the Sharpe ratio.
    """
    shown = walked.shown[:, arm]
    p = walked.approval[:, arm]
    notional = (walked.target - walked.held)[:, arm].abs() * shown
    count = int(shown.sum())
    enough = count >= ENOUGH_ITEMS
    log_growth = walked.log_growth[:, arm]
    steps = log_growth.numel()
    sharpe = float(sharpe_ratio(log_growth.exp().flatten() - 1.0, bars_per_year))
    return ArmFigures(
        approval=float((p * notional).sum() / notional.sum()) if enough else None,
        approval_count=float(p[shown].mean()) if enough else None,
        profit=float(log_growth.mean()) * 1e4,
        sharpe=sharpe,
        sharpe_error=sharpe_standard_error(sharpe, steps, bars_per_year),
        reviews=count / steps,
        turnover=float(walked.executed[:, arm].abs().sum() / steps),
        shown=count,
    )


def matching_thresholds(
    policies: list[Policy],
    models: list[RewardModel],
    notional: float,
    market: MarketTensors,
    start: Tensor,
    length: int,
    costs: CostModel,
    gate: GateConfig,
    decider: Desk | None,
    *,
    capital: float = 1e6,
    generator: torch.Generator | None = None,
) -> list[float]:
    """The filters' bars at which each arm shows about ``notional`` (sum of absolute changes).

    The placebo's bar is set this way, so that it is compared at the same amount shown and not
    with the refusals of a model that knows nothing.

    Args:
        policies: each arm's policy (S = 1).
        models: each arm's reward model (S = 1).
        notional: sum of absolute shown changes to meet (fraction of equity).
        market: prices.
        start: ``[B]`` first decision bars.
        length: decisions per episode.
        costs: cost model.
        gate: cool-down and smallest trade.
        decider: the true desk; None executes everything shown.
        capital: equity at the start (USD), for costs in USD.
        generator: draws when reviews are answered, where that is a matter of chance.
    """
    candidates = torch.linspace(0.02, 0.98, _CANDIDATES)
    walked = walk(
        stack_policies([policy for policy in policies for _ in candidates]),
        market,
        start,
        length,
        costs,
        gate,
        model=ModelDesk(RewardModel.stack([model for model in models for _ in candidates])),
        thresholds=candidates.repeat(len(models)),
        decider=decider,
        capital=capital,
        generator=generator,
    )
    amount = ((walked.target - walked.held).abs() * walked.shown).sum((0, 2, 3))
    distance = (amount.view(len(models), _CANDIDATES) - notional).abs()
    # Among equal distances the bar closest to one half is the least surprising.
    ranked = distance + 1e-9 * (candidates - 0.5).abs()
    return candidates[ranked.argmin(-1)].tolist()


def mean_figures(rows: list[ArmFigures]) -> ArmFigures:
    """Average of repeated arms, such as several placebos; approval only where all have enough."""

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    count = len(rows)
    return ArmFigures(
        approval=mean([row.approval for row in rows]),
        approval_count=mean([row.approval_count for row in rows]),
        profit=sum(row.profit for row in rows) / count,
        sharpe=sum(row.sharpe for row in rows) / count,
        sharpe_error=sum(row.sharpe_error for row in rows) / count,
        reviews=sum(row.reviews for row in rows) / count,
        turnover=sum(row.turnover for row in rows) / count,
        shown=round(sum(row.shown for row in rows) / count),
    )


def shown_notional(walked: Walk, arm: int) -> float:
    """Sum of absolute shown changes of one arm (fraction of equity)."""
    amount = (walked.target - walked.held)[:, arm].abs() * walked.shown[:, arm]
    return float(amount.sum())


def gap_closed(
    value: float, base: float, oracle: float, placebo: float, gap_error: float = 0.0
) -> float | None:
    """Share of the gap between base and oracle closed, net of the placebo's share.

    (x - base)/(oracle - base) - max(0, (placebo - base)/(oracle - base)); None where the gap is
    under two of its standard errors, for then it may be nothing.

    Args:
        value: figure of the arm.
        base: figure without learning.
        oracle: figure under the true desk.
        placebo: figure of learning from shuffled answers.
        gap_error: standard error of oracle minus base.
    """
    gap = oracle - base
    if not math.isfinite(gap) or gap <= 0 or gap < 2 * gap_error:
        return None
    return (value - base) / gap - max(0.0, (placebo - base) / gap)
