"""Money counted the long way: shares and cash, one asset and one bar after the other.

Written from section 3 of the design with no tensor and no weight in the state, so that it shares
nothing with the law but the words. Amounts are USD; on the adjusted ledger a share is one of
adjusted prices, and what counts in shares as traded (commission, whole shares, volume) converts.
"""

import math
import statistics
from collections.abc import Callable
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

    def __init__(
        self,
        bars: Bars,
        costs: CostModel,
        cash: float = 1.0,
        *,
        raw: bool = False,
        cost_scale: list[float] | None = None,
    ) -> None:
        self.bars, self.costs, self.cash, self.raw = bars, costs, cash, raw
        self.cost_scale = cost_scale
        self.shares = [0.0] * bars.shape[1]
        self.prices: list[float | None] = [None] * bars.shape[1]
        self.traded_prices: list[float] = [1.0] * bars.shape[1]
        self.missing = [0] * bars.shape[1]
        self.t = 0
        self.ruined = False
        self.equity_at_fill = cash
        self.filled = [0.0] * bars.shape[1]

    @property
    def assets(self) -> range:
        return range(len(self.shares))

    def observe(self, t: int) -> None:
        """Take over the closes of bar t; a missing one keeps the last price."""
        self.t = t
        for i in self.assets:
            self.missing[i] += 1
            if self.bars.tradable[t, i]:
                self.prices[i] = self._price("close", t, i)
                self.traded_prices[i] = float(self.bars.raw_close[t, i])
                self.missing[i] = 0
            else:
                self.traded_prices[i] /= float(self.bars.split[t, i])

    def value(self, i: int) -> float:
        """Market value of asset i at its last price."""
        price = self.prices[i]
        return 0.0 if price is None else self.shares[i] * price

    def equity(self) -> float:
        return self.cash + sum(self.value(i) for i in self.assets)

    def weights(self) -> list[float]:
        return [0.0 if self.ruined else self.value(i) / self.equity() for i in self.assets]

    def orders(self, change: list[float]) -> list[float]:
        """Shares of orders sized at the last close, from changes of weight."""
        equity = self.equity()
        return [
            0.0 if price is None else self.whole(i, c * equity / price)
            for i, (c, price) in enumerate(zip(change, self.prices, strict=True))
        ]

    def session(self, t: int, orders: list[float]) -> Session:
        """Charge the night, fill orders at the open of t, mark at its close."""
        if self.ruined:
            self.observe(t)
            return Session(0.0, 0.0, 0.0, 0.0)
        before = self.equity()
        self.filled = [0.0] * len(self.shares)
        carry = self._carry(t)
        self.cash -= carry
        orders, profit = self._actions(t, orders)
        opened = {i: self._price("open", t, i) for i in self.assets if self.bars.tradable[t, i]}
        for i, price in opened.items():
            old = self.prices[i]
            if old is not None:
                profit += self.shares[i] * (price - old)
                self.prices[i] = price
        self.equity_at_fill = max(self.equity(), 0.0)
        if not self.equity_at_fill:
            return self._ruin(t, before)
        costs = self._delist()
        costs += self._trade(t, {i: orders[i] for i in opened if self._can_fill(t, i)})
        for i, price in opened.items():
            profit += self.shares[i] * (self._price("close", t, i) - price)
        self.observe(t)
        equity = self.equity()
        if equity <= 0:
            return self._ruin(t, before)
        assert abs(equity - (before + profit - costs - carry)) < 1e-12 * max(1.0, before) * 10
        return Session(profit, costs, carry, equity)

    def _price(self, when: str, t: int, i: int) -> float:
        bars = self.bars
        price = float((bars.fill_price if when == "open" else bars.close)[t, i])
        return price * float(bars.raw_close[t, i] / bars.close[t, i]) if self.raw else price

    def _fill_price_as_traded(self, t: int, i: int) -> float:
        bars = self.bars
        return float(bars.fill_price[t, i] * bars.raw_close[t, i] / bars.close[t, i])

    def _ruin(self, t: int, before: float) -> Session:
        self.ruined, self.cash, self.shares = True, 0.0, [0.0] * len(self.shares)
        self.observe(t)
        return Session(-before, 0.0, 0.0, 0.0)

    def _can_fill(self, t: int, i: int) -> bool:
        has_volume = self.bars.volume is None or float(self.bars.volume[t, i]) > 0
        return self.prices[i] is not None and has_volume and self._seen_before(i)

    def _seen_before(self, i: int) -> bool:
        return bool(self.bars.tradable[: self.t + 1, i].any())

    def _actions(self, t: int, orders: list[float]) -> tuple[list[float], float]:
        """Splits change how many shares there are and are ordered; dividends are cash."""
        if not self.raw:
            return orders, 0.0
        received = 0.0
        for i in self.assets:
            split, dividend = float(self.bars.split[t, i]), float(self.bars.dividend[t, i])
            self.shares[i] *= split
            price = self.prices[i]
            if price is not None:
                self.prices[i] = price / split
                received += self.shares[i] * dividend
        self.cash += received
        return [x * float(self.bars.split[t, i]) for i, x in enumerate(orders)], received

    def _delist(self) -> float:
        """Close what has had no price for too long, at the last one less the haircut."""
        lost = 0.0
        for i in self.assets:
            if self.missing[i] + 1 >= self.costs.delisted_after and not self._bar_today(i):
                value = self.value(i)
                haircut = abs(value) * self.costs.delisting_haircut
                self.cash += value - haircut
                self.shares[i] = 0.0
                lost += haircut
        return lost

    def _bar_today(self, i: int) -> bool:
        return bool(self.bars.tradable[self.t + 1, i])

    def _trade(self, t: int, orders: dict[int, float]) -> float:
        """Fill orders as far as volume and cash allow; returns what that cost."""
        if self.costs.impact is not None:
            orders = {i: self._within_volume(t, i, x) for i, x in orders.items()}
        costs = sum(self._fill(t, i, x) for i, x in orders.items() if x < 0)
        buys = [i for i, x in orders.items() if x > 0]
        left = max(self.cash, 0.0)
        for i in sorted(buys, key=lambda i: orders[i] * self._price("open", t, i)):
            shares = orders[i]
            need = self._paid(t, i, shares, shares)
            if self.costs.cash_account and need > left:
                shares = self._affordable(t, i, shares, left)
            left = max(left - need, 0.0)
            costs += self._fill(t, i, shares, planned=orders[i])
        return costs

    def _within_volume(self, t: int, i: int, order: float) -> float:
        impact, bars = self.costs.impact, self.bars
        average, deviation = self._average_volume(i), self._deviation(i)
        if not average or deviation is None:
            return 0.0
        later = math.prod(float(x) for x in bars.split[t + 1 :, i])
        most = impact.participation * float(bars.volume[t, i]) / later
        ratio = self._fill_price_as_traded(t, i) / self._price("open", t, i)
        if abs(order) / ratio <= most:
            return order
        if self.costs.whole_shares:
            most = math.floor(most * (1 + 1e-9))
        return math.copysign(most * ratio, order)

    def _average_volume(self, i: int) -> float:
        """Mean of close times shares, as traded, over the last bars up to the decision."""
        bars, traded = self.bars, []
        for s in range(max(0, self.t - self.costs.impact.lookback + 1), self.t + 1):
            if bars.tradable[s, i]:
                later = math.prod(float(x) for x in bars.split[s + 1 :, i])
                traded.append(float(bars.volume[s, i]) / later * float(bars.raw_close[s, i]))
        return sum(traded) / len(traded) if traded else 0.0

    def _deviation(self, i: int) -> float | None:
        """Standard deviation of the returns known at the decision."""
        first, moves, last = max(0, self.t - self.costs.impact.lookback + 1), [], None
        for s in range(self.t + 1):
            if self.bars.tradable[s, i]:
                close = float(self.bars.close[s, i])
                if last is not None and s >= first:
                    moves.append(close / last - 1.0)
                last = close
        return statistics.stdev(moves) if len(moves) > 1 else None

    def _adverse(self, t: int, i: int, planned: float) -> float:
        """Fraction by which the fill is worse than the price."""
        adverse = (_of(self.costs.half_spread_bps, i) + _of(self.costs.slippage_bps, i)) / 1e4
        if self.costs.impact is not None and planned:
            usd = abs(planned) * self._price("open", t, i)
            root = math.sqrt(usd / self._average_volume(i))
            adverse += self.costs.impact.coefficient * self._deviation(i) * root
        return adverse

    def _paid(self, t: int, i: int, shares: float, planned: float) -> float:
        """Cash that an order takes (negative when a sale brings it); impact at the planned size."""
        price = self._price("open", t, i)
        sign = 1.0 if shares > 0 else -1.0
        worse = price * (1.0 + sign * self._adverse(t, i, planned))
        fees = self.costs.share_commission
        if fees is None:
            commission = abs(shares) * worse * _of(self.costs.commission_bps, i) / 1e4
        else:
            traded = abs(shares) * price / self._fill_price_as_traded(t, i)
            commission = max(traded * fees.per_share_usd, fees.minimum_usd)
            commission = min(commission, abs(shares) * worse * fees.maximum_bps / 1e4)
        extra = shares * worse + commission - shares * price
        scale = 1.0 if self.cost_scale is None else self.cost_scale[t]
        return shares * price + scale * extra

    def _fill(self, t: int, i: int, order: float, planned: float | None = None) -> float:
        """Trade shares; returns what that cost beyond their price."""
        if not order:
            return 0.0
        paid = self._paid(t, i, order, order)
        self.cash -= paid
        self.shares[i] += order
        self.filled[i] = order * self._price("open", t, i) / self.equity_at_fill
        return paid - order * self._price("open", t, i)

    def _affordable(self, t: int, i: int, wanted: float, left: float) -> float:
        most = _largest(lambda shares: self._paid(t, i, shares, wanted) <= left, wanted)
        return self._whole_down(most, self._fill_price_as_traded(t, i), self._price("open", t, i))

    def whole(self, i: int, order: float) -> float:
        """Whole shares as traded; what closes a position stays as it is."""
        price = self.prices[i]
        closes = abs(order + self.shares[i]) <= 1e-6 * abs(self.shares[i])
        if not self.costs.whole_shares or closes or price is None:
            return order
        return math.copysign(self._whole_down(abs(order), self.traded_prices[i], price), order)

    def _whole_down(self, shares: float, traded_price: float, price: float) -> float:
        if not self.costs.whole_shares:
            return shares
        return math.floor(shares * price / traded_price * (1 + 1e-9)) * traded_price / price

    def _carry(self, t: int) -> float:
        """Borrow fees and interest for the days since the last close."""
        long = sum(max(self.value(i), 0.0) for i in self.assets)
        rebate = self.costs.short_rebate_bps_per_year
        yearly = 0.0
        for i in self.assets:
            borrow = _of(self.costs.borrow_bps_per_year, i)
            yearly += max(-self.value(i), 0.0) * (borrow - rebate)
        free = self.equity() - long
        days = (self.bars.dates[t] - self.bars.dates[t - 1]) / np.timedelta64(1, "D")
        if free > 0:
            yearly -= free * self.costs.cash_bps_per_year
        else:
            yearly += -free * self.costs.margin_bps_per_year
        return yearly / 1e4 * days / 365.0


class Queue:
    """Orders in shares that wait for the end of their review, one per asset."""

    def __init__(self, ledger: Ledger, delay: int) -> None:
        self.ledger, self.delay = ledger, delay
        self.waiting: dict[int, tuple[float, int]] = {}

    def close(self, t: int, targets: list[float]) -> list[float]:
        """Take the targets of the close of t (NaN: as you were); return the orders that are due."""
        ledger, due = self.ledger, [0.0] * len(targets)
        for i, target in enumerate(targets):
            price = ledger.prices[i]
            if not math.isnan(target) and price is not None and not ledger.ruined:
                self._want(i, target * ledger.equity() / price - ledger.shares[i], t)
            if ledger.ruined:
                self.waiting.clear()
            order, placed = self.waiting.get(i, (0.0, t))
            if order and t >= placed + self.delay:
                due[i] = ledger.whole(i, self.waiting.pop(i)[0])
        return due

    def split(self, t: int) -> None:
        """Shares that wait are restated by the splits of bar t."""
        for i, (order, placed) in self.waiting.items():
            self.waiting[i] = (order * float(self.ledger.bars.split[t, i]), placed)

    def _want(self, i: int, wanted: float, t: int) -> None:
        order, placed = self.waiting.get(i, (0.0, t))
        weight = self.ledger.prices[i] / self.ledger.equity()
        # Less than a billionth of the equity is rounding.
        if abs(wanted - order) * weight < 1e-9:
            return
        if abs(wanted) * weight < 1e-9:
            self.waiting.pop(i, None)
        elif order * wanted > 0:
            self.waiting[i] = (math.copysign(min(abs(order), abs(wanted)), order), placed)
        else:
            self.waiting[i] = (wanted, t)


def _of(rate: float | tuple[float, ...], i: int) -> float:
    return rate[i] if isinstance(rate, tuple) else rate


def _largest(fits: Callable[[float], bool], most: float) -> float:
    """Largest number up to ``most`` that fits, by halving."""
    low, high = 0.0, most
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
