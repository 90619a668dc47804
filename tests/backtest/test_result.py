"""Orders, trades and positions of a backtest against the ledger of shares and cash, and by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backtest.market_draws import draw
from tests.laws.ledger import Ledger
from tests.laws.random_bars import eventful_bars, random_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.backtest import BacktestResult, run_backtest
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars

CAPITAL = 2e6

RULES = [
    CostModel(cash_bps_per_year=300.0, short_rebate_bps_per_year=40.0, delisting_haircut=0.4),
    CostModel(
        half_spread_bps=(1.0, 20.0, 5.0), borrow_bps_per_year=(50.0, 900.0, 0.0),
        share_commission=ShareCommission(), impact=ImpactModel(lookback=5), whole_shares=True,
    ),
]  # fmt: skip


class Recorder(Ledger):
    """A ledger that writes down every fill and every delisting (USD)."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.rows = []

    def _fill(self, t, i, order, planned=None):
        cost = super()._fill(t, i, order, planned)
        if order:
            self.rows.append(("order", t, i, order * self._price("open", t, i), cost))
        return cost

    def _delist(self):
        values = [self.value(i) for i in self.assets]
        lost = super()._delist()
        for i, value in enumerate(values):
            if value and not self.shares[i]:
                haircut = abs(value) * self.costs.delisting_haircut
                self.rows.append(("delisting", self.t + 1, i, -value, haircut))
        return lost


def sparse_targets(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that are resized, flipped, closed and held."""
    generator = np.random.default_rng(seed)
    targets = generator.uniform(-0.6, 0.9, shape)
    targets[generator.random(shape) < 0.2] = 0.0
    targets[generator.random(shape) < 0.4] = np.nan
    return targets


def by_ledger(bars: Bars, targets: np.ndarray, costs: CostModel, raw: bool):
    """The ledger after all sessions, and the sums of what they did."""
    ledger = Recorder(bars, costs, CAPITAL, raw=raw)
    ledger.observe(0)
    sums = {"profit": 0.0, "costs": 0.0, "carry": 0.0}
    for t in range(bars.shape[0] - 1):
        change = np.nan_to_num(targets[t] - np.array(ledger.weights()))
        session = ledger.session(t + 1, ledger.orders(change.tolist()))
        for name in sums:
            sums[name] += getattr(session, name)
    return ledger, sums


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6), costs=st.sampled_from(RULES), raw=st.booleans(),
    has_open=st.booleans(),
)  # fmt: skip
def test_orders_and_trades_are_the_ledgers(seed, costs, raw, has_open):
    bars = eventful_bars(seed, 36, 3, has_open=has_open)
    targets = sparse_targets(seed, bars.shape)
    kind = "raw" if raw else "adjusted"
    result = run_backtest(bars, targets, costs, max_gross=50.0, equity_usd=CAPITAL, ledger=kind)
    ledger, sums = by_ledger(bars, targets, costs, raw)
    # Less than a thousandth of a cent is rounding.
    rows = sorted(
        (t, i, k, value, cost) for k, t, i, value, cost in ledger.rows if abs(value) > 1e-5
    )
    found = result.orders
    assert list(zip(found["filled_on"], found["symbol"], found["kind"], strict=True)) == [
        (bars.dates[t], bars.symbols[i], kind) for t, i, kind, _, _ in rows
    ]
    np.testing.assert_allclose(found["value"], [row[3] for row in rows], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(found["cost"], [row[4] for row in rows], rtol=1e-9, atol=1e-6)
    for table in (result.trades, result.positions):
        profit = table["profit"].sum()
        assert table["costs"].sum() == pytest.approx(sums["costs"], rel=1e-9)
        assert profit == pytest.approx(sums["profit"] - sums["costs"], rel=1e-9, abs=1e-9 * CAPITAL)
        change = ledger.equity() - CAPITAL
        assert profit - sums["carry"] == pytest.approx(change, rel=1e-9, abs=1e-9 * CAPITAL)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), wild=st.booleans())
def test_trades_and_interest_explain_all_of_the_equity(seed, wild):
    """Delistings, cash dividends, dear sessions and, where it is wild, ruin."""
    case = draw(seed, wild=wild, has_open=seed % 4 > 0)
    result = run_backtest(
        case.bars, case.targets, case.costs, market=case.market, max_gross=1e9 if wild else 0.98
    )
    change = result.equity[:, -1] - 1.0
    assets = result.by_asset()["contribution"].unstack("strategy").T
    scale = 1.0 + assets.abs().max(axis=1).to_numpy()
    np.testing.assert_allclose(assets.sum(axis=1) / scale, change / scale, atol=1e-12)
    rest = assets[[name for name in assets if name not in case.bars.symbols]].sum(axis=1)
    for table in (result.trades, result.positions):
        profit = table.groupby("strategy")["profit"].sum().reindex(range(len(change)), fill_value=0)
        explained = profit.to_numpy() / 1e6 + rest.to_numpy()
        np.testing.assert_allclose(explained / scale, change / scale, atol=1e-10)
    paid = result.orders.groupby(["strategy", "filled_on"])["cost"].sum() / 1e6
    shares = pd.DataFrame(result.costs * _equity_at_fill(result), columns=result.dates).stack()
    shares = shares[shares != 0]
    np.testing.assert_allclose(paid.reindex(shares.index, fill_value=0.0), shares, atol=1e-10)


def _equity_at_fill(result: BacktestResult) -> np.ndarray:
    """Equity just before the fill, from the curve: what the day added is taken away again."""
    market, costs = result.conditions.market, result.conditions.costs
    night = np.ones_like(result.equity)
    for t in range(1, len(result.dates)):
        held = result.weights[:, t - 1]
        moves = (market.overnight[t] + market.dividends[t]).numpy()
        charge = costs.accrual(torch.as_tensor(held), market.days[t]).numpy()
        night[:, t] = np.maximum(1.0 + held @ moves - charge, 0.0)
    return np.hstack([np.ones((len(night), 1)), result.equity[:, :-1]]) * night


def flat_bars(close: list[float], split: list[float] | None = None, n_after: int = 0) -> Bars:
    """One asset at prices as traded, filled at the close."""
    n = len(close)
    split = np.array(split or [1.0] * n)[:, None]
    raw = np.array(close)[:, None]
    adjusted = raw * np.cumprod(split, 0) / np.prod(split)
    return Bars(
        pd.bdate_range("2001-01-01", periods=n), ["A"], None, None, None, adjusted, None,
        raw_close=raw, split=split,
    )  # fmt: skip


FEES = CostModel(
    commission_bps=0.0, half_spread_bps=10.0, slippage_bps=0.0, borrow_bps_per_year=0.0
)


def test_a_position_by_hand_with_a_split_and_a_reversal():
    # Bought at 10 and 20, split two for one, flipped at 12.
    bars = flat_bars([10.0, 10.0, 20.0, 15.0, 12.0, 9.0], [1, 1, 1, 2, 1, 1])
    targets = np.array([[0.5], [0.75], [np.nan], [-0.2], [np.nan], [np.nan]])
    result = run_backtest(bars, targets, FEES, size_at="fill", max_gross=5.0, equity_usd=1000.0)
    day = dict(enumerate(bars.dates))
    first, top_up, flip = result.orders.to_dict("records")
    assert (first["ordered_on"], first["filled_on"], first["side"]) == (day[0], day[1], "buy")
    assert first["shares"] == pytest.approx(50.0)
    assert first["paid_price"] == pytest.approx(10.0 * 1.001)
    assert first["cost"] == pytest.approx(0.5)
    # Equity at 20: 1000 - 0.5 + 50 * 10.
    more = 0.75 * 1499.5 - 1000.0
    assert top_up["value"] == pytest.approx(more)
    assert top_up["weight"] == pytest.approx(more / 1499.5)
    assert (flip["filled_on"], flip["side"], flip["price"]) == (day[4], "sell", 12.0)
    assert flip["paid_price"] == pytest.approx(12.0 * 0.999)

    closed, still_open = result.trades.to_dict("records")
    shares = 2.0 * (50.0 + more / 20.0)
    assert closed["shares"] == pytest.approx(shares)
    assert closed["entry_price"] == pytest.approx((500.0 + more) / shares)
    assert closed["exit_price"] == pytest.approx(12.0)
    costs = 0.5 + more * 1e-3 + shares * 12.0 * 1e-3
    profit = shares * 12.0 - 500.0 - more - costs
    assert closed["costs"] == pytest.approx(costs)
    assert closed["profit"] == pytest.approx(profit)
    assert closed["return"] == pytest.approx(profit / (500.0 + more))
    assert (closed["side"], closed["bars"], closed["open"]) == ("long", 3, False)
    assert (closed["entered_on"], closed["exited_on"]) == (day[1], day[4])
    assert (still_open["side"], still_open["bars"], still_open["open"]) == ("short", 1, True)
    assert (still_open["entry_price"], still_open["exit_price"]) == pytest.approx((12.0, 9.0))
    left = flip["shares"] - shares
    assert still_open["profit"] == pytest.approx(left * 3.0 - left * 12.0 * 1e-3)


def test_a_partial_exit_is_a_trade_and_the_position_goes_on():
    bars = flat_bars([10.0, 10.0, 10.0, 20.0, 30.0, 30.0])
    targets = np.array([[0.4], [np.nan], [0.2], [0.0], [np.nan], [np.nan]])
    free = CostModel(commission_bps=0.0, half_spread_bps=0.0, slippage_bps=0.0)
    result = run_backtest(bars, targets, free, size_at="fill", equity_usd=1000.0)
    part, rest = result.trades.to_dict("records")
    # At 20 the equity is 1400: 280 stay of 800.
    assert part["shares"] == pytest.approx(26.0)
    assert part["profit"] == pytest.approx(260.0)
    assert rest["shares"] == pytest.approx(14.0)
    assert rest["profit"] == pytest.approx(280.0)
    (position,) = result.positions.to_dict("records")
    assert position["trades"] == 2
    assert position["shares"] == pytest.approx(40.0)
    assert position["entry_price"] == pytest.approx(10.0)
    assert position["exit_price"] == pytest.approx((26 * 20 + 14 * 30) / 40)
    assert position["profit"] == pytest.approx(540.0)
    assert (position["bars"], position["open"]) == (3, False)


def test_ruin_closes_positions_where_it_came():
    bars = flat_bars([10.0, 10.0, 10.0, 31.0, 31.0])
    result = run_backtest(bars, np.array([[-0.5], [np.nan]] + [[np.nan]] * 3), FEES, max_gross=9.0)
    assert result.equity[0, -1] > -1
    worse = run_backtest(bars, np.array([[-0.9], [np.nan]] + [[np.nan]] * 3), FEES, max_gross=9.0)
    assert worse.equity[0, -1] == 0
    entry, ruin = worse.orders.to_dict("records")
    assert (ruin["kind"], ruin["side"], ruin["price"], ruin["cost"]) == ("ruin", "buy", 31.0, 0.0)
    assert pd.isna(ruin["ordered_on"])
    assert ruin["shares"] == pytest.approx(entry["shares"])
    (trade,) = worse.trades.to_dict("records")
    assert (trade["exited_on"], trade["open"]) == (bars.dates[3], False)
    assert trade["profit"] < -1e6
    rows = worse.by_asset()["contribution"][0]
    assert rows["loss beyond the equity"] == pytest.approx(-1.0 - trade["profit"] / 1e6)


def test_under_a_delay_orders_show_when_they_were_decided():
    bars = random_bars(7, n_bars=20)
    targets = np.full(bars.shape, np.nan)
    targets[4, 1] = 0.5
    for delay in (0, 2):
        (order,) = run_backtest(bars, targets, delay=delay).orders.to_dict("records")
        assert order["ordered_on"] == bars.dates[4]
        assert order["filled_on"] == bars.dates[5 + delay]


def test_nobody_trades_nothing():
    result = run_backtest(random_bars(8), np.zeros((2, 40, 3)))
    for table in (result.orders, result.trades, result.positions):
        assert len(table) == 0
    busy = run_backtest(random_bars(8), sparse_targets(8, (40, 3)))
    for name in ("orders", "trades", "positions"):
        assert list(getattr(result, name)) == list(getattr(busy, name))
    assert not result.by_asset().fillna(0.0).to_numpy().any()


def test_a_selection_is_the_same_strategies():
    bars = random_bars(9)
    result = run_backtest(bars, sparse_targets(9, (5, *bars.shape)))
    some = result.select([3, 1])
    for row, strategy in enumerate((3, 1)):
        one = result.trades[result.trades["strategy"] == strategy].drop(columns="strategy")
        other = some.trades[some.trades["strategy"] == row].drop(columns="strategy")
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    np.testing.assert_array_equal(some.measures["sharpe"], result.measures["sharpe"][[3, 1]])
    assert len(result.select(-1).equity) == 1
    for strange in (5, -6, [], "first", 0.5, None):
        with pytest.raises(AccountingError, match="strategies must be numbers from 0 to 4"):
            result.select(strange)


def test_a_result_with_measures_only_says_so():
    bars = random_bars(10)
    whole = run_backtest(bars, sparse_targets(10, (2, *bars.shape)))
    names = ("equity", "weights", "traded", "filled", "costs")
    empty = {name: getattr(whole, name)[:0] for name in names}
    bare = replace(whole, **empty)
    for ask in (
        lambda: bare.orders, lambda: bare.trades, lambda: bare.positions, bare.full_measures,
        bare.by_year, bare.by_regime, bare.by_asset, bare.to_vectorbt,
    ):  # fmt: skip
        with pytest.raises(AccountingError, match="got a result that kept only measures"):
            ask()
    assert bare.select(1).measures.equals(whole.select(1).measures)
    curves = replace(whole, **{k: v for k, v in empty.items() if k != "equity"})
    assert len(curves.full_measures()) == 2
    with pytest.raises(AccountingError, match="what the strategies were run on"):
        _ = replace(whole, conditions=None).orders
