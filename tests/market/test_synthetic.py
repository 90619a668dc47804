"""The planted market has the edges it claims, and gives them to whoever trades at the next open."""

import numpy as np
import pytest

from tests.processor_time import processor_seconds
from trading_rlhf.errors import DataError
from trading_rlhf.market import planted_market, trading_sessions
from trading_rlhf.market.synthetic import COMMON_NOISE, OWN_NOISE


@pytest.fixture(scope="module")
def market():
    return planted_market(np.random.default_rng(11))


def returns(market):
    return market.bars.close[1:] / market.bars.close[:-1] - 1.0


def slope(x, y):
    """Return the slope of y on x and its t statistic."""
    x, y = (v.ravel() - v.mean() for v in (x, y))
    b = (x @ y) / (x @ x)
    return b, b / np.sqrt(((y - b * x) ** 2).mean() / (x @ x))


def test_shapes(market):
    assert market.bars.shape == (6000, 20)
    assert market.features.shape == (6000, 20, 5)
    assert market.features.dtype == np.float32
    assert market.drift.shape == market.volatility.shape == (6000, 20)


def test_drift_predicts_returns_one_for_one(market):
    b, t = slope(market.drift[1:], returns(market))
    assert b == pytest.approx(1.0, abs=0.15)
    assert t > 10.0


def test_features_known_at_t_predict_the_return_into_the_next_bar(market):
    """The open of t+1 is the close of t, so a trade decided at t earns exactly this return."""
    np.testing.assert_array_equal(market.bars.open[1:], market.bars.close[:-1])
    for i, edge in ((0, 0.0010 * 0.97), (1, 0.0008 * 0.90)):
        b, t = slope(market.features[:-1, :, i].astype(float), returns(market))
        assert b == pytest.approx(edge, abs=0.0002)
        assert t > 8.0
    for i in (3, 4):
        assert abs(slope(market.features[:-1, :, i].astype(float), returns(market))[1]) < 4.0


def test_volatility_and_covariance_are_as_stated(market):
    noise = (returns(market) - market.drift[1:]) / market.volatility[1:]
    covariance = np.cov(noise.T)
    own = COMMON_NOISE**2 + OWN_NOISE**2
    np.testing.assert_allclose(np.diag(covariance), own, rtol=0.08)
    off = covariance[~np.eye(20, dtype=bool)]
    assert off.mean() == pytest.approx(COMMON_NOISE**2, rel=0.08)


def test_features_are_standard_and_persist(market):
    features = market.features.astype(float)
    np.testing.assert_allclose(features.mean((0, 1)), 0.0, atol=0.15)
    np.testing.assert_allclose(features.std((0, 1)), 1.0, atol=0.08)
    for i, rho in enumerate((0.97, 0.9, 0.98, 0.95, 0.5)):
        x = features[..., i]
        assert (x[1:] * x[:-1]).mean() / (x * x).mean() == pytest.approx(rho, abs=0.02)


def test_dates_are_sessions_of_the_exchange(market):
    dates = market.bars.dates
    assert dates.equals(trading_sessions(dates[0], dates[-1]).as_unit(dates.unit))


def test_the_generator_alone_decides():
    one, two, other = (
        planted_market(np.random.default_rng(seed), 300, 4).bars.sha256 for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other


def test_arrays_are_read_only(market):
    for array in (market.features, market.drift, market.volatility):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_it_takes_less_than_a_second():
    assert processor_seconds(lambda: planted_market(np.random.default_rng(0))) < 1.0


@pytest.mark.parametrize("size", [(1, 20), (100, 0), (10**6, 2)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(DataError, match="a planted market has 2 to"):
        planted_market(np.random.default_rng(0), *size)
