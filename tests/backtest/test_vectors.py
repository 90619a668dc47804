"""Registers of eight: what they compute, read and write."""

import numba
import numpy as np
import pytest

from trading_rlhf.backtest.vectors import (
    LANES,
    above,
    any_above,
    at_least,
    columns_of,
    if_nan,
    load,
    rows_of,
    size,
    spread,
    store,
)


@numba.njit
def act(array, other, out):
    a, b = load(array, 1), load(other, 1)
    yes, no = spread(1.0), spread(0.0)
    each = (a + b, a - b, a * b, a / b, size(a), if_nan(a, b, a), above(a, b, yes, no),
            at_least(a, b, yes, no))  # fmt: skip
    for i in range(8):
        store(out, i * LANES, each[i])
    return any_above(a, b)


@numba.njit
def turn(source, at, stride, many, length, tile):
    columns_of(source, at, stride, many, length, tile, 0)


@numba.njit
def turn_back(tile, goal, at, stride, many, length):
    rows_of(tile, 0, goal, at, stride, many, length)


def test_arithmetic_and_choices_are_by_lane():
    a = np.array([-1.5, np.nan, 0.25, np.inf, 3.0, -0.0, 7.0, -2.0])
    b = np.array([4.0, -2.0, 8.0, 1.0, 3.0, 5.0, np.nan, -4.0])
    out = np.empty((8, LANES))
    assert act(np.r_[9.0, a], np.r_[9.0, b], out)
    expected = [a + b, a - b, a * b, a / b, abs(a), np.where(np.isnan(a), b, a), a > b, a >= b]
    np.testing.assert_array_equal(out, expected)
    assert not act(np.r_[9.0, -abs(a)], np.r_[9.0, abs(b)], out)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize(("many", "length"), [(8, 8), (8, 3), (5, 8), (1, 1)])
def test_rows_become_lanes_and_nothing_beyond_them_is_read(kind, many, length):
    source = np.arange(many * 20, dtype=kind)
    # The last number of the array is the last that is read.
    at, tile = 20 - length, np.full((LANES, LANES), np.nan)
    turn(source, at, 20, many, length, tile)
    rows = source.reshape(many, 20)[:, at:]
    np.testing.assert_array_equal(tile[:length, :many], rows.T)
    np.testing.assert_array_equal(tile[length:], 0.0)
    np.testing.assert_array_equal(tile[:length, many:].T, np.tile(rows[-1], (LANES - many, 1)))


@pytest.mark.parametrize(("many", "length"), [(8, 8), (8, 3), (5, 8), (1, 1)])
def test_lanes_become_rows_and_nothing_beside_them_is_written(many, length):
    tile = np.random.default_rng(0).normal(size=(LANES, LANES))
    goal = np.full((LANES, 20), np.nan)
    turn_back(tile, goal, 4, 20, many, length)
    np.testing.assert_array_equal(goal[:many, 4 : 4 + length], tile.T[:many, :length])
    assert np.isnan(goal).sum() == goal.size - many * length
