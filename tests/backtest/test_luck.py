"""Is a Sharpe ratio luck? Standard error, PSR, DSR and track record."""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import purgedcv
import pytest
import quantstats.stats as quantstats
from scipy.stats import kstest
from skfolio.measures import deflated_sharpe_ratio, kurtosis, skew

from trading_rlhf.backtest import (
    CONVINCING,
    assess_luck,
    deflated_sharpe,
    expected_max_sharpe,
    luck_sentence,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_per_bar,
    sharpe_significance,
    sharpe_standard_error,
)
from trading_rlhf.errors import AccountingError


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


def shaped(skewed: float, per_bar: float, bars: int, curves: int, seed: int) -> np.ndarray:
    """Returns ``[curves, bars]`` of a known Sharpe ratio; ``skewed`` -1 makes sudden losses."""
    generator = np.random.default_rng(seed)
    if skewed:
        noise = skewed * (generator.exponential(size=(curves, bars)) - 1.0)
    else:
        noise = generator.normal(size=(curves, bars))
    return 0.01 * (noise + per_bar)


@pytest.mark.parametrize(("skewed", "per_bar"), [(0.0, 0.0), (0.0, 0.1), (-1.0, 0.3), (1.0, 0.3)])
def test_psr_against_the_truth_is_uniform(skewed, per_bar):
    curves = shaped(skewed, per_bar, 400, 400, seed=3)
    found = [probabilistic_sharpe(returns, per_bar) for returns in curves]
    assert kstest(found, "uniform").pvalue > 0.01


def test_psr_without_the_skew_would_be_wrong():
    # What the test above guards against: the formula for normal returns on skewed ones.
    curves = shaped(-1.0, 0.3, 400, 400, seed=3)
    ratios = np.array([sharpe_per_bar(returns) for returns in curves])
    naive = (ratios - 0.3) * math.sqrt(399) / np.sqrt(1 + ratios**2 / 2)
    assert kstest(naive, "norm").pvalue < 0.001


def test_psr_is_purgedcvs_and_quantstats():
    returns = shaped(-1.0, 0.1, 500, 1, seed=4)[0]
    for benchmark in (0.0, 0.05, 0.2):
        ours = probabilistic_sharpe(returns, benchmark)
        assert ours == pytest.approx(
            purgedcv.probabilistic_sharpe_ratio(returns, benchmark), abs=1e-3
        )
        theirs = quantstats.probabilistic_sharpe_ratio(pd.Series(returns), rf=0.0)
        if benchmark == 0.0:
            assert ours == pytest.approx(theirs, abs=1e-3)


def test_the_best_of_a_hundred_as_published():
    # Bailey and Lopez de Prado (2014), their example: 100 trials, variance 1/2 a year, 250 bars.
    assert expected_max_sharpe(100, math.sqrt(0.5 / 250)) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_the_best_of_many_is_what_sampling_gives(trials):
    best = np.random.default_rng(5).normal(0, 0.3, (2000, trials)).max(1)
    assert expected_max_sharpe(trials, 0.3) == pytest.approx(best.mean(), rel=0.03)


def test_the_best_of_one_or_of_equals_is_nothing():
    assert expected_max_sharpe(1, 0.3) == 0.0
    assert expected_max_sharpe(50, 0.0) == 0.0
    with pytest.raises(AccountingError, match="a count from 1"):
        expected_max_sharpe(0, 0.3)


def test_dsr_is_skfolios_and_purgedcvs():
    returns = shaped(0.0, 0.08, 500, 1, seed=6)[0]
    trials = np.random.default_rng(6).normal(0.0, 0.03, 40)
    ours = deflated_sharpe(returns, trials)
    assert ours == pytest.approx(deflated_sharpe_ratio(returns, trials), abs=1e-12)
    theirs = purgedcv.deflated_sharpe_ratio(returns, len(trials), float(trials.var(ddof=1)))
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_trials_without_a_sharpe_ratio_count_too():
    returns = draws(0.001)
    trials = [0.0, 0.05, 0.02]
    assert deflated_sharpe(returns, trials, 3) == deflated_sharpe(returns, trials)
    assert deflated_sharpe(returns, trials, 300) < deflated_sharpe(returns, trials)


def test_the_best_of_noise_passes_psr_but_not_dsr():
    passed_psr = passed_dsr = 0
    for seed in range(100):
        curves = shaped(0.0, 0.0, 250, 50, seed)
        ratios = [sharpe_per_bar(returns) for returns in curves]
        best = curves[int(np.argmax(ratios))]
        passed_psr += probabilistic_sharpe(best) > CONVINCING
        passed_dsr += deflated_sharpe(best, ratios) > CONVINCING
    assert passed_psr > 85
    assert passed_dsr <= 5


def test_track_record_as_published():
    # Bailey and Lopez de Prado (2012), figure 4: normal daily returns with a yearly Sharpe ratio
    # of 2 need 2.73 years to show that it exceeds 1 at 95%.
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / 4000) for i in range(4000)])
    returns = quantiles / quantiles.std(ddof=1) + 2 / math.sqrt(252)
    needed = minimum_track_record(returns, 1 / math.sqrt(252))
    assert needed / 252 == pytest.approx(2.73, abs=0.01)


@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.95, 0.99])
def test_track_record_is_purgedcvs_and_inverts_psr(confidence):
    returns = shaped(-1.0, 0.1, 500, 1, seed=7)[0]
    needed = minimum_track_record(returns, 0.02, confidence)
    theirs = purgedcv.min_track_record_length(
        sharpe_per_bar(returns),
        0.02,
        1 - confidence,
        float(skew(returns)),
        float(kurtosis(returns)),
    )
    assert math.ceil(needed) == theirs
    z = NormalDist().inv_cdf(probabilistic_sharpe(returns, 0.02))
    # The PSR grows as the root of the bars: at the bars needed it is the confidence.
    z_then = z * math.sqrt((needed - 1) / (len(returns) - 1))
    assert NormalDist().cdf(z_then) == pytest.approx(confidence, abs=1e-9)


def test_no_record_shows_what_is_not_there():
    returns = shaped(0.0, 0.1, 500, 1, seed=8)[0]
    assert minimum_track_record(-returns) == math.inf
    assert minimum_track_record(returns, sharpe_per_bar(returns)) == math.inf
    assert minimum_track_record(np.full(50, 0.001)) is None


def test_everything_about_one_curve():
    returns = draws(0.001)
    trials = [sharpe(returns), 0.01, -0.04, 0.03]
    luck = assess_luck(returns, trials, trials=9)
    assert (luck.trials, luck.bars) == (9, 500)
    assert luck.psr == probabilistic_sharpe(returns)
    assert luck.dsr == deflated_sharpe(returns, trials, 9)
    spread = float(np.std(trials, ddof=1))
    assert luck.expected_max == pytest.approx(expected_max_sharpe(9, spread) * math.sqrt(252))
    assert luck.bars_needed == minimum_track_record(returns)


def test_nothing_is_said_of_a_flat_curve():
    luck = assess_luck(np.full(50, 0.001), [0.1])
    assert (luck.psr, luck.dsr, luck.expected_max, luck.bars_needed) == (None, None, None, None)
    assert sharpe_per_bar(np.full(50, 0.001)) == 0.0


@pytest.mark.parametrize(
    ("dsr", "shown", "words"),
    [
        (0.31, "0.31", "not distinguishable from the best of 240 random ones"),
        (0.29, "0.29", "not distinguishable"),
        (0.97, "0.97", "better than the best of 240 random ones"),
        (0.95, "0.95", "better than"),
        (0.9499, "0.94", "some evidence against the best of 240 random ones, short of the 0.95"),
        (0.90, "0.90", "some evidence"),
        (0.8999, "0.89", "not distinguishable"),
        (0.04, "0.04", "worse than the best of 240 random ones"),
        (1.0, "1.00", "better than"),
    ],
)
def test_the_sentence_says_what_the_figure_means(dsr, shown, words):
    sentence = luck_sentence(dsr, 240)
    assert sentence.startswith(f"DSR {shown} after 240 trials: {words}")
    assert sentence.endswith(".")


def test_the_sentence_as_the_report_shows_it():
    assert luck_sentence(0.31, 240) == (
        "DSR 0.31 after 240 trials: not distinguishable from the best of 240 random ones."
    )
    assert luck_sentence(0.31, 12000, bars=504, bars_needed=1000.0).endswith(
        "the best of 12,000 random ones. Tried once, it would need 4.0 years of record; it has 2.0."
    )
    assert luck_sentence(0.31, 9, bars=504, bars_needed=math.inf) == luck_sentence(0.31, 9)
    assert luck_sentence(None, 1) == (
        "No DSR after 1 trial: it needs two measured trials and returns that move."
    )
