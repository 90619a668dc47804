"""Training and test periods follow each other in time with a purged gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_rlhf.errors import DataError
from trading_rlhf.market import combinatorial_purged, purge_by_exit, time_split, walk_forward


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


def test_combinatorial_splits_made_by_hand():
    # 12 bars in 4 folds of 3, two tested at a time; one bar purged, none embargoed.
    found = combinatorial_purged(12, 4, 2, purge=1)
    trains = [split.train.tolist() for split in found.splits]
    assert trains == [
        [7, 8, 9, 10, 11],
        [4, 10, 11],
        [4, 5, 6, 7],
        [0, 1, 10, 11],
        [0, 1, 7],
        [0, 1, 2, 3, 4],
    ]
    tests = [[test.tolist() for test in split.tests] for split in found.splits]
    assert tests[1] == [[0, 1, 2], [6, 7, 8]]
    assert [fold.tolist() for fold in found.folds] == [
        [0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11],
    ]  # fmt: skip
    assert found.paths.shape == (3, 4)


def test_an_embargo_drops_bars_after_a_test_period_only():
    plain, later = combinatorial_purged(40, 4, 2, purge=1), combinatorial_purged(40, 4, 2, 1, 3)
    dropped = set(plain.splits[2].train) - set(later.splits[2].train)
    assert plain.splits[2].tests[0].tolist() == list(range(10))
    assert dropped == {11, 12, 13}


@settings(max_examples=30, deadline=None)
@given(n_folds=st.integers(3, 7), data=st.data(), n_bars=st.integers(60, 120))
def test_every_path_tests_each_bar_once_by_a_model_that_did_not_train_on_it(n_folds, data, n_bars):
    n_test_folds = data.draw(st.integers(2, n_folds - 1))
    purge, embargo = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 2))
    found = combinatorial_purged(n_bars, n_folds, n_test_folds, purge, embargo)
    assert np.concatenate(found.folds).tolist() == list(range(n_bars))
    for path in found.paths:
        for fold, number in zip(found.folds, path, strict=True):
            split = found.splits[number]
            assert any(test.tolist() == fold.tolist() for test in split.tests)
            near = range(int(fold[0]) - purge, int(fold[-1]) + purge + embargo + 1)
            assert not set(split.train) & set(near)
    # No two paths take a fold from the same split.
    for k in range(n_folds):
        assert len(set(found.paths[:, k])) == len(found.paths)


def test_purging_by_exit_made_by_hand():
    decided = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    exits = [1, 5, 3, 3, 4, 7, 6, 9, 9, 9]
    # Tested: 4 and 5, until the exit of 5 at bar 7. The life of 1 reaches into the test period;
    # those of 6 and 7 overlap that of 5.
    keep = purge_by_exit(decided, exits, [slice(4, 6)])
    assert np.flatnonzero(keep).tolist() == [0, 2, 3, 8, 9]
    assert np.flatnonzero(purge_by_exit(decided, exits, [[4, 5]], embargo=1)).tolist() == [
        0, 2, 3, 9,
    ]  # fmt: skip
    # By a fixed horizon of one bar 1 would stay and 3 would go.
    assert keep[3]
    assert not keep[1]


def test_several_samples_of_one_bar_are_purged_by_their_own_exits():
    keep = purge_by_exit([2, 2, 2], [3, 5, 9], [slice(5, 8)])
    assert keep.tolist() == [True, False, False]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), embargo=st.integers(0, 5))
def test_no_training_sample_lives_while_a_tested_one_does(data, embargo):
    n_bars = 60
    lives = data.draw(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 12)), max_size=80))
    begins = np.array([begin for begin, _ in lives], dtype=int)
    ends = begins + np.array([length for _, length in lives], dtype=int)
    first = data.draw(st.integers(0, n_bars - 2))
    second = data.draw(st.integers(first + 1, n_bars - 1))
    tests = [slice(first, first + 1), slice(second, min(second + 6, n_bars))]
    keep = purge_by_exit(begins, ends, tests, embargo)
    for test in tests:
        tested = (begins >= test.start) & (begins < test.stop)
        until = max([test.stop - 1, *ends[tested]])
        for i in np.flatnonzero(keep):
            assert not tested[i]
            for j in np.flatnonzero(tested):
                assert ends[i] < begins[j] or begins[i] > ends[j] + embargo
            assert ends[i] < test.start or begins[i] > until + embargo
    # Nothing is dropped that is far from every test period.
    far = (ends < first) | (begins > max([59, *ends]) + embargo)
    assert keep[far].all()


def test_combinatorial_splits_purge_by_the_exits_of_their_bars():
    exits = np.arange(40)
    exits[3] = 12  # decided in fold 0, still alive in fold 1
    exits[19] = 23  # tested in fold 1, still alive in fold 2
    plain = combinatorial_purged(40, 4, 2, exits=np.arange(40))
    found = combinatorial_purged(40, 4, 2, exits=exits)
    folds_1_and_3 = 4
    assert [test[0] for test in found.splits[folds_1_and_3].tests] == [10, 30]
    lost = set(plain.splits[folds_1_and_3].train) - set(found.splits[folds_1_and_3].train)
    assert lost == {3, 20, 21, 22, 23}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((100, 2, 2), "combinatorial splits take 3 folds or more"),
        ((100, 5, 1), "combinatorial splits take"),
        ((100, 5, 5), "combinatorial splits take"),
        ((2, 5, 2), "combinatorial splits take"),
        ((100, 5, 2, 15, 5), r"longer than purge and embargo; got 100 bars, .* 15 \+ 5"),
        ((100, 5, 2, -1), "purge and embargo must be zero or more; got -1, 0"),
        ((100, 5, 2, 0, 0, np.arange(99)), "exits must be whole numbers of bars, 100 of them"),
        ((100, 5, 2, 0, 0, np.full(100, 99)), "every split must leave bars to train on"),
        ((100, 5, 2, 0, 0, np.zeros(100, int)), "end no earlier than it was decided"),
    ],
)
def test_impossible_combinatorial_splits_are_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        combinatorial_purged(*arguments)


def test_impossible_purges_are_refused():
    for tests in ([slice(4, 4)], [[]]):
        with pytest.raises(DataError, match="a test period must hold a bar"):
            purge_by_exit([1], [2], tests)
    with pytest.raises(DataError, match="embargo be zero or more; got embargo -1"):
        purge_by_exit([1], [2], [slice(0, 1)], embargo=-1)
    with pytest.raises(DataError, match="decided must be whole numbers of bars; got float64"):
        purge_by_exit([0.5], [2], [slice(0, 1)])
