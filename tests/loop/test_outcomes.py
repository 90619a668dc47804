"""What a trade came to, by hand: two assets with known prices."""

import pytest
import torch

from tests.loop.hand_made import COSTS, close_of_a, make_bars, make_market, open_of_a
from trading_rlhf.accounting import CostModel, ShareCommission
from trading_rlhf.backtest import run_backtest
from trading_rlhf.loop.outcomes import Outcomes, Trades, trade_outcomes

T = 30
RATE = 0.001


def follow(
    t: int = T,
    change: float = 0.2,
    held: tuple[float, float] = (0.0, 0.0),
    costs: CostModel = COSTS,
    delay: int = 0,
    missing: int | None = None,
) -> Outcomes:
    trades = Trades(
        torch.tensor([t]),
        torch.tensor([0]),
        torch.tensor([held], dtype=torch.float64),
        torch.tensor([change], dtype=torch.float64),
        torch.tensor([1e6], dtype=torch.float64),
    )
    return trade_outcomes(make_market(make_bars(missing=missing), costs), trades, costs, delay)


def by_hand(t: int, change: float, fill: int, end: int) -> tuple[float, float]:
    """Profit and notional of shares sized at the close of t, 10 bps paid on the way in and out."""
    shares = change / close_of_a(t)
    paid = RATE * abs(shares) * (open_of_a(fill) + close_of_a(end))
    gain = shares * (close_of_a(end) - open_of_a(fill))
    return gain - paid, abs(shares) * open_of_a(fill)


@pytest.mark.parametrize("held", [(0.0, 0.0), (0.1, 0.4)])
def test_a_buy_earns_twenty_sessions_from_its_fill_and_pays_both_ways(held) -> None:
    found = follow(held=held)
    profit, notional = by_hand(T, 0.2, T + 1, T + 20)
    assert float(found.profit) == pytest.approx(profit, abs=1e-12)
    assert float(found.notional) == pytest.approx(notional, abs=1e-12)


def test_a_sale_earns_what_it_avoided_and_borrows_nothing() -> None:
    found = follow(change=-0.3, held=(0.5, 0.3))
    profit, notional = by_hand(T, -0.3, T + 1, T + 20)
    assert profit < 0
    assert float(found.profit) == pytest.approx(profit, abs=1e-12)
    assert float(found.notional) == pytest.approx(notional, abs=1e-12)


def test_a_short_sale_pays_its_lender() -> None:
    free = COSTS.model_copy(update={"borrow_bps_per_year": 0.0})
    paid = float(follow(change=-0.3, costs=free).profit - follow(change=-0.3).profit)
    # 28 days at half a percent a year on 30% of equity, which grows with the price.
    assert paid == pytest.approx(0.3 * 0.005 * 28 / 365, rel=0.1)


def test_a_trade_near_the_end_is_marked_at_the_last_close() -> None:
    last = make_bars().shape[0] - 1
    profit, notional = by_hand(last - 5, 0.2, last - 4, last)
    found = follow(t=last - 5)
    assert float(found.profit) == pytest.approx(profit, abs=1e-12)
    assert float(found.notional) == pytest.approx(notional, abs=1e-12)


def test_a_review_delays_the_fill_of_the_same_shares() -> None:
    profit, notional = by_hand(T, 0.2, T + 3, T + 22)
    found = follow(delay=2, held=(0.1, 0.4))
    assert float(found.profit) == pytest.approx(profit, abs=1e-12)
    assert float(found.notional) == pytest.approx(notional, abs=1e-12)


def test_an_order_that_meets_no_bar_expires() -> None:
    found = follow(missing=T + 1)
    assert float(found.notional) == 0.0
    assert float(found.profit) == pytest.approx(0.0, abs=1e-12)


def test_commission_by_the_share_is_paid_on_the_trade_alone() -> None:
    costs = COSTS.model_copy(update={"share_commission": ShareCommission()})
    shares = 0.2e6 / close_of_a(T)
    profit, _ = by_hand(T, 0.2, T + 1, T + 20)
    # 0.005 USD a share in and out; nothing for the untouched B, whatever its rounding.
    found = follow(costs=costs, held=(0.1, 0.4))
    assert float(found.profit) == pytest.approx(profit - 2 * 0.005 * shares / 1e6, abs=1e-11)


def test_trades_do_not_meet() -> None:
    market = make_market(make_bars())
    both = Trades(
        torch.tensor([30, 250]),
        torch.tensor([0, 1]),
        torch.zeros(2, 2, dtype=torch.float64),
        torch.tensor([0.2, -0.1], dtype=torch.float64),
        torch.full((2,), 1e6, dtype=torch.float64),
    )
    found = trade_outcomes(market, both, COSTS)
    assert float(found.profit[0]) == pytest.approx(float(follow().profit), abs=1e-14)
    assert float(found.notional[1]) > 0


def test_the_same_money_as_a_backtest() -> None:
    bars = make_bars()
    targets = torch.full(bars.shape, torch.nan, dtype=torch.float64)
    targets[T, 0] = 0.2
    equity = run_backtest(bars, targets, COSTS, engine="reference").equity[0]
    undone = RATE * 0.2 / close_of_a(T) * close_of_a(T + 20)
    assert float(follow().profit) == pytest.approx(equity[T + 20] - 1.0 - undone, abs=1e-12)
