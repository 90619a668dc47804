"""Paired tests of every headline of every pair of arms."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from trading_rlhf.accounting import BARS_PER_YEAR
from trading_rlhf.backtest.statistics import headlines, paired_test
from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray

__all__ = ["compare_arms"]

_COLUMNS = [
    "figure", "first", "second", "difference", "low", "high", "p_value", "p_holm", "block",
]  # fmt: skip


def compare_arms(
    returns: Mapping[str, FloatArray],
    generator: torch.Generator,
    bars_per_year: float = BARS_PER_YEAR,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    confidence: float = 0.9,
    draws: int = 1000,
) -> pd.DataFrame:
    """Test yearly log growth, Sharpe ratio and drawdown of arms over the same resampled bars.

    Args:
        returns: ``[T]`` per-bar returns by arm, over the same bars; or ``[D, T]`` of D draws of an
            arm, whose mean figure is tested.
        generator: source of randomness.
        bars_per_year: bars in a year.
        pairs: which arms to compare; None is every pair, in order.
        confidence: share of resampled differences between low and high.
        draws: number of resampled histories.

    Returns:
        One row per figure (log_growth, sharpe, max_drawdown) and pair: figure, first, second,
        difference (first less second; of a drawdown less is better), low, high, p_value
        (two-sided), p_holm (the same after counting every pair of that figure; Holm 1979,
        Scandinavian Journal of Statistics 6) and block (bars).

    Raises:
        AccountingError: returns are too few, not finite or of different lengths, or a pair names
            an arm that is missing.
    """
    curves = {arm: torch.tensor(np.asarray(x, dtype=np.float64)) for arm, x in returns.items()}
    wanted = list(combinations(curves, 2)) if pairs is None else list(pairs)
    missing = sorted({arm for pair in wanted for arm in pair} - set(curves))
    if missing:
        raise AccountingError(
            "pairs must name arms", f"{', '.join(missing)}", f"Choose among {', '.join(curves)}."
        )
    rows = []
    for figure, statistic in headlines(bars_per_year).items():
        tests = [
            paired_test(
                curves[first], curves[second], generator,
                statistic=statistic, confidence=confidence, draws=draws,
            )
            for first, second in wanted
        ]  # fmt: skip
        adjusted = _holm([test.p_two_sided for test in tests])
        rows += [
            [figure, *pair, test.difference, test.low, test.high, test.p_two_sided, p, test.block]
            for pair, test, p in zip(wanted, tests, adjusted, strict=True)
        ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(x) for x in adjusted]
