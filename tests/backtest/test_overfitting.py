"""Probability of backtest overfitting against purgedcv, by hand and on noise."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from purgedcv import probability_of_backtest_overfitting

from tests.processor_time import processor_seconds
from trading_rlhf.backtest import overfitting_probability
from trading_rlhf.errors import AccountingError


def noise(seed: int, strategies: int, bars: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0002, 0.01, (strategies, bars))


def assert_equal_to_purgedcv(returns: np.ndarray, blocks: int) -> None:
    theirs = probability_of_backtest_overfitting(returns, blocks)
    ours = overfitting_probability(torch.tensor(returns), blocks)
    assert ours.splits == theirs.n_combos
    assert ours.pbo == theirs.pbo
    # purgedcv names its splits by the blocks tested, as here.
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-12, atol=1e-12)
    both = np.column_stack([ours.in_sample, ours.out_of_sample])
    np.testing.assert_allclose(both, theirs.is_oos_performance, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.slope, theirs.slope, rtol=1e-6, atol=1e-9)
    assert ours.loss_probability == np.mean(theirs.is_oos_performance[:, 1] < 0)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_purgedcvs_on_its_seeds(seed):
    # 247 bars leave blocks of unequal length.
    assert_equal_to_purgedcv(noise(seed, 20, 247), 8)


def test_it_is_purgedcvs_with_a_skilled_strategy_and_offsets():
    returns = noise(9, 12, 240)
    returns[3] += 0.003
    returns[5] += 5.0
    assert_equal_to_purgedcv(returns, 6)


def test_a_strategy_that_stood_still_in_half_of_the_bars_scores_nothing_there():
    # Equal returns are no skill without risk, although rounding leaves them a tiny deviation.
    returns = noise(4, 6, 240)
    returns[2, :120] = 0.001
    returns[4, 60:] = -0.0003
    assert_equal_to_purgedcv(returns, 8)


@given(
    st.integers(0, 10_000),
    st.integers(2, 7),
    st.sampled_from([4, 6]),
    st.integers(12, 40),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_it_is_purgedcvs_with_ties_and_idle_strategies(seed, strategies, blocks, bars, idle):
    generator = np.random.default_rng(seed)
    returns = generator.normal(0.0, 0.01, (strategies, bars))
    returns = np.concatenate([returns, returns[:1]])
    if idle:
        returns[1] = 0.0
        returns[0, : bars // 2] = 0.0
    assert_equal_to_purgedcv(returns, blocks)


def test_two_strategies_that_take_turns_by_hand():
    # In each split the better half's owner is picked, and loses on the other half.
    good, bad = [0.02, 0.01], [-0.02, -0.01]
    found = overfitting_probability(torch.tensor([good + bad, bad + good]), 2)
    assert found.splits == 2
    assert found.pbo == 1.0
    assert found.loss_probability == 1.0
    assert found.logits.tolist() == pytest.approx([math.log(1 / 2)] * 2)
    level = 0.015 / (0.005 * math.sqrt(2))
    assert found.in_sample.tolist() == pytest.approx([level] * 2)
    assert found.out_of_sample.tolist() == pytest.approx([-level] * 2)


def test_a_strategy_that_is_better_throughout_is_not_overfitted():
    returns = noise(1, 100, 512)
    returns[17] += 0.01
    found = overfitting_probability(torch.tensor(returns), 8)
    assert found.pbo == 0.0
    assert found.loss_probability == 0.0
    assert (found.logits == math.log(100)).all()


def test_noise_is_a_toss_and_the_more_in_sample_the_less_after():
    found = [
        overfitting_probability(torch.tensor(noise(s, 50, 256) - 0.0002), 8) for s in range(40)
    ]
    assert np.mean([one.pbo for one in found]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([one.loss_probability for one in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([one.slope for one in found]) < 0.0


def test_sharpe_ratios_equal_but_for_rounding_share_their_rank():
    # A strategy's bars in another order within each block: the same ratio in every half.
    first = noise(3, 1, 24)[0]
    turned = np.concatenate([block[::-1] for block in np.split(first, 4)])
    found = overfitting_probability(torch.tensor(np.stack([first, turned, first])), 4)
    np.testing.assert_array_equal(found.logits, 0.0)


def test_the_order_and_gearing_of_strategies_do_not_matter():
    returns = torch.tensor(noise(2, 30, 160))
    gearing = torch.linspace(0.5, 3.0, 30, dtype=torch.float64).unsqueeze(-1)
    one = overfitting_probability(returns, 8)
    other = overfitting_probability((returns * gearing).flip(0), 8)
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-12)
    np.testing.assert_allclose(one.in_sample, other.in_sample, rtol=1e-9)


def test_a_thousand_strategies_of_ten_years_take_seconds():
    returns = torch.tensor(noise(0, 1000, 2520))
    assert processor_seconds(lambda: overfitting_probability(returns)) < 5.0
    found = overfitting_probability(returns)
    assert found.splits == 12_870
    assert found.logits.shape == (12_870,)


@pytest.mark.parametrize(
    ("shape", "blocks", "must"),
    [
        ((100,), 4, "at least two strategies"),
        ((1, 100), 4, "at least two strategies"),
        ((5, 100), 5, "even"),
        ((5, 100), 0, "even"),
        ((5, 100), 22, "between 2 and 20"),
        ((5, 15), 8, "two bars"),
    ],
)
def test_what_it_cannot_measure_is_refused(shape, blocks, must):
    with pytest.raises(AccountingError, match=must):
        overfitting_probability(torch.zeros(shape), blocks)


def test_missing_returns_are_refused():
    returns = torch.tensor(noise(0, 3, 40))
    returns[1, 5] = torch.nan
    with pytest.raises(AccountingError, match="finite"):
        overfitting_probability(returns, 4)
