"""Training and test periods follow each other in time with a purged gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_rlhf.errors import DataError
from trading_rlhf.market import time_split, walk_forward


def test_the_purge_is_taken_from_the_end_of_training():
    assert time_split(100, 0.7, 5) == (slice(0, 65), slice(70, 100))
    assert time_split(100, 0.7, 0) == (slice(0, 70), slice(70, 100))


@given(n_bars=st.integers(2, 500), fraction=st.floats(0.05, 0.95), purge=st.integers(0, 30))
def test_a_split_never_overlaps_and_always_leaves_the_gap(n_bars, fraction, purge):
    try:
        train, test = time_split(n_bars, fraction, purge)
    except DataError:
        cut = int(n_bars * fraction)
        assert cut - purge < 1 or cut >= n_bars
        return
    assert train.start == 0
    assert test.start - train.stop == purge
    assert test.stop == n_bars
    assert train.stop >= 1
    assert test.start < n_bars


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((100, 1.0, 5), "between 0 and 1; got 1"),
        ((100, 0.0, 5), "between 0 and 1"),
        ((100, float("nan"), 5), "between 0 and 1; got nan"),
        ((100, 0.5, -1), "purge must be zero or more"),
        ((10, 0.5, 5), "must each hold a bar; got 10 bars, 0 to train on"),
    ],
)
def test_impossible_splits_are_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        time_split(*arguments)


@pytest.mark.parametrize("expanding", [False, True])
def test_walk_forward_tests_each_bar_at_most_once_and_never_trains_on_later_ones(expanding):
    splits = walk_forward(1000, 300, 100, purge=20, expanding=expanding)
    assert len(splits) == 6
    for i, (train, test) in enumerate(splits):
        assert train.start == (0 if expanding else 100 * i)
        assert test.start - train.stop == 20
        assert test == slice(320 + 100 * i, 420 + 100 * i)
        assert (train.stop - train.start) == (300 + 100 * i if expanding else 300)


def test_walk_forward_fits_exactly_or_refuses():
    assert walk_forward(420, 300, 100, purge=20) == [(slice(0, 300), slice(320, 420))]
    for arguments in ((419, 300, 100, 20), (100, 0, 10), (100, 10, 0), (100, 10, 10, -1)):
        with pytest.raises(DataError, match="walk-forward needs"):
            walk_forward(*arguments)
