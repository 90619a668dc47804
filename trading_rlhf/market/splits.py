"""Splits by time, never by row, with a purged gap between training and test.

López de Prado (2018), Advances in Financial Machine Learning, chapter 7: an outcome that reaches
from the training period into the test period tells of it, so the last bars before a test go.
"""

import numpy as np

from trading_rlhf.errors import DataError

__all__ = ["time_split", "walk_forward"]


def time_split(n_bars: int, train_fraction: float, purge: int) -> tuple[slice, slice]:
    """Split bars into an earlier training and a later test period.

    Args:
        n_bars: number of bars T.
        train_fraction: share of the bars before the test period, the purged ones included.
        purge: bars dropped between the two (the horizon over which outcomes are attributed).

    Returns:
        Slices of the bars for training and for testing.

    Raises:
        DataError: one of the two would be empty, or an argument is out of range.
    """
    if not 0.0 < train_fraction < 1.0:
        raise DataError(
            "train_fraction must lie between 0 and 1", f"{train_fraction:g}", "Use 0.7."
        )
    if purge < 0:
        raise DataError("purge must be zero or more bars", str(purge), "Use the horizon.")
    cut = int(n_bars * train_fraction)
    if cut - purge < 1 or cut >= n_bars:
        raise DataError(
            "training and test must each hold a bar",
            f"{n_bars} bars, {cut - purge} to train on after a purge of {purge}",
            "Use more bars or a smaller purge.",
        )
    return slice(0, cut - purge), slice(cut, n_bars)


def walk_forward(
    n_bars: int, train_size: int, test_size: int, purge: int = 0, expanding: bool = False
) -> list[tuple[slice, slice]]:
    """Return successive training and test periods that move forward through the bars.

    Args:
        n_bars: number of bars T.
        train_size: bars of each training period (of the first, when expanding).
        test_size: bars of each test period; test periods do not overlap.
        purge: bars dropped between the two.
        expanding: whether each training period starts at the first bar.

    Returns:
        Slices of the bars for training and for testing, in order of time.

    Raises:
        DataError: an argument is out of range, or the bars are too few for one split.
    """
    if min(train_size, test_size) < 1 or purge < 0 or n_bars < train_size + purge + test_size:
        raise DataError(
            "walk-forward needs train_size + purge + test_size bars, none of them negative",
            f"{n_bars} bars for {train_size} + {purge} + {test_size}",
            "Use more bars or shorter periods.",
        )
    # Imported here: skfolio takes over a second to load and only studies walk forward.
    from skfolio.model_selection import WalkForward

    splitter = WalkForward(
        test_size=test_size, train_size=train_size, purged_size=purge, expand_train=expanding
    )
    rows = np.zeros((n_bars, 1))
    return [
        (slice(int(train[0]), int(train[-1]) + 1), slice(int(test[0]), int(test[-1]) + 1))
        for train, test in splitter.split(rows)
    ]
