"""Backtests: shapes, what an equity curve starts from, measures by hand, and bad input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.backtest import measure, run_backtest
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import AccountingError, DataError
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


@pytest.mark.parametrize("size_at", ["close", "fill"])
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_orders_that_never_fill_are_no_turnover(size_at, engine):
    bars = random_bars(8, n_bars=30)
    tradable = np.ones(bars.shape, dtype=bool)
    tradable[1:, 1] = False
    halted = replace(bars, tradable=tradable)
    targets = np.zeros(bars.shape)
    targets[:, 1] = 0.4
    result = run_backtest(halted, targets, size_at=size_at, keep="measures", engine=engine)
    assert result.engine.startswith("compiled" if engine == "auto" else "torch")
    assert result.measures["turnover"][0] == 0.0
    assert result.measures["cost"][0] == 0.0
    targets[0, 0] = 0.3
    targets[1:, 0] = np.nan
    result = run_backtest(halted, targets, size_at=size_at, keep="measures", engine=engine)
    opens = 1.0 if size_at == "fill" else bars.fill_price[1, 0] / bars.close[0, 0]
    per_bar = result.measures["turnover"][0] * (len(bars.dates) - 1)
    assert per_bar == pytest.approx(0.3 * opens, rel=1e-12)


def test_measures_by_hand():
    equity = torch.tensor([[1.0, 1.1, 1.1, 0.88, 0.968]], dtype=torch.float64)
    held = torch.tensor([[[0.0], [0.5], [0.0], [-1.0], [0.6]]], dtype=torch.float64)
    filled = torch.tensor([[[0.0], [0.5], [-0.5], [-1.0], [1.6]]], dtype=torch.float64)
    costs = CostModel(commission_bps=0.0, half_spread_bps=5.0, slippage_bps=5.0)
    found = measure(equity, held, filled, costs).iloc[0]
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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"equity_usd": 0.0}, "equity_usd must be positive and finite; got 0.0"),
        ({"equity_usd": float("nan")}, "equity_usd must be positive and finite; got nan"),
        ({"delay": -1}, "delay must be zero or more bars; got -1"),
        ({"costs": CostModel(commission_bps=(1.0,))}, "commission_bps must be one number or 3"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(bars, setting, message):
    with pytest.raises(AccountingError) as caught:
        run_backtest(bars, np.zeros(bars.shape), **setting)
    assert str(caught.value).startswith(message)


def test_impact_on_bars_without_volume_is_one_sentence(bars):
    dry = random_bars(31, n_bars=20)
    dry = Bars(dry.dates, dry.symbols, dry.open, None, None, dry.close, None)
    with pytest.raises(DataError, match="impact and participation need volumes"):
        run_backtest(dry, np.zeros(dry.shape), CostModel(impact=ImpactModel()))


def test_what_filled_is_what_was_ordered_at_the_prices_of_the_fill(bars):
    whole = random_bars(33, n_bars=30)
    result = run_backtest(whole, weights(3, *whole.shape), FREE)
    moved = whole.open[1:] / whole.close[:-1]
    night = 1.0 + (result.weights[0, :-1] * (moved - 1.0)).sum(1)
    expected = result.traded[0, :-1] * moved / night[:, None]
    np.testing.assert_allclose(result.filled[0, 1:], expected, atol=1e-14)
    assert not result.filled[0, 0].any()
    assert not result.costs.any()


def test_nothing_fills_in_a_hole(bars):
    result = run_backtest(bars, weights(3, *bars.shape))
    assert result.filled[0].any()
    assert not result.filled[0][~bars.fillable].any()


def test_costs_of_the_measures_are_those_that_were_paid(bars):
    costs = CostModel(impact=ImpactModel(), share_commission=ShareCommission())
    result = run_backtest(bars, weights(4, *bars.shape), costs)
    assert result.costs.shape == result.equity.shape
    paid = result.costs[0, 1:].mean() * 252
    assert result.measures["cost"][0] == pytest.approx(paid, rel=1e-12)
    assert paid > 0


def test_rules_in_usd_depend_on_the_size_of_the_account(bars):
    costs = CostModel(impact=ImpactModel(), share_commission=ShareCommission())
    targets = weights(4, *bars.shape)
    small, large, sold_out = (
        run_backtest(bars, targets, costs, equity_usd=usd) for usd in (1e4, 1e7, 1e11)
    )
    # Minimum fees weigh on the small one, impact on the large one; the largest hardly fills.
    assert small.measures["cost"][0] > 1.2 * run_backtest(bars, targets).measures["cost"][0]
    assert large.measures["cost"][0] > 1.2 * small.measures["cost"][0]
    assert sold_out.measures["exposure"][0] < 0.1 * large.measures["exposure"][0]


def test_measures_count_the_bars_of_a_year(bars):
    daily = random_bars(32, n_bars=56)
    hours = pd.date_range("2001-01-08 14:30", periods=7, freq="1h", tz="UTC")
    dates = hours
    for k in range(1, 8):
        dates = dates.append(hours + pd.Timedelta(days=k))
    arrays = (daily.open, daily.high, daily.low, daily.close, daily.volume)
    hourly = Bars(dates, daily.symbols, *arrays)
    targets = weights(5, *daily.shape)
    free = FREE
    one, other = run_backtest(daily, targets, free), run_backtest(hourly, targets, free)
    np.testing.assert_array_equal(one.equity, other.equity)
    for name in ("volatility", "sharpe", "sortino"):
        ratio = other.measures[name][0] / one.measures[name][0]
        assert ratio == pytest.approx(7**0.5, rel=1e-12), name


def test_a_delay_of_targets_at_the_fill_is_a_shift(bars):
    targets = weights(6, *bars.shape)
    shifted = np.full_like(targets, np.nan)
    shifted[2:] = targets[:-2]
    late = run_backtest(bars, targets, size_at="fill", delay=2)
    np.testing.assert_array_equal(late.equity, run_backtest(bars, shifted, size_at="fill").equity)


def test_another_market_may_stand_in_for_the_bars(bars):
    targets = weights(7, *bars.shape)
    market = MarketTensors.from_bars(bars, np.zeros((*bars.shape, 1)))
    same = run_backtest(bars, targets, market=market)
    np.testing.assert_array_equal(same.equity, run_backtest(bars, targets).equity)
    still = replace(market, fillable=torch.zeros_like(market.fillable))
    assert not run_backtest(bars, targets, market=still).filled.any()
