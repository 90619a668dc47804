"""What can be said of several arms over the same bars: luck, intervals and costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch

from trading_rlhf.backtest.statistics import (
    COST_FACTORS,
    CostCurve,
    Interval,
    Luck,
    Trials,
    assess_luck,
    bootstrap_intervals,
    cost_curve,
    headlines,
)
from trading_rlhf.types import FloatArray

__all__ = ["ArmStatistics", "arm_statistics", "cost_curves"]


@dataclass(frozen=True)
class ArmStatistics:
    """One arm's luck and the intervals of its headlines.

    Attributes:
        luck: what chance and the number of trials explain.
        intervals: of log_growth (yearly), sharpe (yearly) and max_drawdown.
    """

    luck: Luck
    intervals: dict[str, Interval]


def arm_statistics(
    arms: Mapping[str, FloatArray], trials: Trials, bars_per_year: float, generator: torch.Generator
) -> list[ArmStatistics]:
    """Luck and intervals of each arm.

    Args:
        arms: per-bar returns ``[D, T]`` by arm, of D draws of it; figures of several are means,
            and what they would need to be no luck is left out.
        trials: everything that was tried, these arms included.
        bars_per_year: bars in a year.
        generator: draws of the bootstrap.
    """
    figures, rows = headlines(bars_per_year), []
    for curves in arms.values():
        found = [
            assess_luck(returns, trials.sharpes, trials.count, bars_per_year) for returns in curves
        ]
        luck = found[0]
        if len(found) > 1:
            luck = replace(
                luck, psr=_mean([x.psr for x in found]), dsr=_mean([x.dsr for x in found]),
                bars_needed=None,
            )  # fmt: skip
        intervals = bootstrap_intervals(torch.as_tensor(curves), generator, statistics=figures)
        rows.append(ArmStatistics(luck, intervals))
    return rows


def cost_curves(
    rows: Mapping[str, Sequence[int]],
    rerun: Callable[[float], pd.DataFrame],
    bars_per_year: float,
) -> dict[str, CostCurve]:
    """How each arm's return falls with the costs, its orders as they are.

    Args:
        rows: of each arm in the measures; those of several draws are averaged.
        rerun: takes a multiple of the costs to measures, one row per strategy.
        bars_per_year: bars in a year.

    Returns:
        By arm; arms that never trade are left out.
    """
    tables = {factor: rerun(factor) for factor in COST_FACTORS}
    curves = {}
    for name, own in rows.items():
        means = {factor: _means(table, own) for factor, table in tables.items()}
        base = means[1.0]
        if base["turnover"] > 0:
            # What was paid over what was traded: the rate that these orders met.
            bps = base["cost"] / bars_per_year / base["turnover"] * 1e4
            curves[name] = cost_curve(means.__getitem__, bps)
    return curves


def _means(table: pd.DataFrame, rows: Sequence[int]) -> dict[str, float]:
    return {str(name): float(value) for name, value in table.iloc[list(rows)].mean().items()}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
