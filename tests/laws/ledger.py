"""Money counted the long way: shares and cash, one asset and one bar after the other.

Written from section 3 of the design with no tensor and no weight in the state, so that it shares
nothing with the law but the words.
"""

from dataclasses import dataclass

import numpy as np

from trading_rlhf.accounting import CostModel
from trading_rlhf.market import Bars


@dataclass
class Session:
    """What one session did to the money (USD)."""

    profit: float
    costs: float
    carry: float
    equity: float


class Ledger:
    """An account of shares and cash."""

    def __init__(self, bars: Bars, costs: CostModel, cash: float = 1.0) -> None:
        self.bars, self.costs, self.cash = bars, costs, cash
        self.shares = [0.0] * bars.shape[1]
        self.prices: list[float | None] = [None] * bars.shape[1]

    def observe(self, t: int) -> None:
        """Take over the closes of bar t; a missing one keeps the last price."""
        for i in range(len(self.shares)):
            if self.bars.tradable[t, i]:
                self.prices[i] = float(self.bars.close[t, i])

    def value(self, i: int) -> float:
        """Market value of asset i at its last price."""
        price = self.prices[i]
        return 0.0 if price is None else self.shares[i] * price

    def equity(self) -> float:
        return self.cash + sum(self.value(i) for i in range(len(self.shares)))

    def weights(self) -> list[float]:
        return [self.value(i) / self.equity() for i in range(len(self.shares))]

    def orders(self, change: list[float]) -> list[float]:
        """Shares of orders sized at the last close, from changes of weight."""
        equity = self.equity()
        return [
            0.0 if price is None else c * equity / price
            for c, price in zip(change, self.prices, strict=True)
        ]

    def session(self, t: int, orders: list[float]) -> Session:
        """Charge the night, fill orders at the open of t, mark at its close."""
        before = self.equity()
        carry = self._carry(t)
        self.cash -= carry
        costs = profit = 0.0
        for i, order in enumerate(orders):
            if not self.bars.tradable[t, i]:
                continue
            old = self.prices[i]
            fill_price = float(self.bars.fill_price[t, i])
            close = float(self.bars.close[t, i])
            if old is not None:
                profit += self.shares[i] * (fill_price - old)
            can_fill = old is not None and (
                self.bars.volume is None or float(self.bars.volume[t, i]) > 0
            )
            if can_fill and order:
                costs += self._fill(i, order, fill_price)
            profit += self.shares[i] * (close - fill_price)
        self.observe(t)
        equity = self.equity()
        assert abs(equity - (before + profit - costs - carry)) < 1e-12 * max(1.0, before)
        return Session(profit, costs, carry, equity)

    def _fill(self, i: int, order: float, price: float) -> float:
        """Trade shares at the worse price, commission on that; returns what the trade cost."""
        sign = 1.0 if order > 0 else -1.0
        worse = price * (1.0 + sign * (self.costs.half_spread_bps + self.costs.slippage_bps) / 1e4)
        paid = order * worse + abs(order) * worse * self.costs.commission_bps / 1e4
        self.cash -= paid
        self.shares[i] += order
        return paid - order * price

    def _carry(self, t: int) -> float:
        """Borrow fees and interest for the days since the last close."""
        long = sum(max(self.value(i), 0.0) for i in range(len(self.shares)))
        short = sum(max(-self.value(i), 0.0) for i in range(len(self.shares)))
        free = self.equity() - long
        days = (self.bars.dates[t] - self.bars.dates[t - 1]) / np.timedelta64(1, "D")
        yearly = short * (self.costs.borrow_bps_per_year - self.costs.short_rebate_bps_per_year)
        if free > 0:
            yearly -= free * self.costs.cash_bps_per_year
        else:
            yearly += -free * self.costs.margin_bps_per_year
        return yearly / 1e4 * days / 365.0
