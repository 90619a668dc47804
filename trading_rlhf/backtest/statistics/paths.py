"""Test periods joined into whole curves: walk-forward gives one, combinatorial splits several.

Lopez de Prado (2018), Advances in Financial Machine Learning, section 12.4: each period is tested
in several splits, and the k-th test of every period makes up path k.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from trading_rlhf.accounting import BARS_PER_YEAR, sharpe_ratio
from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray

__all__ = ["PathFigures", "join_paths", "path_figures"]


@dataclass(frozen=True)
class PathFigures:
    """Curves of the paths and how their Sharpe ratios spread.

    Attributes:
        equity: ``[P, T + 1]`` from 1.0.
        sharpes: ``[P]`` yearly Sharpe ratios.
        mean: their mean.
        spread: their standard deviation (n - 1); NaN with one path.
        low: 5% quantile.
        high: 95% quantile.
        losing: share of paths that end below 1.0.
    """

    equity: FloatArray
    sharpes: FloatArray
    mean: float
    spread: float
    low: float
    high: float
    losing: float


def join_paths(
    pieces: Iterable[tuple[slice | npt.NDArray[np.int64], FloatArray]],
) -> FloatArray:
    """Join the returns of test periods into paths ``[P, T]`` over all bars tested, in time order.

    Args:
        pieces: test period (a slice of the bars, or their consecutive numbers) and per-bar returns
            over it, split by split. A split that tests several periods gives one piece for each.

    Raises:
        AccountingError: periods overlap in part, leave bars out between them, are tested unequally
            often, or returns do not fit their period.
    """
    tests: dict[tuple[int, int], list[FloatArray]] = defaultdict(list)
    for period, returns in pieces:
        start, stop = _start_and_stop(period)
        if np.shape(returns) != (stop - start,):
            raise AccountingError(
                "a test period needs one return per bar",
                f"shape {np.shape(returns)} for bars {start} to {stop}",
                "Cut the returns to the period.",
            )
        tests[start, stop].append(np.asarray(returns, dtype=np.float64))
    periods = sorted(tests)
    if not periods:
        raise AccountingError("paths need a test period", "none", "Pass the splits' returns.")
    for (_, stop), (start, _) in pairwise(periods):
        if start != stop:
            raise AccountingError(
                "test periods must follow each other without gap or overlap",
                f"one that ends before bar {stop}, the next from bar {start}",
                "Use the periods of one splitter.",
            )
    counts = {len(tests[period]) for period in periods}
    if len(counts) > 1:
        raise AccountingError(
            "each period must be tested equally often",
            f"between {min(counts)} and {max(counts)} times",
            "Pass the returns of every split.",
        )
    rows = zip(*(tests[period] for period in periods), strict=True)
    return np.stack([np.concatenate(row) for row in rows])


def path_figures(returns: FloatArray, bars_per_year: float = BARS_PER_YEAR) -> PathFigures:
    """Curves and Sharpe ratios of paths.

    Args:
        returns: ``[P, T]`` per-bar returns, from ``join_paths``.
        bars_per_year: bars in a year.
    """
    growth = np.cumprod(1.0 + returns, axis=-1)
    equity = np.concatenate([np.ones((len(returns), 1)), growth], axis=-1)
    sharpes = sharpe_ratio(torch.as_tensor(returns), bars_per_year).numpy()
    low, high = np.quantile(sharpes, [0.05, 0.95])
    return PathFigures(
        equity=equity,
        sharpes=sharpes,
        mean=float(sharpes.mean()),
        spread=float(sharpes.std(ddof=1)) if len(sharpes) > 1 else float("nan"),
        low=float(low),
        high=float(high),
        losing=float((equity[:, -1] < 1.0).mean()),
    )


def _start_and_stop(period: slice | npt.NDArray[np.int64]) -> tuple[int, int]:
    if isinstance(period, slice):
        return period.start, period.stop
    if not len(period) or (np.diff(period) != 1).any():
        raise AccountingError(
            "the bars of a test period must follow each other",
            f"{len(period)} bars with gaps" if len(period) else "none",
            "Give one piece for each period.",
        )
    return int(period[0]), int(period[-1]) + 1
