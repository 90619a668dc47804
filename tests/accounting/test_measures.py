"""Measures of a curve against numpy, skfolio, quantstats and curves worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import quantstats.stats as quantstats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.measures import cvar as skfolio_cvar
from skfolio.measures import get_drawdowns, semi_deviation, standard_deviation
from skfolio.measures import max_drawdown as skfolio_max_drawdown
from skfolio.measures import mean as skfolio_mean

from trading_rlhf.accounting import (
    alpha,
    annual_return,
    annual_volatility,
    beta,
    calmar_ratio,
    conditional_value_at_risk,
    drawdown,
    drawdown_length,
    hit_rate,
    max_drawdown,
    per_bar_returns,
    sharpe_ratio,
    sortino_ratio,
    total_return,
)


@pytest.fixture
def returns(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(0.0005, 0.01, (3, 504))


def test_annual_return_compounds():
    equity = torch.ones(505, dtype=torch.float64)
    equity[-1] = 1.44
    assert float(annual_return(equity)) == pytest.approx(0.2)
    assert float(annual_return(equity, bars_per_year=504)) == pytest.approx(0.44)


def test_volatility_and_sharpe_ratio_are_numpys(returns: np.ndarray):
    deviation = returns.std(1, ddof=1)
    expected = deviation * np.sqrt(252)
    np.testing.assert_allclose(annual_volatility(torch.tensor(returns)), expected, rtol=1e-12)
    expected = returns.mean(1) / deviation * np.sqrt(252)
    np.testing.assert_allclose(sharpe_ratio(torch.tensor(returns)), expected, rtol=1e-12)


def test_sharpe_ratio_is_skfolios(returns: np.ndarray):
    ours = sharpe_ratio(torch.tensor(returns[0]))
    theirs = skfolio_mean(returns[0]) / standard_deviation(returns[0]) * 252**0.5
    assert float(ours) == pytest.approx(theirs, rel=1e-12)


def test_sharpe_ratio_of_nothing_is_zero():
    assert float(sharpe_ratio(torch.zeros(10, dtype=torch.float64))) == 0.0


def test_drawdown_by_hand():
    equity = torch.tensor([[1.0, 2.0, 1.5, 1.8, 1.2, 3.0], [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]])
    assert max_drawdown(equity).tolist() == pytest.approx([0.4, 0.0])


def test_drawdown_is_skfolios(returns: np.ndarray):
    equity = np.concatenate([[1.0], np.cumprod(1 + returns[0])])
    theirs = skfolio_max_drawdown(get_drawdowns(returns[0], compounded=True))
    assert float(max_drawdown(torch.tensor(equity))) == pytest.approx(theirs, rel=1e-12)


@pytest.fixture
def series(returns: np.ndarray) -> pd.Series:
    """The first curve's returns as the libraries take them: one a calendar day."""
    return pd.Series(returns[0], index=pd.date_range("2020-01-01", periods=504))


def curve(returns: np.ndarray) -> torch.Tensor:
    """Equity from 1.0."""
    ones = np.ones((*returns.shape[:-1], 1))
    return torch.tensor(np.concatenate([ones, np.cumprod(1 + returns, -1)], -1))


def test_returns_are_skfolios_and_quantstats(returns: np.ndarray, series: pd.Series):
    first = torch.tensor(returns[0])
    equity = curve(returns)[0]
    downside = semi_deviation(returns[0], min_acceptable_return=0, biased=True)
    assert float(sortino_ratio(first)) == pytest.approx(
        skfolio_mean(returns[0]) / downside * 252**0.5, rel=1e-12
    )
    assert float(sortino_ratio(first)) == pytest.approx(quantstats.sortino(series), rel=1e-12)
    assert float(sharpe_ratio(first)) == pytest.approx(quantstats.sharpe(series), rel=1e-12)
    assert float(annual_volatility(first)) == pytest.approx(
        quantstats.volatility(series), rel=1e-12
    )
    assert float(annual_return(equity)) == pytest.approx(quantstats.cagr(series), rel=1e-12)
    assert float(total_return(equity)) == pytest.approx(quantstats.comp(series), rel=1e-12)
    assert float(calmar_ratio(equity)) == pytest.approx(quantstats.calmar(series), rel=1e-12)
    assert float(hit_rate(first)) == pytest.approx(quantstats.win_rate(series), rel=1e-12)


def test_drawdowns_are_skfolios_and_quantstats(returns: np.ndarray, series: pd.Series):
    equity = curve(returns)[0]
    theirs = -quantstats.to_drawdown_series(series)
    np.testing.assert_allclose(drawdown(equity)[1:], theirs, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        drawdown(equity)[1:], -get_drawdowns(returns[0], compounded=True), rtol=0, atol=1e-14
    )
    assert float(max_drawdown(equity)) == pytest.approx(-quantstats.max_drawdown(series), rel=1e-12)
    days = quantstats.drawdown_details(-theirs)["days"].max()
    assert int(drawdown_length(equity)) == days


@pytest.mark.parametrize("confidence", [0.0, 0.5, 0.9, 0.95, 0.99, 0.9999])
def test_tail_loss_is_skfolios(returns: np.ndarray, confidence: float):
    ours = conditional_value_at_risk(torch.tensor(returns), confidence)
    np.testing.assert_allclose(ours, skfolio_cvar(returns.T, confidence), rtol=1e-10)


def test_tail_loss_by_hand():
    returns = torch.tensor([0.01, -0.04, 0.02, -0.02, 0.03, 0.0, 0.01, 0.02, 0.01, 0.05])
    assert float(conditional_value_at_risk(returns, 0.8)) == pytest.approx(0.03)
    # A tail of one bar and a half: all of the worst, half of the next, over a bar and a half.
    assert float(conditional_value_at_risk(returns, 0.85)) == pytest.approx(0.05 / 1.5)


def test_tail_loss_is_near_quantstats_where_the_tail_is_whole(returns: np.ndarray):
    # 500 bars have a tail of 25; quantstats averages the bars up to an interpolated quantile.
    values = returns[0, :500]
    theirs = quantstats.cvar(pd.Series(values), method="historical")
    assert float(conditional_value_at_risk(torch.tensor(values))) == pytest.approx(-theirs)


def test_alpha_and_beta_are_quantstats(returns: np.ndarray, series: pd.Series):
    benchmark = pd.Series(returns[1] * 0.5 + returns[0], index=series.index)
    theirs = quantstats.greeks(series, benchmark)
    ours = torch.tensor(returns[0]), torch.tensor(benchmark.to_numpy())
    assert float(beta(*ours)) == pytest.approx(theirs["beta"], rel=1e-12)
    assert float(alpha(*ours)) == pytest.approx(theirs["alpha"], rel=1e-12)


def test_alpha_and_beta_of_a_geared_benchmark(returns: np.ndarray):
    benchmark = torch.tensor(returns[0])
    geared = torch.stack([benchmark * 1.5 + 0.0001, benchmark * -1.0])
    assert beta(geared, benchmark).tolist() == pytest.approx([1.5, -1.0])
    assert alpha(geared, benchmark).tolist() == pytest.approx([0.0252, 0.0], abs=1e-14)
    assert alpha(geared, benchmark, 12.0).tolist() == pytest.approx([0.0012, 0.0], abs=1e-14)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.001])
def test_a_benchmark_that_stands_still_explains_nothing(returns: np.ndarray, level: float):
    still = torch.full((504,), level, dtype=torch.float64)
    ours = torch.tensor(returns)
    assert beta(ours, still).tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(alpha(ours, still), returns.mean(1) * 252, rtol=1e-12)


def test_the_length_of_a_drawdown_by_hand():
    equity = torch.tensor(
        [
            [1.0, 0.9, 0.95, 1.0, 0.9, 1.1],  # two bars below, then one
            [1.0, 1.1, 1.0, 1.0, 1.0, 1.0],  # never recovered: four bars to the end
            [1.0, 1.1, 1.2, 1.2, 1.3, 1.4],
            [1.0, 0.9, 0.8, 0.7, 0.6, 0.5],
        ]
    )
    assert drawdown_length(equity).tolist() == [2, 4, 0, 5]


def test_hits_count_exposed_bars_alone():
    returns = torch.tensor([0.01, -0.01, 0.0, 0.02, 0.03])
    exposed = torch.tensor([True, True, True, True, False])
    assert float(hit_rate(returns, exposed)) == pytest.approx(2 / 4)
    assert float(hit_rate(returns)) == pytest.approx(3 / 4)
    assert float(hit_rate(returns * 0.0)) == 0.0


def test_ratios_without_a_divisor():
    rising = torch.tensor([1.0, 1.1, 1.2], dtype=torch.float64)
    assert float(calmar_ratio(rising)) != float(calmar_ratio(rising))
    assert float(sortino_ratio(per_bar_returns(rising))) == 0.0


def test_a_lost_curve_has_no_returns_after():
    equity = torch.tensor([1.0, 0.5, 0.0, 0.0])
    assert per_bar_returns(equity).tolist() == [-0.5, -1.0, 0.0]
    assert float(max_drawdown(equity)) == 1.0


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=60),
    st.floats(0.01, 100.0),
)
@settings(max_examples=40, deadline=None)
def test_measures_do_not_depend_on_the_unit_of_money(returns: list[float], unit: float):
    equity = curve(np.array(returns))
    scaled = equity * unit
    for measure in (total_return, annual_return, max_drawdown):
        assert float(measure(scaled)) == pytest.approx(float(measure(equity)), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(per_bar_returns(scaled), returns, rtol=1e-9, atol=1e-12)
    assert 0.0 <= float(max_drawdown(equity)) < 1.0
    assert 0 <= int(drawdown_length(equity)) <= len(returns)
    tail = [float(conditional_value_at_risk(torch.tensor(returns), c)) for c in (0.0, 0.5, 0.9)]
    assert tail[0] <= tail[1] + 1e-12
    assert tail[1] <= tail[2] + 1e-12
