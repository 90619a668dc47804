"""Is a Sharpe ratio luck? Standard error, PSR and DSR."""

import math

import numpy as np
import pytest

from trading_rlhf.backtest import sharpe_significance, sharpe_standard_error


def draws(mean: float, seed: int = 0, count: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.01, count)


def sharpe(returns: np.ndarray) -> float:
    return float(returns.mean() / returns.std(ddof=1))


@pytest.mark.parametrize("per_bar", [0.1, 1.0])
def test_the_standard_error_is_that_of_repeated_samples(per_bar):
    samples = np.random.default_rng(1).normal(per_bar * 0.01, 0.01, (4000, 252))
    ratios = samples.mean(1) / samples.std(1, ddof=1) * math.sqrt(252)
    expected = sharpe_standard_error(per_bar * math.sqrt(252), 252)
    assert ratios.std() == pytest.approx(expected, rel=0.05)


def test_a_year_of_nothing_has_an_error_of_one():
    assert sharpe_standard_error(0.0, 252) == pytest.approx(1.0)
    assert sharpe_standard_error(0.0, 4 * 252) == pytest.approx(0.5)


def test_psr_of_normal_returns_is_the_normal_distribution():
    returns = draws(0.001)
    found = sharpe_significance(returns, [sharpe(returns)])["psr"]
    z = sharpe(returns) * math.sqrt(len(returns) - 1)
    assert found == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), abs=0.02)


@pytest.mark.parametrize("mean", [-0.002, 0.0, 0.001, 0.01])
def test_both_are_probabilities(mean):
    returns = draws(mean)
    trials = [0.01, 0.05, -0.02, sharpe(returns)]
    found = sharpe_significance(returns, trials)
    assert 0.0 <= found["dsr"] <= found["psr"] <= 1.0
    assert found["trials"] == 4


def test_more_trials_ask_for_more():
    returns = draws(0.001)
    few = sharpe_significance(returns, [0.0, 0.05])
    many = sharpe_significance(returns, [0.0, 0.05] * 50)
    assert many["dsr"] < few["dsr"] < few["psr"]
    assert many["psr"] == few["psr"]


def test_a_single_trial_has_no_dsr_and_a_flat_curve_has_neither():
    returns = draws(0.001)
    assert sharpe_significance(returns, [0.1])["dsr"] is None
    assert sharpe_significance(np.zeros(50), [0.0, 0.1]) == {"psr": None, "dsr": None, "trials": 2}
