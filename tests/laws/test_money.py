"""Money is conserved: the law against a ledger of shares and cash."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.ledger import Ledger
from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import MarketTensors, advance
from trading_rlhf.errors import AccountingError

FREE = CostModel(
    commission_bps=0.0,
    half_spread_bps=0.0,
    slippage_bps=0.0,
    borrow_bps_per_year=0.0,
    margin_bps_per_year=0.0,
)
EVERY_COST = CostModel(
    commission_bps=3.0,
    half_spread_bps=2.0,
    slippage_bps=5.0,
    borrow_bps_per_year=80.0,
    margin_bps_per_year=700.0,
    cash_bps_per_year=300.0,
    short_rebate_bps_per_year=40.0,
)

seeds = st.integers(0, 2**31)
bps = st.floats(0.0, 100.0)
cost_models = st.builds(
    CostModel,
    commission_bps=bps,
    half_spread_bps=bps,
    slippage_bps=bps,
    borrow_bps_per_year=st.floats(0.0, 2000.0),
    margin_bps_per_year=st.floats(0.0, 2000.0),
    cash_bps_per_year=st.floats(0.0, 1000.0),
    short_rebate_bps_per_year=st.floats(0.0, 1000.0),
)


def random_targets(seed: int, shape: tuple[int, int], *, short: bool, gross: float = 0.9):
    """Weights ``[T, N]`` of up to ``gross``, a fifth of them NaN."""
    generator = np.random.default_rng(seed)
    weights = generator.uniform(-1.0 if short else 0.0, 1.0, shape)
    weights *= gross * generator.random((shape[0], 1)) / np.abs(weights).sum(1, keepdims=True)
    return np.where(generator.random(shape) < 0.2, np.nan, weights)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, costs=cost_models, holes=st.booleans(), has_open=st.booleans())
def test_one_bar_changes_equity_by_profit_less_costs_less_carry(seed, costs, holes, has_open):
    bars = random_bars(seed, n_bars=6, n_assets=4, holes=holes, has_open=has_open)
    market = MarketTensors.from_bars(bars, np.zeros((6, 4, 1), dtype=np.float32))
    generator = np.random.default_rng(seed + 1)
    ledger = Ledger(bars, costs)
    for t in range(3):
        ledger.observe(t)
    # A levered long-short account, so that margin interest and borrow fees are charged, too.
    known = np.array([price is not None for price in ledger.prices])
    held = torch.tensor(np.where(known, generator.uniform(-0.7, 0.9, 4), 0.0))
    change = torch.tensor(generator.uniform(-0.5, 0.5, 4))
    ledger.shares = ledger.orders(held.tolist())
    ledger.cash = 1.0 - float(held.sum())

    after, growth = advance(market, torch.tensor(2), held, change, costs)
    session = ledger.session(3, ledger.orders(change.tolist()))

    earned = session.profit - session.costs - session.carry
    assert float(growth) - 1.0 == pytest.approx(earned, abs=1e-12)
    assert after.tolist() == pytest.approx(ledger.weights(), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, costs=cost_models, holes=st.booleans(), short=st.booleans())
def test_a_backtest_is_the_ledger_bar_by_bar(seed, costs, holes, short):
    bars = random_bars(seed, n_bars=30, n_assets=3, holes=holes)
    targets = random_targets(seed, bars.shape, short=short)
    # The limit is out of reach: settlement has laws of its own.
    result = run_backtest(bars, targets, costs, max_gross=10.0)
    ledger = Ledger(bars, costs)
    ledger.observe(0)
    equity = [1.0]
    for t in range(bars.shape[0] - 1):
        held = ledger.weights()
        change = [0.0 if np.isnan(w) else w - h for w, h in zip(targets[t], held, strict=True)]
        equity.append(ledger.session(t + 1, ledger.orders(change)).equity)
    np.testing.assert_allclose(result.equity[0], equity, rtol=1e-12, atol=1e-12)


def test_the_cost_rate_follows_from_shares_and_slipped_prices():
    """Section 3: buys pay q + f*(1+q), sells q + f*(1-q), derived from 7 shares at 50 USD."""
    commission, adverse, shares, price = 3e-4, 7e-4, 7.0, 50.0
    costs = CostModel(commission_bps=3.0, half_spread_bps=2.0, slippage_bps=5.0)
    notional = shares * price
    bought = shares * price * (1 + adverse)
    buy = bought + bought * commission - notional
    sold = shares * price * (1 - adverse)
    sell = notional - (sold - sold * commission)
    rates = costs.rate(torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert rates.tolist() == pytest.approx([buy / notional, sell / notional], rel=1e-12)
    assert rates[0] > rates[1]


@settings(max_examples=25, deadline=None)
@given(seed=seeds, costs=cost_models, short=st.booleans(), holes=st.booleans())
def test_doubling_trading_costs_never_raises_equity(seed, costs, short, holes):
    bars = random_bars(seed, n_bars=25, holes=holes)
    targets = random_targets(seed, bars.shape, short=short)
    cheap = run_backtest(bars, targets, costs).equity
    dear = run_backtest(bars, targets, costs.scaled(2.0)).equity
    assert (dear <= cheap * (1 + 1e-12)).all()


def test_doubling_costs_lowers_equity_where_something_traded():
    bars = random_bars(3)
    targets = random_targets(3, bars.shape, short=False)
    cheap = run_backtest(bars, targets, EVERY_COST).equity[0, -1]
    assert run_backtest(bars, targets, EVERY_COST.scaled(2.0)).equity[0, -1] < cheap - 1e-4


@settings(max_examples=15, deadline=None)
@given(seed=seeds, k=st.floats(1e-3, 1e3), size_at=st.sampled_from(["close", "fill"]))
def test_the_unit_of_prices_does_not_matter(seed, k, size_at):
    bars = random_bars(seed, holes=True)
    scaled = type(bars)(
        bars.dates,
        bars.symbols,
        *(price * k for price in (bars.open, bars.high, bars.low, bars.close)),
        bars.volume / k,
        tradable=bars.tradable,
    )
    targets = random_targets(seed, bars.shape, short=True)
    one = run_backtest(bars, targets, EVERY_COST, size_at)
    other = run_backtest(scaled, targets, EVERY_COST, size_at)
    np.testing.assert_allclose(other.equity, one.equity, rtol=1e-12)
    np.testing.assert_allclose(other.weights, one.weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size_at", ["close", "fill"])
def test_nan_holds_and_costs_nothing(size_at):
    bars = random_bars(5)
    targets = np.full(bars.shape, np.nan)
    targets[0] = [0.3, -0.2, 0.4]
    costs = CostModel(commission_bps=50.0, borrow_bps_per_year=0.0)
    result = run_backtest(bars, targets, costs, size_at)
    # From the first close on, equity moves with constant shares and constant cash.
    shares = result.weights[0, 1] * result.equity[0, 1] / bars.close[1]
    cash = result.equity[0, 1] * (1.0 - result.weights[0, 1].sum())
    np.testing.assert_allclose(result.equity[0, 1:], cash + bars.close[1:] @ shares, rtol=1e-12)
    assert not result.traded[0, 1:].any()


def test_a_target_equal_to_the_weight_held_is_the_same_as_nan():
    bars = random_bars(6)
    held = np.full(bars.shape, np.nan)
    held[0] = [0.3, 0.2, 0.1]
    kept = run_backtest(bars, held, EVERY_COST)
    stated = kept.weights[0].copy()
    stated[0] = held[0]
    again = run_backtest(bars, stated, EVERY_COST)
    np.testing.assert_allclose(again.equity, kept.equity, rtol=1e-13)


def test_without_costs_and_trades_cash_stays():
    bars = random_bars(7)
    result = run_backtest(bars, np.zeros(bars.shape), FREE)
    assert (result.equity == 1.0).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_target_is_an_error_in_one_sentence(value):
    bars = random_bars(8)
    targets = np.zeros(bars.shape)
    targets[4, 1] = value
    with pytest.raises(AccountingError, match=r"infinite weight for S1 on 2001-01-05"):
        run_backtest(bars, targets)


@pytest.mark.parametrize("size_at", ["close", "fill"])
@pytest.mark.parametrize("when", ["overnight", "intraday"])
def test_ruin_keeps_equity_at_zero(size_at, when):
    """A short of twice the equity in something that triples."""
    bars = random_bars(9, n_bars=12, n_assets=2, volatility=0.001)
    close, open_ = bars.close.copy(), bars.open.copy()
    close[6:, 0] *= 3.0
    open_[(6 if when == "overnight" else 7) :, 0] *= 3.0
    bars = type(bars)(bars.dates, bars.symbols, open_, None, None, close, None)
    targets = np.full(bars.shape, np.nan)
    targets[0] = [-2.0, 0.5]
    # Orders for the session of the ruin, and after it.
    targets[5] = [-1.9, 0.4]
    targets[8:] = [0.4, 0.4]
    result = run_backtest(bars, targets, EVERY_COST, size_at, max_gross=10.0)
    assert (result.equity[0, :6] > 0.9).all()
    assert (result.equity[0, 6:] == 0.0).all()
    assert not result.weights[0, 6:].any()
    assert not result.traded[0, 6:].any()
    assert result.measures["total_return"][0] == -1.0
    assert result.measures["max_drawdown"][0] == 1.0
    assert np.isfinite(result.measures.to_numpy()).all()


@pytest.mark.parametrize("hole", ["missing", "no volume"])
def test_a_bar_that_does_not_trade_fills_nothing(hole):
    bars = random_bars(10, n_bars=8, n_assets=2)
    tradable, volume = np.ones(bars.shape, dtype=bool), bars.volume.copy()
    tradable[3, 0] = hole != "missing"
    volume[3, 0] = np.nan if hole == "missing" else 0.0
    prices = [np.where(tradable, x, np.nan) for x in (bars.open, bars.high, bars.low, bars.close)]
    bars = type(bars)(bars.dates, bars.symbols, *prices, volume, tradable=tradable)
    targets = np.full(bars.shape, np.nan)
    targets[2] = [0.5, 0.4]
    result = run_backtest(bars, targets, FREE)
    assert result.weights[0, 3, 0] == 0.0
    assert result.weights[0, 3, 1] == pytest.approx(0.4, abs=0.02)
    # The order is gone, too: it does not fill later.
    assert not result.weights[0, :, 0].any()
