"""How a result falls with its costs, and at which costs it is gone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from trading_rlhf.errors import AccountingError

__all__ = ["COST_FACTORS", "CostCurve", "cost_curve"]

COST_FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Multiples of the costs at which a result is looked at."""


@dataclass(frozen=True)
class CostCurve:
    """Measures by multiple of the costs.

    Attributes:
        table: one row per factor (the index), one column per measure.
        break_even: factor at which the figure first falls to zero; None if it does not.
        break_even_bps: the same in basis points of traded notional.
        words: the break-even in a word or two, for a table.
        sentence: what that says, in words.
    """

    table: pd.DataFrame
    break_even: float | None
    break_even_bps: float | None
    words: str
    sentence: str


def cost_curve(
    measures: Callable[[float], Mapping[str, float]],
    bps: float,
    figure: str = "annual_return",
    factors: Sequence[float] = COST_FACTORS,
) -> CostCurve:
    """Measure a strategy at multiples of its costs.

    Args:
        measures: takes a multiple of the costs to measures by name.
        bps: cost of trading at factor 1 (basis points of traded notional, one way).
        figure: the measure whose first zero is the break-even, linear between factors.
        factors: multiples, increasing, at least two.

    Raises:
        AccountingError: factors do not increase, or the figure is not among the measures.
    """
    if len(factors) < 2 or any(b <= a for a, b in pairwise(factors)):
        raise AccountingError(
            "cost factors must increase", f"{list(factors)}", "Use 0, 1, 2, 3 and 4."
        )
    table = pd.DataFrame([dict(measures(factor)) for factor in factors], index=list(factors))
    table.index.name = "costs"
    if figure not in table:
        raise AccountingError(
            f"the measures must hold {figure}", ", ".join(table.columns), "Name one of these."
        )
    values = table[figure].tolist()
    break_even = _first_zero(factors, values)
    if break_even is not None:
        at = break_even * bps
        sentence = (
            f"Breaks even at {at:.1f} bps of what is traded, {break_even:.2f} times the costs."
        )
        if break_even < 1.0:
            sentence += " At the costs themselves it loses."
        return CostCurve(table, break_even, at, f"{at:.1f} bps", sentence)
    if values[0] > 0:
        most = f"{factors[-1] * bps:.0f} bps"
        sentence = (
            f"Still gains at {factors[-1]:g} times the costs, {most} of what is traded: the "
            "break-even lies above."
        )
        return CostCurve(table, None, None, f"over {most}", sentence)
    least = "without costs" if factors[0] == 0 else f"at {factors[0]:g} times the costs"
    sentence = f"Gains nothing even {least}, so there is no break-even."
    return CostCurve(table, None, None, f"none: no gain {least}", sentence)


def _first_zero(factors: Sequence[float], values: Sequence[float]) -> float | None:
    """Where a figure that starts above zero first reaches it."""
    if not values[0] > 0:
        return None
    points = zip(factors, values, strict=True)
    for (left, before), (right, after) in pairwise(points):
        if after <= 0:
            return left + before / (before - after) * (right - left)
    return None
