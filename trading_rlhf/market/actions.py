"""Splits and dividends, read back from a close as traded and the same close adjusted."""

from fractions import Fraction

import numpy as np

from trading_rlhf.errors import DataError
from trading_rlhf.types import FloatArray

__all__ = ["infer_actions", "later_splits"]

_SPLIT_STEP = 0.2
_LEAST_DIVIDEND = 0.001


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
        DataError: the factor falls by more than rounding and less than a reverse split.
    """
    factor = adjusted_close / raw_close
    step = factor[1:] / factor[:-1]
    split, dividend = np.ones_like(factor), np.zeros_like(factor)
    for i in np.flatnonzero(np.abs(step - 1.0) > _SPLIT_STEP):
        split[i + 1] = float(Fraction(step[i]).limit_denominator(20))
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


def later_splits(split: FloatArray) -> FloatArray:
    """Return ``[T, ...]`` for each bar the product of all splits after it."""
    products = np.cumprod(split[::-1], axis=0)[::-1]
    later: FloatArray = np.concatenate([products[1:], np.ones_like(split[:1])])
    return later
