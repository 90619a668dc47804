"""Splits and dividends, read back from a close as traded and the same close adjusted."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from trading_rlhf.errors import DataError
from trading_rlhf.types import FloatArray

__all__ = [
    "SplitDay",
    "ignored_dividends",
    "infer_actions",
    "later_splits",
    "restore_traded",
    "split_days",
]

_SPLIT_STEP = 0.2
_LEAST_DIVIDEND = 0.001
_LEAST_YIELD = 0.005


@dataclass(frozen=True)
class SplitDay:
    """What an adjusted close did on the first session after a split.

    Attributes:
        row: that session.
        column: the asset.
        ratio: new shares per old share.
        moved: return of the close that is said to be adjusted.
        fault: "close" where it was not adjusted, "raw_close" where the close as traded was.
    """

    row: int
    column: int
    ratio: float
    moved: float
    fault: Literal["", "close", "raw_close"]


def infer_actions(
    raw_close: FloatArray, adjusted_close: FloatArray, decimals: int
) -> tuple[FloatArray, FloatArray]:
    """Infer splits and dividends of one asset from the steps of its adjustment factor.

    The factor adjusted / raw steps on ex dates only: by ``split * (1 + dividend / raw_close)``. A
    step of more than a fifth is a split. A smaller one is a dividend if rounding of the adjusted
    close cannot explain it; what rounding could hide is not reported.

    Args:
        raw_close: ``[T]`` close as traded (USD).
        adjusted_close: ``[T]`` close adjusted for splits and dividends (USD).
        decimals: digits after the point to which the adjusted close is rounded.

    Returns:
        ``[T]`` new shares per old share (1 where none) and ``[T]`` dividend (USD per share as
        traded, to a hundredth of a cent).

    Raises:
        DataError: the factor falls by more than rounding and less than a reverse split, or steps
            like a split where the close as traded does not.
    """
    factor = adjusted_close / raw_close
    step = factor[1:] / factor[:-1]
    split, dividend = np.ones_like(factor), np.zeros_like(factor)
    for i in np.flatnonzero(np.abs(step - 1.0) > _SPLIT_STEP):
        split[i + 1] = _ratio(float(step[i]))
        moved, ratio = np.log(raw_close[i + 1] / raw_close[i]), np.log(split[i + 1])
        if abs(moved + ratio) >= abs(ratio):
            raise DataError(
                "a close as traded must fall with a split",
                f"{raw_close[i]:g} then {raw_close[i + 1]:g} at bar {i + 1}, where adjusted over "
                f"traded steps by {step[i]:g}",
                "Check the adjusted closes.",
            )
    unit = 0.5 * 10.0**-decimals
    rounding = unit / adjusted_close[1:] + unit / adjusted_close[:-1]
    paid = (step / split[1:] - 1.0) * raw_close[1:]
    least = np.maximum(1.01 * rounding * raw_close[1:], _LEAST_DIVIDEND)
    if (paid < -least).any():
        t = int(np.flatnonzero(paid < -least)[0]) + 1
        raise DataError(
            "an adjustment factor must not fall between splits",
            f"{factor[t - 1]:g} then {factor[t]:g} at bar {t}",
            "Check the adjusted closes.",
        )
    dividend[1:] = np.where(paid > least, np.round(paid, 4), 0.0)
    return split, dividend


def _ratio(step: float) -> float:
    """Return the ratio of small whole numbers nearest to a step, be it a split or its reverse."""
    if step < 1.0:
        return float(1 / Fraction(1.0 / step).limit_denominator(20))
    return float(Fraction(step).limit_denominator(20))


def later_splits(split: FloatArray) -> FloatArray:
    """Return ``[T, ...]`` for each bar the product of all splits after it."""
    products = np.cumprod(split[::-1], axis=0)[::-1]
    later: FloatArray = np.concatenate([products[1:], np.ones_like(split[:1])])
    return later


def split_days(close: FloatArray, raw_close: FloatArray, split: FloatArray) -> Iterator[SplitDay]:
    """Test every split day of a panel: an adjusted close must not jump with the split.

    On the first session after a split of s the close as traded falls to about 1/s and the adjusted
    close does not. A close that follows 1/s more closely than no move at all was not adjusted
    (a provider returned closes as traded, say); so was one that moves like the close as traded.

    Args:
        close: ``[T, N]`` USD, said to be adjusted; NaN where there is no bar.
        raw_close: ``[T, N]`` USD as traded.
        split: ``[T, N]`` new shares per old share, 1 where none.

    Yields:
        One entry per split that can be judged, in the order of assets and then of days; splits
        of less than a fifth, and those before the first or after the last bar, cannot.
    """
    for column in np.flatnonzero((split != 1.0).any(axis=0)):
        rows = np.flatnonzero(np.isfinite(close[:, column]))
        shares = np.cumprod(split[:, column])
        if rows.size < 2:
            continue
        ratio = shares[rows[1:]] / shares[rows[:-1]]
        moved = close[rows[1:], column] / close[rows[:-1], column]
        traded = raw_close[rows[1:], column] / raw_close[rows[:-1], column]
        for i in np.flatnonzero(np.abs(np.log(ratio)) > np.log1p(_SPLIT_STEP)):
            step = np.log(ratio[i])
            follows = abs(np.log(moved[i]) + step) < 0.5 * abs(step)
            alike = abs(np.log(moved[i] / traded[i])) < 0.5 * abs(step)
            yield SplitDay(
                row=int(rows[i + 1]),
                column=int(column),
                ratio=float(ratio[i]),
                moved=float(moved[i] - 1.0),
                fault="close" if follows else "raw_close" if alike else "",
            )


def ignored_dividends(
    close: FloatArray, raw_close: FloatArray, split: FloatArray, dividend: FloatArray
) -> list[tuple[int, int, float]]:
    """Return row, column and yield of dividends that an adjusted close does not contain.

    On the ex date the adjusted return exceeds the traded one by the dividend's yield. Yields below
    half a per cent are not judged.

    Args:
        close: ``[T, N]`` USD, said to be adjusted; NaN where there is no bar.
        raw_close: ``[T, N]`` USD as traded.
        split: ``[T, N]`` new shares per old share, 1 where none.
        dividend: ``[T, N]`` USD per share as traded, on the ex date.
    """
    found: list[tuple[int, int, float]] = []
    for column in np.flatnonzero((dividend > 0.0).any(axis=0)):
        rows = np.flatnonzero(np.isfinite(close[:, column]))
        if rows.size < 2:
            continue
        before, after = rows[:-1], rows[1:]
        shares = np.cumprod(split[:, column])
        traded = raw_close[after, column] / raw_close[before, column]
        traded *= shares[after] / shares[before]
        extra = close[after, column] / close[before, column] / traded - 1.0
        paid = dividend[after, column] / raw_close[after, column]
        ignored = (paid > _LEAST_YIELD) & (extra < 0.5 * paid)
        found += [(int(after[i]), int(column), float(paid[i])) for i in np.flatnonzero(ignored)]
    return found


def restore_traded(
    adjusted: FloatArray, split: FloatArray, dividend: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Undo Yahoo's adjustment of one asset.

    Yahoo multiplies the closes before an ex date by ``1 - dividend / previous close``, all in
    shares of the last day.

    Args:
        adjusted: ``[T]`` close adjusted for splits and dividends; at the last bar as traded (USD).
        split: ``[T]`` new shares per old share, 1 where none.
        dividend: ``[T]`` USD per share of the last day, on the ex date.

    Returns:
        ``[T]`` close and dividend as traded (USD).
    """
    factor = np.ones_like(adjusted)
    for t in np.flatnonzero(dividend[1:] > 0.0)[::-1] + 1:
        factor[:t] = factor[t] / (1.0 + factor[t] * dividend[t] / adjusted[t - 1])
    later = later_splits(split)
    return adjusted / factor * later, dividend * later
