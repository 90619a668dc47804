"""Splits and dividends are read from the adjustment factor, and rounding invents none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_rlhf.errors import DataError
from trading_rlhf.market.actions import (
    ignored_dividends,
    infer_actions,
    later_splits,
    restore_traded,
    split_days,
)


def prices(split, dividend, seed=0):
    """Return a random walk as traded and its exactly adjusted close."""
    generator = np.random.default_rng(seed)
    walk = np.cumprod(1.0 + generator.normal(0.0, 0.02, len(split)))
    raw = np.round(60.0 * walk / np.cumprod(split), 2)
    step = np.append(split[1:] * (1.0 + dividend[1:] / raw[1:]), 1.0)
    return raw, raw / np.cumprod(step[::-1])[::-1]


def actions(n_bars=300):
    split, dividend = np.ones(n_bars), np.zeros(n_bars)
    split[40], split[170] = 2.0, 1.5
    dividend[[60, 123, 186, 249]] = [0.13, 0.14, 3.08, 0.15]
    return split, dividend


def test_what_was_put_in_is_found():
    split, dividend = actions()
    found = infer_actions(*prices(split, dividend), decimals=12)
    np.testing.assert_array_equal(found[0], split)
    np.testing.assert_allclose(found[1], dividend, atol=1e-4)


@pytest.mark.parametrize("ratio", [1 / 3, 1 / 7, 0.5, 7.0, 20.0, 4 / 3])
def test_reverse_and_odd_splits_are_found(ratio):
    split, dividend = np.ones(50), np.zeros(50)
    split[20] = ratio
    raw, adjusted = prices(split, dividend)
    np.testing.assert_allclose(infer_actions(raw, adjusted, decimals=12)[0], split)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("level", [1.0, 0.05])
def test_an_adjusted_close_rounded_to_cents_invents_no_dividend(seed, level):
    raw, adjusted = prices(np.ones(500), np.zeros(500), seed)
    split, dividend = infer_actions(raw, np.round(adjusted * level, 2), decimals=2)
    assert (split == 1.0).all()
    assert (dividend == 0.0).all()


def test_rounding_to_cents_still_shows_a_large_dividend_alone():
    split, dividend = actions()
    raw, adjusted = prices(split, dividend)
    found = infer_actions(raw, np.round(adjusted, 2), decimals=2)[1]
    assert set(np.flatnonzero(found)) <= set(np.flatnonzero(dividend))
    assert found[186] == pytest.approx(3.08, abs=0.05)


def test_a_factor_that_falls_is_refused():
    raw, adjusted = prices(np.ones(50), np.zeros(50))
    adjusted[30:] *= 0.9
    with pytest.raises(DataError, match=r"must not fall .* at bar 30"):
        infer_actions(raw, adjusted, decimals=6)


def test_later_splits_are_those_after_the_bar():
    np.testing.assert_array_equal(later_splits(np.array([5.0, 2.0, 3.0])), [6.0, 3.0, 1.0])


EVENTS = st.lists(
    st.tuples(st.integers(1, 39), st.sampled_from([0.1, 0.5, 1.5, 2.0, 7.0]), st.floats(0.01, 5.0)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), events=EVENTS)
def test_yahoos_adjustment_is_undone(seed, events):
    generator = np.random.default_rng(seed)
    split, dividend = np.ones(40), np.zeros(40)
    for t, ratio, paid in events:
        split[t], dividend[t] = ratio, paid
    today = 60.0 * np.cumprod(1.0 + generator.normal(0.0, 0.02, 40))
    factor = np.ones(40)
    for t in range(39, 0, -1):
        factor[t - 1] = factor[t] * (1.0 - dividend[t] / today[t - 1])
    raw, traded = restore_traded(today * factor, split, dividend)
    np.testing.assert_allclose(raw, today * later_splits(split), rtol=1e-10)
    np.testing.assert_allclose(traded, dividend * later_splits(split), rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    ratio=st.sampled_from([0.05, 0.5, 1.5, 2.0, 4.0, 20.0]),
    t=st.integers(1, 39),
)
def test_a_split_day_tells_adjusted_from_traded_closes(seed, ratio, t):
    split = np.ones((40, 1))
    split[t] = ratio
    walk = np.cumprod(1.0 + np.random.default_rng(seed).normal(0.0, 0.03, (40, 1)), axis=0)
    traded = walk * later_splits(split)
    for close, raw, fault in (
        (walk, traded, ""),
        (traded, traded, "close"),
        (walk, walk, "raw_close"),
    ):
        (day,) = split_days(close, raw, split)
        assert (day.row, day.column, day.fault) == (t, 0, fault)


def test_a_small_split_and_one_before_the_first_bar_are_not_judged():
    split = np.ones((5, 1))
    split[2], split[0] = 1.1, 4.0
    close = np.full((5, 1), 10.0)
    assert list(split_days(close, close, split)) == []


def test_only_dividends_that_the_close_leaves_out_are_listed():
    dividend = np.zeros((5, 2))
    dividend[2], dividend[4, 0] = 1.0, 0.01
    raw = np.full((5, 2), 20.0)
    close = raw.copy()
    close[:2, 0] *= 1.0 - 1.0 / 20.0
    assert ignored_dividends(close, raw, np.ones((5, 2)), dividend) == [(2, 1, 0.05)]
