"""Simulated markets have the moments, jumps and regimes that their equations say."""

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    OHLCV_FEATURES,
    SYNTHETIC_NAMES,
    HestonModel,
    Regime,
    check_bars,
    compute_features,
    gbm_market,
    heston_market,
    planted_market,
    regime_market,
    synthetic_market,
)

MAKERS = {
    "gbm": gbm_market,
    "heston": lambda *given, **named: heston_market(*given, **named).bars,
    "regimes": lambda *given, **named: regime_market(*given, **named).bars,
}


def log_returns(bars):
    return np.diff(np.log(bars.close), axis=0)


def kurtosis(r):
    z = (r - r.mean()) / r.std()
    return (z**4).mean()


@pytest.mark.parametrize("name", MAKERS)
def test_bars_are_whole_and_every_feature_can_be_computed(name):
    bars = MAKERS[name](np.random.default_rng(0), 300, 6)
    assert bars.shape == (300, 6)
    assert bars.tradable.all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high > bars.low).all()
    assert (bars.volume >= 1.0).all()
    assert (bars.volume == np.round(bars.volume)).all()
    gaps = bars.open[1:] / bars.close[:-1]
    assert (gaps != 1.0).all()
    assert check_bars(bars).findings.empty
    assert (compute_features(bars, OHLCV_FEATURES)[-1] != 0.0).all()


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_bars_and_another_seed_others(name):
    first, again, other = (MAKERS[name](np.random.default_rng(s), 60, 3) for s in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256


@pytest.mark.parametrize("name", MAKERS)
def test_returns_of_one_day_say_nothing_of_the_next(name):
    r = log_returns(MAKERS[name](np.random.default_rng(3), 3000, 8))
    assert abs(np.corrcoef(r[1:].ravel(), r[:-1].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("name", MAKERS)
def test_volume_rises_with_the_range_and_remembers(name):
    bars = MAKERS[name](np.random.default_rng(4), 2000, 6)
    volume = np.log(bars.volume) - np.log(bars.volume).mean(axis=0)
    width = np.log(bars.high / bars.low)
    assert np.corrcoef(volume.ravel(), width.ravel())[0, 1] > 0.15
    assert np.corrcoef(volume[1:].ravel(), volume[:-1].ravel())[0, 1] > 0.6


def test_brownian_motion_has_its_drift_volatility_and_correlation():
    bars = gbm_market(np.random.default_rng(5), 5000, 40, volatility=0.2, correlation=0.4)
    r = log_returns(bars)
    correlation = np.corrcoef(r.T)[np.triu_indices(40, 1)].mean()
    assert r.std() * 252**0.5 == pytest.approx(0.2, rel=0.02)
    assert correlation == pytest.approx(0.4, abs=0.03)
    assert kurtosis(r) == pytest.approx(3.0, abs=0.1)
    overnight = np.log(bars.open[1:] / bars.close[:-1])
    assert overnight.var() / r.var() == pytest.approx(0.2, abs=0.01)


def test_drift_is_that_of_simple_returns_so_log_returns_lose_half_the_variance():
    bars = gbm_market(
        np.random.default_rng(15), 5000, 40, drift=0.5, volatility=0.8, correlation=0.0
    )
    r = log_returns(bars)
    error = 0.8 * (252 / r.size) ** 0.5
    assert r.mean() * 252 == pytest.approx(0.5 - 0.8**2 / 2.0, abs=4.0 * error)
    assert error < 0.03


def test_the_range_of_brownian_motion_is_that_of_its_steps():
    bars = gbm_market(np.random.default_rng(6), 3000, 20, drift=0.0, volatility=0.2)
    # Parkinson (1980): the mean square range of continuous motion is 4 log 2 times its variance;
    # eight steps see less of it.
    day = np.log(bars.close / bars.open).var()
    ratio = (np.log(bars.high / bars.low) ** 2).mean() / (4.0 * np.log(2.0) * day)
    assert 0.55 < ratio < 0.85


def test_bars_within_a_day_scale_with_the_bars_per_year():
    days = pd.date_range("2020-01-06", periods=2000, freq="h", tz="UTC")
    bars = gbm_market(np.random.default_rng(7), 2000, 10, bars_per_year=1764.0, dates=days)
    assert log_returns(bars).std() * 1764**0.5 == pytest.approx(0.25, rel=0.03)
    assert (bars.dates == days.as_unit("us")).all()


def test_hestons_variance_is_stationary_around_its_mean():
    model = HestonModel(jumps=0.0)
    market = heston_market(np.random.default_rng(8), 2500, 60, model)
    r = log_returns(market.bars)
    stationary = model.mean_variance * model.variance_volatility**2 / (2.0 * model.reversion)
    assert market.variance.mean() == pytest.approx(model.mean_variance, rel=0.05)
    assert market.variance.var() == pytest.approx(stationary, rel=0.15)
    # The first bars are already drawn from the stationary law.
    assert market.variance[:20].mean() == pytest.approx(model.mean_variance, rel=0.25)
    assert r.var() * 252 == pytest.approx(model.mean_variance, rel=0.06)
    assert kurtosis(r) > 3.5
    v = market.variance
    decay = np.corrcoef(v[20:].ravel(), v[:-20].ravel())[0, 1]
    assert decay == pytest.approx(np.exp(-model.reversion * 20 / 252), abs=0.04)


def test_hestons_prices_fall_as_variance_rises():
    for leverage in (-0.6, 0.4):
        model = HestonModel(leverage=leverage, jumps=0.0)
        market = heston_market(np.random.default_rng(9), 1500, 30, model)
        rises = np.diff(market.variance, axis=0)
        found = np.corrcoef(log_returns(market.bars).ravel(), rises.ravel())[0, 1]
        assert found == pytest.approx(leverage, abs=0.1)


def test_jumps_come_as_often_and_as_large_as_stated():
    model = HestonModel(jumps=10.0, jump_mean=-0.05, jump_volatility=0.02)
    market = heston_market(np.random.default_rng(10), 2520, 40, model)
    r = log_returns(market.bars)
    jumped = market.jumps[1:] == 1
    n_expected = 10.0 * 10 * 40
    assert market.jumps.sum() == pytest.approx(n_expected, abs=4.0 * n_expected**0.5)
    assert r[jumped].mean() - r[market.jumps[1:] == 0].mean() == pytest.approx(-0.05, abs=0.003)
    # Drift makes up for the jumps, so that prices grow by mu whatever these do.
    growth = np.exp(r).mean() - 1.0
    error = np.exp(r).mean(axis=1).std() / len(r) ** 0.5
    assert growth * 252 == pytest.approx(model.drift, abs=4.0 * error * 252)
    assert (heston_market(np.random.default_rng(1), 50, 2, HestonModel(jumps=0.0)).jumps == 0).all()


def test_variance_never_counts_as_negative_even_far_from_fellers_condition():
    # Reflection instead of truncation lets this variance explode.
    model = HestonModel(mean_variance=0.02, reversion=8.0, variance_volatility=2.0)
    market = heston_market(np.random.default_rng(13), 1500, 60, model)
    assert (market.variance >= 0.0).all()
    assert (market.variance == 0.0).mean() > 0.05
    assert market.variance.mean() == pytest.approx(0.02, rel=0.3)
    assert np.isfinite(market.bars.close).all()


def test_regimes_last_as_long_and_move_as_much_as_stated():
    calm = Regime(drift=0.1, volatility=0.1, correlation=0.2, duration=60.0)
    wild = Regime(drift=-0.3, volatility=0.5, correlation=0.8, duration=20.0)
    market = regime_market(np.random.default_rng(13), 20_000, 10, (calm, wild))
    r, path = log_returns(market.bars), market.regimes
    assert (path == 0).mean() == pytest.approx(0.75, abs=0.06)
    stays = (path[1:] == path[:-1])[path[:-1] == 1].mean()
    assert stays == pytest.approx(1.0 - 1.0 / 20.0, abs=0.008)
    for number, regime in enumerate((calm, wild)):
        inside = r[path[1:] == number]
        correlation = np.corrcoef(inside.T)[np.triu_indices(10, 1)].mean()
        assert inside.std() * 252**0.5 == pytest.approx(regime.volatility, rel=0.05)
        assert correlation == pytest.approx(regime.correlation, abs=0.05)
        error = inside.mean(axis=1).std() / len(inside) ** 0.5 * 252
        expected = regime.drift - regime.volatility**2 / 2.0
        assert inside.mean() * 252 == pytest.approx(expected, abs=4.0 * error)
    assert kurtosis(r) > 5.0


def test_three_regimes_share_time_by_duration():
    regimes = [Regime(0.0, 0.2, 0.3, duration) for duration in (10.0, 20.0, 30.0)]
    path = regime_market(np.random.default_rng(14), 25_000, 1, regimes).regimes
    shares = np.bincount(path) / len(path)
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.04)


def test_a_market_by_name_is_that_market():
    for name in SYNTHETIC_NAMES:
        bars = synthetic_market(name, np.random.default_rng(3), 50, 4)
        maker = MAKERS.get(name, lambda *given: planted_market(*given).bars)
        assert bars.sha256 == maker(np.random.default_rng(3), 50, 4).sha256
    with pytest.raises(DataError, match="one of planted, gbm, heston, regimes; got garch"):
        synthetic_market("garch", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda g: gbm_market(g, 1), "a simulated market has 2 to .*; got 1 bars"),
        (lambda g: gbm_market(g, 10, 0), "at least one asset; got 10 bars and 0 assets"),
        (lambda g: gbm_market(g, 10**6), "a simulated market has 2 to"),
        (lambda g: gbm_market(g, 10, volatility=0.0), "volatility and bars_per_year must be"),
        (lambda g: gbm_market(g, 10, correlation=1.5), "correlation must lie in 0..1; got 1.5"),
        (lambda g: gbm_market(g, 3, dates=pd.bdate_range("2020", periods=2)), "one date a bar"),
        (lambda g: heston_market(g, 10, bars_per_year=0.0), "bars_per_year must be positive"),
        (lambda g: HestonModel(reversion=0.0), "reversion and its volatility must be positive"),
        (lambda g: HestonModel(leverage=-2.0), "leverage must lie in -1..1"),
        (lambda g: regime_market(g, 10, 2, [Regime(0, 0.1, 0, 5)]), "two regimes or more"),
        (lambda g: Regime(0.0, 0.1, 0.0, 1.0), "duration above 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, sentence):
    with pytest.raises(DataError, match=sentence):
        make(np.random.default_rng(0))
