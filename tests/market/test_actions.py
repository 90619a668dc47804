"""Splits and dividends are read from the adjustment factor, and rounding invents none."""

import numpy as np
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market.actions import infer_actions, later_splits


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
