"""The paper account fills orders as a backtest does: late reviews, missing bars, rules in USD."""

import numpy as np
import pytest

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.backtest import BacktestResult, run_backtest
from trading_rlhf.broker import Order, PaperBroker, client_order_id
from trading_rlhf.market import Bars, bar_close

CASH = 2e6

PLAIN = CostModel(commission_bps=4.0, cash_bps_per_year=150.0)
PER_ASSET = CostModel(
    commission_bps=(1.0, 5.0, 9.0),
    half_spread_bps=(8.0, 1.0, 2.0),
    borrow_bps_per_year=(0, 900, 50),
)
IMPACT = CostModel(impact=ImpactModel(participation=0.02, lookback=3))
SHARES = CostModel(share_commission=ShareCommission(), whole_shares=True)
EVERYTHING = CostModel(
    share_commission=ShareCommission(), whole_shares=True, impact=ImpactModel(lookback=3),
    half_spread_bps=(8.0, 1.0, 2.0),
)  # fmt: skip


def order(bars: Bars, t: int, symbol: str, weight: float, equity: float) -> Order:
    """An order decided and sized at the close of t."""
    price = float(bars.raw_close[t, bars.symbols.index(symbol)])
    decided = bar_close(bars, t)
    return Order(
        client_order_id=client_order_id("paper", "law", decided, symbol, 0),
        symbol=symbol,
        side="buy" if weight > 0 else "sell",
        shares=abs(weight) * equity / price,
        price=price,
        known_at=decided,
        valid_until=decided,
        proposal_id=f"{symbol}-{t}",
    )


def sparse_targets(seed: int, bars: Bars, every: int) -> np.ndarray:
    """Weights for every few bars, long and short; where there is no price, nothing is decided."""
    generator = np.random.default_rng(seed)
    targets = np.full(bars.shape, np.nan)
    rows = slice(0, len(bars.dates) - every, every)
    targets[rows] = generator.uniform(-0.4, 0.7, targets[rows].shape)
    return np.where(bars.tradable, targets, np.nan)


def replay(bars: Bars, targets: np.ndarray, costs: CostModel, delay: int) -> tuple[list, list]:
    """Equity and fills of a paper account that gets each order when its review is over."""
    broker = PaperBroker(costs, CASH)
    waiting: list[tuple[int, Order]] = []
    curve, fills = [1.0], []
    for t in range(len(bars.dates) - 1):
        account = broker.account()
        for column, symbol in enumerate(bars.symbols):
            change = targets[t, column] - account.weights.get(symbol, 0.0)
            if np.isfinite(change) and change:
                waiting.append((t + delay, order(bars, t, symbol, change, account.equity)))
        for due, one in waiting:
            if due == t:
                broker.submit(one)
        session = broker.advance(bars, t + 1)
        fills.append(session.fills)
        curve.append(broker.account().equity / CASH)
    return curve, fills


def backtest(bars: Bars, targets: np.ndarray, costs: CostModel, delay: int) -> BacktestResult:
    return run_backtest(bars, targets, costs, max_gross=100.0, equity_usd=CASH, delay=delay)


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("costs", [PLAIN, PER_ASSET, IMPACT, SHARES, EVERYTHING])
@pytest.mark.parametrize("seed", [1, 2])
def test_its_equity_is_the_backtests(costs, delay, seed) -> None:
    bars = random_bars(seed, n_bars=40, holes=True)
    targets = sparse_targets(seed, bars, every=delay + 1)
    result = backtest(bars, targets, costs, delay)
    curve, fills = replay(bars, targets, costs, delay)
    np.testing.assert_allclose(curve, result.equity[0], rtol=1e-12)
    # The costs that its fills show are those of the law.
    paid = [sum(done.cost for done in session) for session in fills]
    assert sum(paid) > 0
    shown = np.array(paid) / CASH
    night = result.costs[0, 1:] * result.equity[0, :-1]
    np.testing.assert_allclose(shown, night, rtol=0.05, atol=1e-9)


def test_a_thin_bar_fills_a_part_and_the_rest_expires() -> None:
    bars = random_bars(3, n_bars=12)
    costs = CostModel(impact=ImpactModel(participation=0.001, lookback=3))
    broker = PaperBroker(costs, CASH)
    broker.advance(bars, 5)
    wanted = order(bars, 5, "S1", 0.5, CASH)
    broker.submit(wanted)
    session = broker.advance(bars, 6)
    (done,) = session.fills
    assert 0 < done.shares < wanted.shares
    assert done.shares == pytest.approx(0.001 * bars.volume[6, 1])
    (state,) = session.states()
    assert (state.status, state.fills) == ("expired", (done,))
    assert "of" in state.reason
    assert "S1" in state.reason
    assert broker.positions() == {"S1": pytest.approx(done.shares)}


def test_a_delisted_position_is_closed_at_its_last_price_less_the_haircut() -> None:
    bars = random_bars(4, n_bars=30)
    tradable = np.ones(bars.shape, dtype=bool)
    tradable[8:, 1] = False
    columns = [
        np.where(tradable, x, np.nan)
        for x in (bars.open, bars.high, bars.low, bars.close, bars.volume)
    ]
    bars = Bars(bars.dates, bars.symbols, *columns, tradable=tradable)
    targets = np.full(bars.shape, np.nan)
    targets[2] = [0.2, 0.4, 0.0]
    costs = CostModel(delisting_haircut=0.25)
    curve, _ = replay(bars, targets, costs, 0)
    np.testing.assert_allclose(curve, backtest(bars, targets, costs, 0).equity[0], rtol=1e-12)
    broker = PaperBroker(costs, CASH)
    broker.advance(bars, 2)
    broker.submit(order(bars, 2, "S1", 0.4, CASH))
    sessions = [broker.advance(bars, t) for t in range(3, 20)]
    gone = [i for i, session in enumerate(sessions) if session.ratios.get("S1") == 0.0]
    # The tenth bar in a row without a price: 8 to 17.
    assert gone == [17 - 3]
    assert broker.positions() == {}
    before, after = sessions[gone[0] - 1].books, sessions[gone[0]].books
    lost = before.weights["S1"] * 0.25
    assert after.equity / before.equity == pytest.approx(1.0 - lost, rel=1e-9)
