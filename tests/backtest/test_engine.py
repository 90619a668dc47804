"""Backtests: shapes, what an equity curve starts from, measures by hand, and bad input."""

import numpy as np
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import measure, run_backtest
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars

FREE = CostModel(
    commission_bps=0, half_spread_bps=0, slippage_bps=0, borrow_bps_per_year=0,
    margin_bps_per_year=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars(31, n_bars=60, holes=True)


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.0, 0.32, shape)


def test_one_strategy_or_many(bars):
    targets = weights(1, 4, *bars.shape)
    many = run_backtest(bars, targets)
    assert many.equity.shape == (4, 60)
    assert many.weights.shape == many.traded.shape == (4, *bars.shape)
    assert len(many.measures) == 4
    for row in range(4):
        one = run_backtest(bars, targets[row])
        assert one.equity.shape == (1, 60)
        np.testing.assert_array_equal(one.equity[0], many.equity[row])
        np.testing.assert_array_equal(one.traded[0], many.traded[row])
        np.testing.assert_allclose(one.measures.iloc[0], many.measures.iloc[row], rtol=1e-12)


@pytest.mark.parametrize("size_at", ["close", "fill"])
def test_equity_starts_at_one_and_the_first_target_fills_at_the_next_open(bars, size_at):
    result = run_backtest(bars, weights(1, *bars.shape), FREE, size_at)
    assert (result.equity[:, 0] == 1.0).all()
    assert not result.weights[:, 0].any()
    # The first close after a fill is earned from the open only.
    live = bars.tradable[0] & bars.tradable[1] & (bars.volume[1] > 0)
    moved = result.traded[0, 0] * (bars.close[1] - bars.open[1]) / bars.close[0]
    if size_at == "close":
        assert result.equity[0, 1] - 1.0 == pytest.approx(np.nansum(moved[live]), abs=1e-12)


def test_the_last_target_fills_nothing(bars):
    targets = weights(1, *bars.shape)
    other = targets.copy()
    other[-1] = 0.9
    one, same = run_backtest(bars, targets), run_backtest(bars, other)
    np.testing.assert_array_equal(one.equity, same.equity)
    assert not same.traded[:, -1].any()


def test_gross_exposure_is_ninety_eight_percent_unless_told_otherwise(bars):
    full = np.full(bars.shape, 0.5)
    assert np.abs(run_backtest(bars, full).traded[0, 0]).sum() == pytest.approx(0.98)
    small = run_backtest(bars, full, max_gross=0.6)
    assert np.abs(small.traded[0, 0]).sum() == pytest.approx(0.6)
    for limit, ordered in ((None, 1.5), (0.6, 0.6)):
        result = run_backtest(bars, full, size_at="fill", max_gross=limit)
        assert np.abs(result.traded[0, 0]).sum() == pytest.approx(ordered)


def test_targets_may_be_tensors(bars):
    targets = weights(1, *bars.shape)
    one = run_backtest(bars, targets).equity
    np.testing.assert_array_equal(run_backtest(bars, torch.tensor(targets)).equity, one)


def test_the_callers_targets_are_left_alone(bars):
    targets = weights(1, *bars.shape)
    before = targets.copy()
    run_backtest(bars, targets)
    np.testing.assert_array_equal(targets, before)


def test_measures_by_hand():
    equity = torch.tensor([[1.0, 1.1, 1.1, 0.88, 0.968]], dtype=torch.float64)
    held = torch.tensor([[[0.0], [0.5], [0.0], [-1.0], [0.6]]], dtype=torch.float64)
    traded = torch.tensor([[[0.5], [-0.5], [-1.0], [1.6], [0.0]]], dtype=torch.float64)
    costs = CostModel(commission_bps=0.0, half_spread_bps=5.0, slippage_bps=5.0)
    found = measure(equity, held, traded, costs).iloc[0]
    returns = np.array([0.1, 0.0, -0.2, 0.1])
    expected = {
        "total_return": -0.032,
        "annual_return": 0.968 ** (252 / 4) - 1,
        "volatility": returns.std(ddof=1) * 252**0.5,
        "sharpe": returns.mean() / returns.std(ddof=1) * 252**0.5,
        "sortino": returns.mean() / (0.2**2 / 4) ** 0.5 * 252**0.5,
        "max_drawdown": 0.2,
        "turnover": 3.6 / 4,
        "cost": 3.6 / 4 * 1e-3 * 252,
        "exposure": 2.1 / 5,
        # Two profits among three bars that end with a position.
        "hit_rate": 2 / 3,
    }
    assert list(found.index) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def test_measures_belong_to_the_curve(bars):
    result = run_backtest(bars, weights(2, 3, *bars.shape))
    for row in range(3):
        equity = result.equity[row]
        returns = equity[1:] / equity[:-1] - 1
        found = result.measures.iloc[row]
        assert found["total_return"] == pytest.approx(equity[-1] - 1, rel=1e-12)
        assert found["sharpe"] == pytest.approx(
            returns.mean() / returns.std(ddof=1) * 252**0.5, rel=1e-9
        )
        assert found["max_drawdown"] == pytest.approx(
            (1 - equity / np.maximum.accumulate(equity)).max(), rel=1e-12
        )
    assert result.measures.index.name == "strategy"


def test_doing_nothing_measures_zero(bars):
    found = run_backtest(bars, np.zeros(bars.shape), FREE).measures
    assert not found.to_numpy().any()


@pytest.mark.parametrize(
    "targets",
    [np.zeros(60), np.zeros((60, 2)), np.zeros((59, 3)), np.zeros((1, 1, 60, 3)), 0.5],
)
def test_a_wrong_shape_is_one_sentence(bars, targets):
    with pytest.raises(AccountingError) as caught:
        run_backtest(bars, targets)
    message = str(caught.value)
    assert message.startswith("targets must have shape [T, N] or [B, T, N] with T, N = (60, 3); ")
    assert f"got {np.shape(targets)}." in message


@pytest.mark.parametrize("targets", ["all in", [["a"] * 3] * 60, [[1, 2], [3]], None])
def test_what_is_no_array_is_one_sentence(bars, targets):
    with pytest.raises(AccountingError, match="targets must be an array of numbers; got"):
        run_backtest(bars, targets)


@pytest.mark.parametrize("n_bars", [1, 2])
def test_too_few_bars_are_one_sentence(n_bars):
    short = random_bars(1, n_bars=n_bars)
    with pytest.raises(AccountingError, match=f"at least 3 bars; got {n_bars}"):
        run_backtest(short, np.zeros(short.shape))
