"""What can be said of several arms over the same bars: luck, intervals and costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.backtest.statistics import (
    COST_FACTORS,
    CostCurve,
    Interval,
    Luck,
    Trials,
    assess_luck,
    bootstrap_intervals,
    cost_curve,
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
    equity: FloatArray, trials: Trials, bars_per_year: float, generator: torch.Generator
) -> list[ArmStatistics]:
    """Luck and intervals of each arm.

    Args:
        equity: ``[B, T]`` of B arms.
        trials: everything that was tried, these arms included.
        bars_per_year: bars in a year.
        generator: draws of the bootstrap.
    """
    rows = []
    for returns in per_bar_returns(torch.as_tensor(equity)):
        luck = assess_luck(returns.numpy(), trials.sharpes, trials.count, bars_per_year)
        rows.append(ArmStatistics(luck, bootstrap_intervals(returns, generator)))
    return rows


def cost_curves(
    names: Sequence[str],
    rerun: Callable[[float], pd.DataFrame],
    bars_per_year: float,
) -> dict[str, CostCurve]:
    """How each arm's return falls with the costs, its orders as they are.

    Args:
        names: of the B arms.
        rerun: takes a multiple of the costs to measures, one row per arm.
        bars_per_year: bars in a year.

    Returns:
        By arm; arms that never trade are left out.
    """
    tables = {factor: rerun(factor) for factor in COST_FACTORS}
    curves = {}
    for row, name in enumerate(names):
        rows = {factor: _row(table, row) for factor, table in tables.items()}
        base = rows[1.0]
        if base["turnover"] > 0:
            # What was paid over what was traded: the rate that these orders met.
            bps = base["cost"] / bars_per_year / base["turnover"] * 1e4
            curves[name] = cost_curve(rows.__getitem__, bps)
    return curves


def _row(table: pd.DataFrame, row: int) -> dict[str, float]:
    return {str(name): float(table[name].iloc[row]) for name in table}
