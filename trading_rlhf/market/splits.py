"""Splits by time, never by row, with a purged gap between training and test.

López de Prado (2018), Advances in Financial Machine Learning, chapter 7: an outcome that reaches
from the training period into the test period tells of it, so the last bars before a test go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trading_rlhf.errors import DataError
from trading_rlhf.types import BoolArray

__all__ = [
    "CombinatorialSplits",
    "Split",
    "combinatorial_purged",
    "purge_by_exit",
    "time_split",
    "walk_forward",
]

IndexArray: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """One training set and what it is tested on.

    Attributes:
        train: bars to train on, ascending; they may lie on both sides of a test period.
        tests: bars of each test period, in order of time.
    """

    train: IndexArray
    tests: tuple[IndexArray, ...]


@dataclass(frozen=True, eq=False)
class CombinatorialSplits:
    """Splits, and how their test periods join to whole histories.

    Attributes:
        splits: one per choice of test folds.
        paths: ``[paths, folds]``; path p runs through fold k as tested in ``splits[paths[p, k]]``.
        folds: bars of each fold, in order of time.
    """

    splits: tuple[Split, ...]
    paths: IndexArray
    folds: tuple[IndexArray, ...]


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


def combinatorial_purged(
    n_bars: int,
    n_folds: int,
    n_test_folds: int,
    purge: int = 0,
    embargo: int = 0,
    exits: npt.ArrayLike | None = None,
) -> CombinatorialSplits:
    """Test on every choice of folds and train on the others (López de Prado 2018, chapter 12).

    Args:
        n_bars: number of bars T, cut into folds of T // n_folds bars (the last takes the rest).
        n_folds: three or more.
        n_test_folds: folds tested at once, from 2 to n_folds - 1.
        purge: bars dropped from training on either side of a test period.
        embargo: bars dropped after that behind each test period.
        exits: ``[T]`` bar at which what was decided at each bar ends. Given, training bars whose
            life overlaps that of a tested bar go as well, see ``purge_by_exit``.

    Returns:
        The splits; every path tests each bar once, by a model that was not trained on it.

    Raises:
        DataError: a number is out of range, or nothing is left to train on.
    """
    # Imported here: skfolio takes over a second to load and only studies use it.
    from skfolio.model_selection import CombinatorialPurgedCV

    if min(purge, embargo) < 0:
        raise DataError("purge and embargo must be zero or more", f"{purge}, {embargo}", "Use 20.")
    try:
        splitter = CombinatorialPurgedCV(
            n_folds=n_folds, n_test_folds=n_test_folds, purged_size=purge, embargo_size=embargo
        )
        pairs = list(splitter.split(np.zeros((n_bars, 1))))
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(
            "combinatorial splits take 3 folds or more, 2 of them or more tested, and folds longer "
            "than purge and embargo",
            f"{n_bars} bars, {n_folds} folds, {n_test_folds} tested, {purge} + {embargo}",
            "Use more bars or fewer folds.",
        ) from error
    ends = None if exits is None else _whole_numbers("exits", exits, n_bars)
    splits = []
    for train, tests in pairs:
        if ends is not None:
            train = train[purge_by_exit(np.arange(n_bars), ends, tests, embargo)[train]]
        if not len(train):
            raise DataError(
                "every split must leave bars to train on", "none", "Use more bars or earlier exits."
            )
        splits.append(Split(train, tuple(tests)))
    paths = np.asarray(splitter.recombined_paths.T, dtype=np.int64)
    folds = tuple(
        splits[row].tests[int(np.searchsorted(splitter.test_set_index[row], k))]
        for k, row in enumerate(paths[0])
    )
    return CombinatorialSplits(tuple(splits), paths, folds)


def purge_by_exit(
    decided: npt.ArrayLike,
    exits: npt.ArrayLike,
    tests: Sequence[slice | npt.ArrayLike],
    embargo: int = 0,
) -> BoolArray:
    """Say which samples may be trained on, each by its own life from decision to exit.

    A sample decided within a test period is tested, not trained on. Another one is purged if its
    life overlaps that of a tested sample or the test period itself, and if it was decided within
    ``embargo`` bars after both have ended (López de Prado 2018, sections 7.4.1 and 7.4.2).

    Args:
        decided: ``[S]`` bar at which each sample was decided.
        exits: ``[S]`` bar at which it ended; the same bar or a later one.
        tests: test periods, as slices of bars or as consecutive bars.
        embargo: bars after a test period.

    Returns:
        ``[S]`` True for samples to train on.

    Raises:
        DataError: an exit before its decision, a negative embargo or an empty test period.
    """
    begins = _whole_numbers("decided", decided)
    ends = _whole_numbers("exits", exits, len(begins))
    if embargo < 0 or (ends < begins).any():
        raise DataError(
            "a sample must end no earlier than it was decided, and embargo be zero or more",
            f"embargo {embargo}, {int((ends < begins).sum())} samples that end earlier",
            "Correct the exits.",
        )
    keep = np.ones(len(begins), dtype=bool)
    for test in tests:
        first, last = _first_and_last(test)
        tested = (begins >= first) & (begins <= last)
        last = max(last, int(ends[tested].max(initial=last)))
        keep &= (ends < first) | (begins > last + embargo)
    return keep


def _first_and_last(test: slice | npt.ArrayLike) -> tuple[int, int]:
    if isinstance(test, slice):
        first, last = int(test.start or 0), int(test.stop) - 1
    else:
        rows = np.asarray(test)
        first, last = (int(rows.min()), int(rows.max())) if rows.size else (0, -1)
    if last < first:
        raise DataError("a test period must hold a bar", "an empty one", "Correct the period.")
    return first, last


def _whole_numbers(name: str, values: npt.ArrayLike, length: int | None = None) -> IndexArray:
    array: npt.NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or length not in (None, len(array)):
        expected = "" if length is None else f", {length} of them"
        raise DataError(
            f"{name} must be whole numbers of bars{expected}",
            f"{array.dtype} in {array.shape}",
            "Pass one number a sample.",
        )
    return array.astype(np.int64)
