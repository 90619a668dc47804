"""Measures of an equity curve against numpy, skfolio and a curve worked out by hand."""

import numpy as np
import pytest
import torch
from skfolio.measures import get_drawdowns, standard_deviation
from skfolio.measures import max_drawdown as skfolio_max_drawdown
from skfolio.measures import mean as skfolio_mean

from trading_rlhf.accounting import annual_return, annual_volatility, max_drawdown, sharpe_ratio


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
