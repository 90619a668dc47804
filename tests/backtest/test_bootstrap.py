"""Block lengths, resampled rows, intervals that cover and p values that are uniform."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from trading_rlhf.accounting import max_drawdown, sharpe_ratio
from trading_rlhf.backtest import (
    block_length,
    bootstrap_intervals,
    headlines,
    log_growth,
    paired_test,
    stationary_rows,
    worst_drawdown,
)
from trading_rlhf.errors import AccountingError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def autoregressive(phi: float, curves: int, bars: int, seed: int) -> np.ndarray:
    """``[curves, bars]`` of mean zero whose neighbours correlate by ``phi``."""
    shocks = np.random.default_rng(seed).normal(0.0, 0.01, (curves, bars + 50))
    values = np.zeros_like(shocks)
    for bar in range(1, bars + 50):
        values[:, bar] = phi * values[:, bar - 1] + shocks[:, bar]
    return values[:, 50:]


@pytest.mark.parametrize(
    ("phi", "bars", "expected"),
    [
        (-0.5, 25, 5.509438841125849),
        (-0.5, 300, 8.044129839970914),
        (-0.5, 2000, 21.795041136535033),
        (0.0, 25, 1.0344536212154163),
        (0.0, 300, 1.4432759125354673),
        (0.0, 2000, 2.0488015063575546),
        (0.3, 25, 4.712477389730104),
        (0.3, 300, 5.4953021096166985),
        (0.3, 2000, 7.969036082513905),
        (0.8, 25, 5.624120953798329),
        (0.8, 300, 11.957957610254327),
        (0.8, 2000, 27.790843819496068),
    ],
)
def test_the_block_length_is_archs(phi, bars, expected):
    # arch 8.0.0, optimal_block_length(...).stationary; it gives 0.53 where ours stops at one bar.
    series = autoregressive(phi, 1, bars, seed=bars)[0]
    assert block_length(series) == pytest.approx(max(expected, 1.0), rel=1e-9)


@given(st.floats(-50.0, 50.0), st.floats(0.001, 1000.0))
@settings(max_examples=20, deadline=None)
def test_the_block_length_has_no_unit(shift, scale):
    series = autoregressive(0.5, 1, 300, seed=1)[0]
    assert block_length(series * scale + shift) == pytest.approx(block_length(series), rel=1e-4)


def test_a_series_that_stands_still_needs_no_blocks():
    assert block_length(np.full(100, 0.1)) == 1.0


def test_rows_run_on_within_blocks_and_wrap_around():
    rows = stationary_rows(50, 400, 5.0, seeded(0))
    assert rows.shape == (400, 50)
    assert int(rows.min()) == 0
    assert int(rows.max()) == 49
    runs_on = (rows[:, 1:] == (rows[:, :-1] + 1) % 50).double().mean()
    # A new block starts with chance 1/5 and then follows on by accident with chance 1/50.
    assert float(runs_on) == pytest.approx(1 - 1 / 5 + 1 / 5 / 50, abs=0.01)
    wraps = (rows[:, :-1] == 49) & (rows[:, 1:] == 0)
    assert bool(wraps.any())
    counts = torch.bincount(rows.flatten(), minlength=50).double()
    assert float(counts.std() / counts.mean()) < 0.15


def test_blocks_of_one_bar_are_the_plain_bootstrap():
    rows = stationary_rows(40, 500, 1.0, seeded(1))
    runs_on = (rows[:, 1:] == (rows[:, :-1] + 1) % 40).double().mean()
    assert float(runs_on) == pytest.approx(1 / 40, abs=0.01)


def test_the_same_generator_gives_the_same_rows():
    one, other = (stationary_rows(30, 10, 4.0, seeded(seed)) for seed in (3, 3))
    assert torch.equal(one, other)
    assert not torch.equal(one, stationary_rows(30, 10, 4.0, seeded(4)))


def test_statistics_are_those_of_the_curve():
    returns = torch.tensor([0.1, -0.5, 0.2, 0.05], dtype=torch.float64)
    assert float(log_growth(returns)) == pytest.approx(math.log(1.1 * 0.5 * 1.2 * 1.05) / 4)
    curve = torch.cat([torch.ones(1, dtype=torch.float64), (1 + returns).cumprod(0)])
    assert float(worst_drawdown(returns)) == pytest.approx(float(max_drawdown(curve)))
    assert float(worst_drawdown(-returns.abs())) == pytest.approx(1 - 0.9 * 0.5 * 0.8 * 0.95)
    lost = torch.tensor([0.1, -1.0, 0.1], dtype=torch.float64)
    assert float(worst_drawdown(lost)) == 1.0
    assert math.isfinite(float(log_growth(lost)))


def test_headlines_are_yearly():
    returns = torch.tensor(autoregressive(0.0, 1, 100, seed=2)[0])
    figures = headlines(50.0)
    assert float(figures["log_growth"](returns)) == pytest.approx(float(log_growth(returns)) * 50)
    assert float(figures["sharpe"](returns)) == pytest.approx(float(sharpe_ratio(returns, 50.0)))


def test_intervals_hold_their_value_and_say_what_they_rest_on():
    returns = torch.tensor(autoregressive(0.2, 1, 300, seed=3)[0] + 0.0005)
    found = bootstrap_intervals(returns, seeded(0), draws=600)
    assert set(found) == {"log_growth", "sharpe", "max_drawdown"}
    for name in ("log_growth", "sharpe"):
        assert found[name].low < found[name].value < found[name].high
    assert found["sharpe"].value == pytest.approx(float(sharpe_ratio(returns)))
    assert found["sharpe"].block == block_length(returns.numpy())
    narrow = bootstrap_intervals(returns, seeded(0), draws=600, confidence=0.5)
    assert narrow["sharpe"].low > found["sharpe"].low
    assert narrow["sharpe"].high < found["sharpe"].high


def test_intervals_of_independent_returns_have_the_width_of_theory():
    returns = torch.tensor(autoregressive(0.0, 1, 2000, seed=4)[0])
    found = bootstrap_intervals(returns, seeded(0), draws=2000, block=1.0)["sharpe"]
    # Lo (2002): a standard error of a root-year over the root of the years.
    expected = 2 * 1.96 * math.sqrt(252 / 2000)
    assert found.high - found.low == pytest.approx(expected, rel=0.08)


def coverage(block: float | None) -> float:
    """Share of 90% intervals of correlated returns that hold the true mean, zero."""
    covered = 0
    mean = {"mean": lambda returns: returns.mean(-1)}
    for number, curve in enumerate(autoregressive(0.4, 200, 250, seed=5)):
        found = bootstrap_intervals(
            torch.tensor(curve), seeded(number), statistics=mean, draws=250, confidence=0.9,
            block=block,
        )["mean"]  # fmt: skip
        covered += found.low <= 0.0 <= found.high
    return covered / 200


def test_intervals_cover_the_truth_as_often_as_they_say():
    assert coverage(None) == pytest.approx(0.9, abs=0.06)


def test_intervals_without_blocks_would_not():
    assert coverage(1.0) < 0.8


@pytest.fixture(scope="module")
def null_tests() -> list:
    """Tests of equal arms that share most of their noise."""
    generator = np.random.default_rng(12)
    found = []
    for number in range(200):
        market = generator.normal(0.0, 0.01, 200)
        arms = market + generator.normal(0.0, 0.003, (2, 200))
        found.append(paired_test(*torch.tensor(arms), seeded(number), draws=300))
    return found


def test_p_values_of_equal_arms_are_uniform(null_tests):
    assert kstest([one.p_two_sided for one in null_tests], "uniform").pvalue > 0.01
    assert kstest([one.p_greater for one in null_tests], "uniform").pvalue > 0.01
    assert np.mean([one.p_two_sided <= 0.1 for one in null_tests]) == pytest.approx(0.1, abs=0.06)


def test_intervals_of_equal_arms_hold_zero(null_tests):
    held = np.mean([one.low <= 0.0 <= one.high for one in null_tests])
    assert held == pytest.approx(0.95, abs=0.05)


def test_pairing_sees_what_the_market_hides():
    generator = np.random.default_rng(7)
    market = generator.normal(0.0, 0.02, 500)
    better = torch.tensor(market + 0.0004 + generator.normal(0.0, 0.001, 500))
    found = paired_test(better, torch.tensor(market), seeded(0), statistic=sharpe_ratio)
    assert found.p_two_sided < 0.01
    assert found.p_greater < 0.01
    assert found.low > 0.0
    # Alone, either Sharpe ratio is uncertain by far more than the difference.
    alone = bootstrap_intervals(better, seeded(0))["sharpe"]
    assert alone.high - alone.low > 3 * found.difference


def test_the_order_of_arms_turns_the_sign():
    arms = torch.tensor(autoregressive(0.2, 2, 150, seed=8))
    one = paired_test(arms[0], arms[1], seeded(0))
    other = paired_test(arms[1], arms[0], seeded(0))
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p_two_sided == other.p_two_sided
    assert one.p_greater + other.p_greater == pytest.approx(1.0, abs=0.01)


def test_an_arm_does_not_beat_itself():
    arm = torch.tensor(autoregressive(0.2, 1, 100, seed=9)[0])
    found = paired_test(arm, arm, seeded(0))
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert (found.p_greater, found.p_two_sided) == (1.0, 1.0)


def test_p_values_are_never_zero():
    arm = torch.tensor(autoregressive(0.0, 1, 100, seed=10)[0])
    found = paired_test(arm + 0.1, arm, seeded(0), draws=99)
    assert found.p_greater == pytest.approx(0.01)
    assert found.p_two_sided == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("returns", "options", "must"),
    [
        (torch.zeros(19), {}, "at least 20"),
        (torch.zeros(2, 2, 30), {}, "one curve"),
        (torch.zeros(0, 30), {}, "one curve"),
        (torch.full((30,), torch.nan), {}, "finite"),
        (torch.zeros(30), {"draws": 0}, "at least 1"),
        (torch.zeros(30), {"block": 0.5}, "at least 1"),
        (torch.zeros(30), {"confidence": 1.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_resampled_is_refused(returns, options, must):
    with pytest.raises(AccountingError, match=must):
        bootstrap_intervals(returns, seeded(0), **options)
    with pytest.raises(AccountingError, match=must):
        paired_test(returns, returns, seeded(0), **options)


def test_arms_over_different_bars_are_refused():
    with pytest.raises(AccountingError, match="same bars"):
        paired_test(torch.zeros(30), torch.zeros(31), seeded(0))


def noise_draws(n_draws: int, shift: float = 0.0, seed: int = 5) -> torch.Tensor:
    """Draws of one arm: the same market, each with noise of its own."""
    source = torch.Generator().manual_seed(seed)
    market = 0.01 * torch.randn(300, generator=source, dtype=torch.float64)
    own = 0.004 * torch.randn(n_draws, 300, generator=source, dtype=torch.float64)
    return market + own + shift


def test_figures_of_several_draws_are_their_means_and_equal_draws_are_one():
    curves, source = noise_draws(4), torch.Generator()
    found = bootstrap_intervals(curves, source.manual_seed(1))
    for name, statistic in headlines().items():
        mean = float(torch.stack([statistic(curve) for curve in curves]).mean())
        assert found[name].value == pytest.approx(mean, rel=1e-12)
    # Draws that are all alike add no luck of their own; draws that differ add some.
    first = curves[0]
    pair = paired_test(first, first.expand(4, -1), source.manual_seed(1))
    assert pair.difference == pytest.approx(0.0, abs=1e-12)
    assert max(abs(pair.low), abs(pair.high)) < 1e-12


def test_the_luck_of_the_shuffle_widens_the_interval():
    """Figures of draws that lie far apart are known worse than their common bars tell."""
    base = noise_draws(1)[0]
    apart = torch.stack([base + shift for shift in (-0.002, -0.001, 0.001, 0.002)])
    source = torch.Generator()
    wide = paired_test(base, apart, source.manual_seed(1), draws=2000)
    # Without noise between the curves all width comes from which draws were picked.
    spread = torch.tensor([log_growth(x) for x in apart]).std(unbiased=False) / 2.0
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * float(spread), rel=0.15)


def test_a_shift_against_draws_is_found_and_none_is_not():
    arm, source = noise_draws(1)[0], torch.Generator()
    others = noise_draws(5)
    assert paired_test(arm + 0.002, others, source.manual_seed(2)).p_two_sided < 0.01
    assert paired_test(arm, others, source.manual_seed(2)).p_two_sided > 0.1


def test_draws_must_share_the_bars_of_the_other_arm():
    with pytest.raises(AccountingError, match="same bars"):
        paired_test(torch.zeros(30), torch.zeros(3, 31), torch.Generator())
