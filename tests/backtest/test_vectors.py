"""Vectors of four: what they read, write and add up."""

import numba
import numpy as np
import pytest

from trading_rlhf.backtest.vectors import (
    WIDTH,
    load,
    load_first,
    padded,
    size,
    spread,
    store,
    sum_rows,
    unless_nan,
)


@numba.njit
def act(array, other, out):
    a, b = load(array, 1), load(other, 1)
    store(out, 0, a + b)
    store(out, WIDTH, a - b)
    store(out, 2 * WIDTH, a * b)
    store(out, 3 * WIDTH, size(a))
    store(out, 4 * WIDTH, unless_nan(a, b))
    store(out, 5 * WIDTH, spread(2.5))


@numba.njit
def read_first(array, at, many, out):
    store(out, 0, load_first(array, at, many))


@numba.njit
def add(array, out):
    store(out, 0, sum_rows(array, WIDTH))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_arithmetic_is_by_element(kind):
    array = np.array([9.0, -1.5, np.nan, 0.25, np.inf, 9.0], kind)
    other = np.array([9.0, 4.0, -2.0, 8.0, 1.0, 9.0])
    out = np.empty((6, WIDTH))
    act(array, other, out)
    a, b = array[1:5].astype(np.float64), other[1:5]
    expected = [a + b, a - b, a * b, abs(a), np.where(np.isnan(a), b, a), np.full(4, 2.5)]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_rest_of_a_row_is_zero(kind):
    array = np.arange(1, 8, dtype=kind)
    for many in range(1, WIDTH + 1):
        out = np.full(WIDTH, np.nan)
        # The last number of the array is the last that is read.
        read_first(array, len(array) - many, many, out)
        np.testing.assert_array_equal(out[:many], array[-many:])
        np.testing.assert_array_equal(out[many:], 0.0)


def test_every_row_has_its_own_sum():
    array = np.random.default_rng(0).normal(size=(1 + WIDTH, WIDTH))
    out = np.empty(WIDTH)
    add(array, out)
    np.testing.assert_allclose(out, array[1:].sum(1), rtol=1e-14)


def test_rows_are_padded_to_whole_vectors():
    assert [padded(n) for n in (1, 4, 5, 20)] == [4, 4, 8, 20]
