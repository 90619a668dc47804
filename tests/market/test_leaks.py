"""Leaks that a look at a few bars would miss."""

import numpy as np
import pytest

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.market import (
    Feature,
    check_causal,
    check_feature,
    default_registry,
    gbm_market,
    load_sample,
)


def zeros_with(fill):
    def compute(bars):
        values = np.zeros(bars.shape)
        fill(values, bars)
        return values

    return compute


def returns(bars):
    return bars.close[1:] / bars.close[:-1] - 1.0


def number_of_bars(x, b):
    x[:] = b.shape[0] / 1000.0


def bars_left(x, b):
    x[:] = np.arange(b.shape[0])[::-1, None] / 100.0


def days_left(x, b):
    x[:] = (b.dates[-1] - b.dates).days.to_numpy()[:, None] / 100.0


def days_until_the_next_bar(x, b):
    x[:-1] = (np.diff(b.dates.asi8) / 8.64e10)[:, None]


def splits_tomorrow(x, b):
    x[:-1] = b.split[1:] != 1.0


def twofold_splits_tomorrow(x, b):
    x[:-1] = b.split[1:] == 2.0


def splits_in_three_bars(x, b):
    x[:-3] = b.split[3:] != 1.0


def dividends_tomorrow(x, b):
    x[:-1] = b.dividend[1:] > 0.0


def bars_tomorrow(x, b):
    x[:-1] = b.tradable[1:]


def last_days(x, b):
    x[:] = b.lifetimes[:, 1] / 1000.0


def the_hash(x, b):
    x[:] = int(b.sha256[:4], 16) / 65536.0


def the_bar_before_the_last(x, b):
    x[-2] = returns(b)[-1]


def one_bar(x, b):
    if len(x) > 51:
        x[50] = returns(b)[50]


def the_first_bars(x, b):
    x[:6] = b.close[6] / b.close[5]


def before_the_lookback(x, b):
    x[0] = b.close[3] / b.close[2]


def small_moves_only(x, b):
    r = returns(b)
    x[:-1] = np.where(np.abs(r) < 0.005, r, 0.0)


def of_long_bars_only(x, b):
    if len(x) > 500:
        x[:-1] = returns(b)


LEAKS = [
    number_of_bars,
    bars_left,
    days_left,
    days_until_the_next_bar,
    splits_tomorrow,
    twofold_splits_tomorrow,
    splits_in_three_bars,
    dividends_tomorrow,
    bars_tomorrow,
    last_days,
    the_hash,
    the_bar_before_the_last,
    one_bar,
    the_first_bars,
    before_the_lookback,
    small_moves_only,
]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("n_bars", [125, 400])
@pytest.mark.parametrize("seed", range(2))
def test_a_leak_is_caught(make_bars, leak, n_bars, seed):
    feature = Feature("own", 5, "own", "own", zeros_with(leak))
    with pytest.raises(LookAheadError, match="feature own must depend on no later bar"):
        check_causal(feature, make_bars(n_bars, seed=seed), np.random.default_rng(seed))


@pytest.mark.parametrize("leak", [*LEAKS, of_long_bars_only], ids=lambda leak: leak.__name__)
def test_a_leak_is_caught_on_long_bars(leak):
    feature = Feature("own", 5, "own", "own", zeros_with(leak))
    with pytest.raises(LookAheadError, match="feature own must depend on no later bar"):
        check_causal(feature, load_sample("us4"), np.random.default_rng(0))


def test_a_feature_of_more_than_the_bars_is_refused(make_bars):
    calls = []

    def count(bars):
        calls.append(1)
        return np.full(bars.shape, float(len(calls)))

    with pytest.raises(DataError, match="feature own must be the same for the same bars"):
        check_causal(Feature("own", 5, "o", "o", count), make_bars(), np.random.default_rng(0))


@pytest.mark.parametrize("name", default_registry().names())
def test_the_registered_features_pass_on_long_bars_with_splits(name):
    check_feature(default_registry().get(name), load_sample("us4"), np.random.default_rng(0))


@pytest.mark.timeout(20)
def test_a_long_lookback_is_checked_in_a_moment():
    bars = gbm_market(np.random.default_rng(0), 4120, n_assets=3)
    feature = Feature("own", 4000, "own", "own", lambda b: np.zeros(b.shape))
    check_causal(feature, bars, np.random.default_rng(0))
