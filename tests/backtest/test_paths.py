"""Test periods joined to paths as purgedcv and skfolio join them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purgedcv import reconstruct_paths

from trading_rlhf.backtest import join_paths, path_figures
from trading_rlhf.errors import AccountingError
from trading_rlhf.market.splits import combinatorial_purged, walk_forward


def folds(bars: int, count: int) -> list[slice]:
    edges = [part[[0, -1]] + [0, 1] for part in np.array_split(np.arange(bars), count)]
    return [slice(int(start), int(stop)) for start, stop in edges]


def test_walk_forward_gives_one_path_of_the_tested_bars():
    returns = np.random.default_rng(0).normal(0, 0.01, 100)
    tests = [test for _, test in walk_forward(100, train_size=40, test_size=20, purge=5)]
    paths = join_paths((test, returns[test]) for test in tests)
    assert paths.shape == (1, tests[-1].stop - tests[0].start)
    np.testing.assert_array_equal(paths[0], returns[tests[0].start : tests[-1].stop])


@given(st.integers(2, 6), st.integers(1, 4), st.integers(12, 40), st.randoms())
@settings(max_examples=30, deadline=None)
def test_combinatorial_paths_are_purgedcvs(count, tested, bars, shuffle):
    tested = min(tested, count - 1)
    periods = folds(bars, count)
    splits = list(combinations(range(count), tested))
    generator = np.random.default_rng(bars)
    by_split = [{fold: generator.normal(size=periods[fold].stop - periods[fold].start)
                 for fold in split} for split in splits]  # fmt: skip
    rows = [np.concatenate([np.arange(bars)[periods[f]] for f in split]) for split in splits]
    values = [np.concatenate(list(part.values())) for part in by_split]
    pieces = [[(periods[fold], part[fold]) for fold in part] for part in by_split]
    for split in pieces:  # the order of periods within a split says nothing
        shuffle.shuffle(split)
    found = join_paths(piece for split in pieces for piece in split)
    np.testing.assert_array_equal(found, reconstruct_paths(values, rows, count, tested, bars))


def test_paths_are_those_of_the_splitter():
    # 62 bars leave a longer last fold.
    cut = combinatorial_purged(62, 6, 2, purge=1)
    pieces = [
        (test, np.full(len(test), number))
        for number, split in enumerate(cut.splits)
        for test in split.tests
    ]
    lengths = [len(fold) for fold in cut.folds]
    np.testing.assert_array_equal(join_paths(pieces), np.repeat(cut.paths, lengths, axis=1))


def test_figures_of_paths_by_hand():
    returns = np.array([[0.1, -0.1], [0.1, 0.3], [-0.2, -0.1]])
    found = path_figures(returns, bars_per_year=4.0)
    expected = [[1.0, 1.1, 0.99], [1.0, 1.1, 1.43], [1.0, 0.8, 0.72]]
    np.testing.assert_allclose(found.equity, expected)
    ratios = returns.mean(1) / returns.std(1, ddof=1) * 2
    np.testing.assert_allclose(found.sharpes, ratios, atol=1e-12)
    assert found.mean == pytest.approx(ratios.mean())
    assert found.spread == pytest.approx(ratios.std(ddof=1))
    assert found.losing == pytest.approx(2 / 3)
    assert ratios.min() < found.low < found.high < ratios.max()


def test_one_path_has_no_spread():
    found = path_figures(np.array([[0.1, -0.05, 0.02]]))
    assert np.isnan(found.spread)
    assert found.low == found.high == found.mean


@pytest.mark.parametrize(
    ("pieces", "must"),
    [
        ([], "test period"),
        ([(slice(0, 3), np.zeros(2))], "one return per bar"),
        ([(np.array([0, 1, 3]), np.zeros(3))], "follow each other"),
        ([(np.array([], dtype=int), np.zeros(0))], "follow each other"),
        ([(slice(0, 3), np.zeros(3)), (slice(4, 6), np.zeros(2))], "without gap or overlap"),
        ([(slice(0, 3), np.zeros(3)), (slice(2, 5), np.zeros(3))], "without gap or overlap"),
        ([(slice(0, 2), np.zeros(2)), (slice(2, 4), np.zeros(2))] * 2
         + [(slice(0, 2), np.zeros(2))], "equally often"),
    ],
)  # fmt: skip
def test_periods_that_make_no_path_are_refused(pieces, must):
    with pytest.raises(AccountingError, match=must):
        join_paths(pieces)
