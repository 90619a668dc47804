"""Missing numbers in a table of bars."""

import numpy as np

from trading_rlhf.types import FloatArray

__all__ = ["carry_forward"]


def carry_forward(values: FloatArray) -> FloatArray:
    """Fill each gap with the last number there was.

    Args:
        values: ``[T, N]``, a gap where not finite.

    Returns:
        ``[T, N]``, NaN before the first number of a column; ``values`` itself, no copy, where it
        has no gap.
    """
    present = np.isfinite(values)
    if present.all():
        return values
    # A gap at the start finds itself.
    seen = np.where(present, np.arange(len(values))[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(seen, axis=0), axis=0)
