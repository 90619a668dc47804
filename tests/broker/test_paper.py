import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import torch

from trading_rlhf.accounting import BPS, CostModel, fill, mark, settle, size_at_fill
from trading_rlhf.broker import Books, Order, PaperBroker
from trading_rlhf.broker.prices import decision_bar
from trading_rlhf.errors import BrokerError, LookAheadError
from trading_rlhf.market import Bars, load_sample, session_close, session_open

COSTS = CostModel(commission_bps=2.0, cash_bps_per_year=150.0, short_rebate_bps_per_year=20.0)
FREE = CostModel(
    commission_bps=0,
    half_spread_bps=0,
    slippage_bps=0,
    borrow_bps_per_year=0,
    margin_bps_per_year=0,
)


@pytest.fixture
def order(signal_for):
    def make(bars: Bars, t: int, symbol: str, change: float, equity: float, **changes) -> Order:
        return Order.from_signal(signal_for(bars, t, symbol, change, equity, **changes), "paper")

    return make


def submit(broker: PaperBroker, *orders: Order) -> None:
    for one in orders:
        broker.submit(one)


def random_changes(bars: Bars, t: int, held: torch.Tensor, generator) -> torch.Tensor:
    """Random trades, long and short, half of the assets at rest, within a gross of 1.5."""
    change = torch.from_numpy(generator.normal(0, 0.2, held.shape) * (generator.random(4) < 0.5))
    change = torch.where(torch.from_numpy(bars.tradable[t] & bars.tradable[t + 1]), change, 0.0)
    return settle(held, change, 1.5) - held


def test_equity_equals_the_law_on_random_trades(order, generator) -> None:
    bars = load_sample("us4")
    broker = PaperBroker(COSTS, 50_000.0)
    held, equity, worst = torch.zeros(4, dtype=torch.float64), 50_000.0, 0.0
    for t in range(1000, 1800):
        change = random_changes(bars, t, held, generator)
        submit(
            broker,
            *(
                order(bars, t, name, x, broker.books.equity)
                for name, x in zip(bars.symbols, change.tolist(), strict=True)
                if x
            ),
        )
        broker.advance(bars, t + 1)

        there = torch.from_numpy(bars.tradable[t] & bars.tradable[t + 1])
        night = torch.where(there, torch.from_numpy(bars.open[t + 1] / bars.close[t]), 1.0)
        day = torch.where(there, torch.from_numpy(bars.close[t + 1] / bars.open[t + 1]), 1.0)
        days = torch.tensor((bars.dates[t + 1] - bars.dates[t]).days, dtype=torch.float64)
        held, growth = mark(held, COSTS.accrual(held, days), night - 1.0)
        target = size_at_fill(change, held, night, growth)
        cost = fill(held, target, COSTS)
        held, growth_day = mark(target, cost, day - 1.0)
        equity *= float(growth * growth_day)

        worst = max(worst, abs(broker.books.equity / equity - 1.0))
        mine = [broker.books.weights.get(name, 0.0) for name in bars.symbols]
        worst = max(worst, float(np.abs(np.array(mine) - held.numpy()).max()))
    assert bars.split[1000:1801].max() > 1.5
    assert bars.dividend[1000:1801].max() > 0
    assert equity > 0
    assert worst < 1e-12


def test_money_is_conserved(make_bars, order) -> None:
    bars = make_bars(8)
    broker = PaperBroker(COSTS, 1e6)
    for t in range(7):
        before, equity = broker.books, broker.books.equity
        submit(
            broker,
            order(bars, t, "AAPL", 0.3 if t % 2 == 0 else -0.4, equity),
            order(bars, t, "IBM", -0.2 if t % 3 else 0.3, equity),
        )
        session = broker.advance(bars, t + 1)
        profit = 0.0
        for j, name in enumerate(bars.symbols):
            held = before.shares.get(name, 0.0)
            traded = sum(f.signed_shares for f in session.fills if f.symbol == name)
            profit += held * (bars.close[t + 1, j] - bars.close[t, j])
            profit += traded * (bars.close[t + 1, j] - bars.open[t + 1, j])
        costs = sum(f.cost for f in session.fills) + session.carry
        assert broker.books.equity - equity == pytest.approx(profit - costs, abs=1e-6)


def test_a_fill_is_adverse_and_at_the_open(make_bars, order) -> None:
    bars = make_bars()
    broker = PaperBroker(COSTS, 1e6)
    buy, sell = order(bars, 0, "AAPL", 0.3, 1e6), order(bars, 0, "IBM", -0.2, 1e6)
    submit(broker, buy, sell)
    session = broker.advance(bars, 1)
    for done, asked, sign in zip(session.fills, (buy, sell), (1, -1), strict=True):
        j = bars.symbols.index(done.symbol)
        assert done.reference == pytest.approx(bars.open[1, j])
        assert done.price == pytest.approx(bars.open[1, j] * (1 + sign * 2 * BPS))
        assert done.shares == pytest.approx(asked.shares)
        assert done.commission == pytest.approx(done.shares * done.price * 2 * BPS)
        assert done.at == session_open(bars.dates[1])
    assert broker.positions() == pytest.approx({"AAPL": buy.shares, "IBM": -sell.shares})
    assert broker.lookup(buy.client_order_id).status == "filled"
    books = broker.books
    value = sum(x * bars.close[1, bars.symbols.index(n)] for n, x in books.shares.items())
    assert books.cash + value == pytest.approx(books.equity)


def test_the_whole_session_earns_nothing_before_the_open(make_bars, order) -> None:
    """The overnight gap belongs to the old position, the day to the new one."""
    bars = make_bars()
    broker = PaperBroker(FREE, 1e6)
    submit(broker, order(bars, 0, "AAPL", 0.5, 1e6))
    broker.advance(bars, 1)
    shares = 0.5 * 1e6 / bars.close[0, 0]
    assert broker.books.equity == pytest.approx(1e6 + shares * (bars.close[1, 0] - bars.open[1, 0]))


@pytest.mark.parametrize("missing", ["bar", "volume"])
def test_a_missing_bar_or_no_volume_fills_nothing(make_bars, order, missing) -> None:
    whole = make_bars()
    changes = {}
    if missing == "volume":
        volume = whole.volume.copy()
        volume[2, 0] = 0.0
        changes = {"volume": volume}
    else:
        tradable = whole.tradable.copy()
        tradable[2, 0] = False
        changes = {"tradable": tradable}
        for name in ("open", "high", "low", "close", "volume"):
            array = getattr(whole, name).copy()
            array[2, 0] = np.nan
            changes[name] = array
    bars = make_bars(**changes)
    broker = PaperBroker(COSTS, 1e6)
    submit(broker, order(bars, 0, "AAPL", 0.3, 1e6))
    broker.advance(bars, 1)
    before = broker.positions()
    asked = order(bars, 1, "AAPL", 0.2, broker.books.equity)
    submit(broker, asked)
    session = broker.advance(bars, 2)
    assert session.fills == ()
    assert broker.positions() == pytest.approx(before)
    state = broker.lookup(asked.client_order_id)
    assert (state.status, state.reason) == ("expired", "AAPL had no trade on 2026-01-06")
    broker.advance(bars, 3)
    assert broker.positions() == pytest.approx(before)
    equity = 1e6 + before["AAPL"] * (bars.close[3, 0] - bars.open[1, 0])
    assert broker.books.equity == pytest.approx(equity, rel=1e-3)


def split_bars(make_bars) -> Bars:
    """Two for one in AAPL at bar 2, a dividend of 2 USD in IBM at bar 3."""
    flat = make_bars(open=None, high=None, low=None, close=np.full((6, 2), 100.0))
    close, raw = np.full((6, 2), 50.0), np.full((6, 2), 50.0)
    raw[:2, 0] = 100.0
    raw[3:, 1] = 49.0
    close[:, 1] = np.where(np.arange(6) < 3, 49.0 * 50 / 51, 49.0)
    split, dividend = np.ones((6, 2)), np.zeros((6, 2))
    split[2, 0], dividend[3, 1] = 2.0, 2.0
    return Bars(flat.dates, flat.symbols, close, close, close, close, np.full((6, 2), 1e6),
                raw, split, dividend)  # fmt: skip


def test_a_split_between_order_and_fill_rescales_the_order(make_bars, order) -> None:
    bars = split_bars(make_bars)
    broker = PaperBroker(FREE, 1e6)
    broker.advance(bars, 1)
    submit(broker, order(bars, 1, "AAPL", 0.4, 1e6))
    (done,) = broker.advance(bars, 2).fills
    assert (done.shares, done.price) == pytest.approx((8000.0, 50.0))
    assert broker.positions() == pytest.approx({"AAPL": 8000.0})
    assert broker.books.weights["AAPL"] == pytest.approx(0.4)


def test_a_split_doubles_a_position_and_halves_its_entry(make_bars, order) -> None:
    bars = split_bars(make_bars)
    broker = PaperBroker(FREE, 1e6)
    submit(broker, order(bars, 0, "AAPL", 0.4, 1e6))
    broker.advance(bars, 1)
    assert broker.positions() == pytest.approx({"AAPL": 4000.0})
    assert broker.books.entries["AAPL"] == pytest.approx(100.0)
    session = broker.advance(bars, 2)
    assert session.ratios == pytest.approx({"AAPL": 2.0})
    assert broker.positions() == pytest.approx({"AAPL": 8000.0})
    assert broker.books.entries["AAPL"] == pytest.approx(50.0)
    assert broker.books.equity == pytest.approx(1e6)


def test_a_dividend_is_reinvested(make_bars, order) -> None:
    bars = split_bars(make_bars)
    broker = PaperBroker(FREE, 1e6)
    submit(broker, order(bars, 0, "IBM", 0.5, 1e6))
    for t in (1, 2):
        broker.advance(bars, t)
    assert broker.positions() == pytest.approx({"IBM": 10_000.0})
    session = broker.advance(bars, 3)
    assert session.ratios == pytest.approx({"IBM": 51 / 49})
    assert broker.books.equity == pytest.approx(1e6 + 10_000 * (49 + 2 - 50))


def test_close_only_bars_fill_at_the_next_close(make_bars, order) -> None:
    bars = make_bars(open=None, high=None, low=None)
    broker = PaperBroker(COSTS, 1e6)
    submit(broker, order(bars, 0, "AAPL", 0.5, 1e6))
    session = broker.advance(bars, 1)
    (done,) = session.fills
    assert done.reference == pytest.approx(bars.close[1, 0])
    assert done.at == session_close(bars.dates[1])
    assert broker.books.equity == pytest.approx(1e6 - done.cost - session.carry, rel=1e-12)


def test_an_order_sent_late_keeps_its_shares(make_bars, order) -> None:
    """A review delay of one bar: sized at the close of 0, filled at the open of 2."""
    bars = make_bars()
    broker = PaperBroker(COSTS, 1e6)
    asked = order(bars, 0, "AAPL", 0.3, 1e6)
    broker.advance(bars, 1)
    submit(broker, asked)
    (done,) = broker.advance(bars, 2).fills
    assert done.shares == pytest.approx(asked.shares)
    assert done.reference == pytest.approx(bars.open[2, 0])


def test_books_come_back_bit_for_bit(make_bars, order) -> None:
    bars = make_bars(8)
    one = PaperBroker(COSTS, 1e6)
    other = one
    for t in range(7):
        orders = [
            order(bars, t, "AAPL", 0.1 * (-1) ** t, one.books.equity),
            order(bars, t, "IBM", 0.05, one.books.equity),
        ]
        text = json.dumps(one.books.to_json())
        other = PaperBroker(COSTS, books=Books.from_json(json.loads(text)))
        submit(one, *orders)
        submit(other, *orders)
        assert one.advance(bars, t + 1) == other.advance(bars, t + 1)
        assert one.books == other.books


def test_settle_changes_nothing(make_bars, order) -> None:
    bars = make_bars()
    broker = PaperBroker(COSTS, 1e6)
    asked = order(bars, 0, "AAPL", 0.3, 1e6)
    submit(broker, asked)
    before = broker.books
    planned = broker.settle(bars, 1)
    assert broker.books is before
    assert broker.lookup(asked.client_order_id).status == "accepted"
    assert broker.advance(bars, 1) == planned


def test_sessions_cannot_be_skipped_or_repeated(make_bars) -> None:
    bars = make_bars()
    broker = PaperBroker(COSTS)
    broker.advance(bars, 1)
    for t in (1, 3):
        with pytest.raises(BrokerError, match="one after another"):
            broker.advance(bars, t)
    with pytest.raises(BrokerError, match=r"must lie in 1\.\.5"):
        PaperBroker(COSTS).advance(bars, 0)


def test_a_position_without_bars_is_an_error(make_bars, order) -> None:
    bars = make_bars()
    broker = PaperBroker(COSTS, 1e6)
    submit(broker, order(bars, 0, "IBM", 0.3, 1e6))
    broker.advance(bars, 1)
    narrow = Bars(bars.dates, ("AAPL",), None, None, None, bars.close[:, :1], None)
    with pytest.raises(BrokerError, match="none for IBM"):
        broker.advance(narrow, 2)


def test_an_order_decided_later_than_its_fill_is_an_error(make_bars, order) -> None:
    bars = make_bars()
    broker = PaperBroker(COSTS, 1e6)
    submit(broker, order(bars, 1, "AAPL", 0.3, 1e6))
    before = broker.books
    with pytest.raises(LookAheadError):
        broker.advance(bars, 1)
    assert broker.books is before


def test_a_ruined_account_stays_at_zero(make_bars, order) -> None:
    close = np.full((6, 2), 100.0)
    close[2:, 0] = 300.0
    bars = make_bars(open=close, high=close, low=close, close=close)
    broker = PaperBroker(COSTS, 1e6)
    submit(broker, order(bars, 0, "AAPL", -0.9, 1e6))
    broker.advance(bars, 1)
    waiting = order(bars, 1, "IBM", 0.1, broker.books.equity)
    submit(broker, waiting)
    broker.advance(bars, 2)
    assert (broker.books.equity, broker.positions()) == (0.0, {})
    assert broker.lookup(waiting.client_order_id).reason == "the account has no equity left"
    broker.advance(bars, 3)
    assert broker.books.equity == 0.0
    with pytest.raises(BrokerError, match="must have equity"):
        broker.submit(order(bars, 3, "IBM", 0.1, 1e6))


def test_average_entry_follows_the_position(make_bars, order) -> None:
    price = np.full((7, 2), 100.0)
    price[:, 0] = [100, 100, 110, 120, 130, 140, 150]
    bars = make_bars(7, open=price, high=price, low=price, close=price)
    broker = PaperBroker(FREE, 1e6)
    seen = []
    for t, shares in enumerate([100, 100, -50, -200, -50, 100]):
        change = shares * price[t, 0] / broker.books.equity
        submit(broker, order(bars, t, "AAPL", change, broker.books.equity))
        broker.advance(bars, t + 1)
        seen.append((broker.positions().get("AAPL", 0.0), broker.books.entries.get("AAPL")))
    expected = [(100, 100), (200, 105), (150, 105), (-50, 130), (-100, 135), (0, None)]
    assert [s for s, _ in seen] == pytest.approx([s for s, _ in expected], abs=1e-6)
    assert [e for _, e in seen[:-1]] == pytest.approx([e for _, e in expected[:-1]])
    assert seen[-1][1] is None


def test_bars_within_a_day_fill_too(make_signal) -> None:
    times = pd.date_range("2026-01-05 15:00", periods=4, freq="h", tz="UTC")
    close = np.array([[100.0], [101.0], [102.0], [103.0]])
    bars = Bars(times, ("AAPL",), close, close, close, close, None)
    broker = PaperBroker(FREE, 1e6)
    # The bar that starts at 16:00 is known at 17:00.
    known = datetime(2026, 1, 5, 17, tzinfo=UTC)
    signal = make_signal(
        known_at=known, decided_at=known, valid_until=known + timedelta(hours=1), held=0.0,
        target=0.5, price=101.0,
    )  # fmt: skip
    broker.advance(bars, 1)
    submit(broker, Order.from_signal(signal, "paper"))
    (done,) = broker.advance(bars, 2).fills
    assert done.reference == pytest.approx(102.0)
    assert done.at == datetime(2026, 1, 5, 17, tzinfo=UTC)
    assert decision_bar(bars, known) == 1
    assert decision_bar(bars, known - timedelta(minutes=1)) == 0
    assert decision_bar(bars, datetime(2026, 1, 5, 15, 30, tzinfo=UTC)) == -1
