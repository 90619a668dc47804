"""The embedded paper broker: an account that fills at the next open by the law of accounting."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, order_costs
from trading_rlhf.broker.books import Books, average_entry
from trading_rlhf.broker.broker import Account, Fill, Order, OrderState
from trading_rlhf.broker.prices import (
    SessionPrices,
    decision_bar,
    last_bars,
    session_label,
    session_prices,
    share_ratio,
)
from trading_rlhf.env.dynamics import MarketTensors, fill_bar, trade_session
from trading_rlhf.env.dynamics import Session as Traded
from trading_rlhf.errors import BrokerError, LookAheadError
from trading_rlhf.market import Bars

__all__ = ["PaperBroker", "Session"]

# Ratios closer to one are rounding, no split or dividend.
_NO_ACTION = 1e-12
# Positions smaller than this are rounding (shares).
_NO_POSITION = 1e-9
# A fill short of its order by less than this share of it is complete.
_COMPLETE = 1e-9


@dataclass(frozen=True)
class Session:
    """What one session did to the account.

    Attributes:
        books: the account at the close.
        fills: executions at the open.
        expired: why an order did not fill, or not in full, by its id.
        carry: interest and borrow fees charged since the last close (USD, negative if earned).
        ratios: shares now per share at the last close, for each position that a split or a
            dividend changed, 0 where a delisting closed it; they apply before the fills.
    """

    books: Books
    fills: tuple[Fill, ...]
    expired: dict[str, str]
    carry: float
    ratios: dict[str, float]

    def states(self) -> list[OrderState]:
        """Return the end of every order that waited for this session."""
        fills = {x.client_order_id: x for x in self.fills}
        filled = [
            OrderState(order_id, "filled", (done,))
            for order_id, done in fills.items()
            if order_id not in self.expired
        ]
        return filled + [
            OrderState(order_id, "expired", (fills[order_id],) if order_id in fills else (), why)
            for order_id, why in self.expired.items()
        ]


@dataclass(frozen=True)
class _Ticket:
    """An order that can fill in this session.

    Attributes:
        order: the order.
        column: its asset.
        shares: shares of today (signed).
        change: the same shares as a weight at the last close (fraction of equity, signed).
    """

    order: Order
    column: int
    shares: float
    change: float


class PaperBroker:
    """An account in memory, moved on session by session; its books come back from stored events.

    Orders wait for the next session. There they fill at its open (at its close where the bars
    have no open), or expire where the asset has no bar or no volume.
    """

    embedded = True

    def __init__(
        self,
        costs: CostModel,
        cash: float = 1_000_000.0,
        *,
        name: str = "paper",
        books: Books | None = None,
        working: Iterable[Order] = (),
        states: Mapping[str, OrderState] | None = None,
    ) -> None:
        """Open an account, or go on with one.

        Args:
            costs: what trades and positions cost.
            cash: equity of a new account (USD).
            name: name of the account.
            books: the account at its last close, None for a new one.
            working: orders that wait for the next session.
            states: orders that are done, by id.
        """
        self.costs = costs
        self.name = name
        self.books = books or Books.opened(cash)
        self._working = {order.client_order_id: order for order in working}
        self._states = dict(states or {})
        self._market: tuple[Bars, MarketTensors] | None = None

    def submit(self, order: Order) -> None:
        """Take an order for the next session.

        Raises:
            BrokerError: another order for the same asset still waits, or the account is empty.
        """
        if self.lookup(order.client_order_id) is not None:
            return
        if any(other.symbol == order.symbol for other in self._working.values()):
            raise BrokerError(
                "one order at a time may wait for an asset",
                f"a second one for {order.symbol}",
                "Cancel the first.",
            )
        if self.books.equity <= 0:
            raise BrokerError("an account must have equity to trade", "none", "Open a new one.")
        self._working[order.client_order_id] = order

    def lookup(self, client_order_id: str) -> OrderState | None:
        """Return what became of an order, None if it never arrived."""
        if client_order_id in self._working:
            return OrderState(client_order_id, "accepted")
        return self._states.get(client_order_id)

    def cancel(self, client_order_id: str) -> None:
        """Withdraw a waiting order; any other changes nothing."""
        if self._working.pop(client_order_id, None) is not None:
            state = OrderState(client_order_id, "canceled", reason="it was withdrawn")
            self._states[client_order_id] = state

    def positions(self) -> dict[str, float]:
        """Return shares held at the last close, signed, by symbol."""
        return {name: x for name, x in self.books.shares.items() if abs(x) > _NO_POSITION}

    def account(self) -> Account:
        """Return equity and weights at the last close."""
        books = self.books
        return Account(books.equity, books.previous_equity, dict(books.weights))

    def advance(self, bars: Bars, t: int) -> Session:
        """Move the account from the close of t-1 to the close of t, filling what waits for t.

        Raises:
            BrokerError: t does not follow the last session, or a position has no bars.
            LookAheadError: an order was decided at t or later.
        """
        session = self.settle(bars, t)
        self.book(session)
        return session

    def settle(self, bars: Bars, t: int) -> Session:
        """Compute what ``advance`` would do, changing nothing; raises as it does."""
        prices = session_prices(bars, t)
        self._check_sequence(bars, t)
        books = self.books
        tickets, expired = self._tickets(bars, t, prices)
        traded = trade_session(
            self._tensors(bars),
            torch.tensor(t - 1),
            _vector(bars, books.weights),
            self.costs,
            change=_by_column(bars, {x.column: x.change for x in tickets}),
            equity=torch.tensor(books.equity, dtype=torch.float64),
        )
        fills, short = self._fills(bars, t, tickets, prices, traded)
        ratios = dict(zip(bars.symbols, self._ratios(bars, t, prices), strict=True))
        return Session(
            books=books.after(
                session=prices.session,
                equity=books.equity * float(traded.growth),
                weights=dict(zip(bars.symbols, traded.held.tolist(), strict=True)),
                prices=dict(zip(bars.symbols, prices.raw_close.tolist(), strict=True)),
                entries=_entries(books, fills, ratios),
            ),
            fills=fills,
            expired=expired | short,
            carry=float(traded.carry) * books.equity,
            ratios={
                name: ratio
                for name, ratio in ratios.items()
                if name in books.weights and abs(ratio - 1.0) > _NO_ACTION
            },
        )

    def book(self, session: Session) -> None:
        """Take over what ``settle`` computed."""
        self.books = session.books
        for state in session.states():
            self._working.pop(state.client_order_id, None)
            self._states[state.client_order_id] = state

    def _check_sequence(self, bars: Bars, t: int) -> None:
        last, previous = self.books.session, session_label(bars, t - 1)
        if last is not None and last != previous:
            raise BrokerError(
                "sessions must be settled one after another",
                f"{previous} as the session before, after {last}",
                "Advance the account from its last session.",
            )
        unknown = sorted(set(self.books.weights) - set(bars.symbols))
        if unknown:
            raise BrokerError(
                "bars must cover every position", f"none for {', '.join(unknown)}", "Add them."
            )

    def _tensors(self, bars: Bars) -> MarketTensors:
        """The bars as the law needs them; kept, since session follows session."""
        if self._market is None or self._market[0] is not bars:
            nothing = np.zeros((*bars.shape, 1), dtype=np.float32)
            self._market = (bars, MarketTensors.for_costs(bars, nothing, self.costs))
        return self._market[1]

    def _ratios(self, bars: Bars, t: int, prices: SessionPrices) -> list[float]:
        """Shares now per share at the last close, by column; none are left after a delisting."""
        gone = self._tensors(bars).delisted
        kept = np.ones(bars.shape[1]) if gone is None else ~gone[t].numpy()
        ratios: list[float] = (prices.ratio * kept).tolist()
        return ratios

    def _tickets(
        self, bars: Bars, t: int, prices: SessionPrices
    ) -> tuple[list[_Ticket], dict[str, str]]:
        """Return the orders that can fill, and why the others expire."""
        tickets: list[_Ticket] = []
        expired: dict[str, str] = {}
        latest, alive = last_bars(bars, t - 1), self.books.equity > 0
        for order in self._working.values():
            decided = decision_bar(bars, order.known_at)
            if decided >= t:
                raise LookAheadError(
                    "an order must be decided before the session in which it fills",
                    f"{order.symbol} known at {order.known_at}, filled on {prices.session}",
                    "Advance the account session by session.",
                )
            if not alive:
                expired[order.client_order_id] = _NO_EQUITY
                continue
            ticket = _ticket(bars, order, decided, latest, prices, self.books.equity)
            if ticket is None or not prices.fillable[ticket.column]:
                why = f"{order.symbol} had no trade on {prices.session}"
                expired[order.client_order_id] = why
            else:
                tickets.append(ticket)
        return tickets, expired

    def _fills(
        self, bars: Bars, t: int, tickets: list[_Ticket], prices: SessionPrices, traded: Traded
    ) -> tuple[tuple[Fill, ...], dict[str, str]]:
        """Return the fills, and why some orders were not filled in full."""
        equity = self.books.equity * float(traded.overnight)
        adverse, cost = self._adverse_and_cost(bars, t, traded)
        fills: list[Fill] = []
        short: dict[str, str] = {}
        for ticket in tickets:
            column, order = ticket.column, ticket.order
            wanted = abs(ticket.shares)
            value = abs(float(traded.filled[column])) * equity
            shares = value / float(prices.raw_fill[column])
            complete = shares >= wanted * (1.0 - _COMPLETE)
            if not complete:
                short[order.client_order_id] = (
                    f"{shares:g} of {wanted:g} shares of {order.symbol} could fill"
                    if equity > 0
                    else _NO_EQUITY
                )
            if complete or shares > _NO_POSITION:
                commission = float(cost[column]) * equity - value * float(adverse[column])
                fills.append(
                    _fill(
                        order, prices, column, wanted if complete else shares,
                        float(adverse[column]), commission,
                    )
                )  # fmt: skip
        return tuple(fills), short

    def _adverse_and_cost(self, bars: Bars, t: int, traded: Traded) -> tuple[Tensor, Tensor]:
        """``[N]`` how much worse than printed each fill is, and what each order costs in all."""
        market, costs = self._tensors(bars), self.costs
        adverse = traded.filled * 0.0 + costs.adverse_rate(traded.filled)
        if not costs.needs_equity:
            return adverse, order_costs(traded.filled, costs, None)
        equity = torch.tensor(self.books.equity, dtype=torch.float64)
        bar = fill_bar(market, torch.tensor(t - 1), costs, equity, traded.overnight)
        if costs.impact is not None:
            value = traded.filled.abs() * bar.scale
            adverse = adverse + costs.impact.rate(value, bar.daily_volume, bar.volatility)
        return adverse, order_costs(traded.filled, costs, bar)


_NO_EQUITY = "the account has no equity left"


def _fill(
    order: Order,
    prices: SessionPrices,
    column: int,
    shares: float,
    adverse: float,
    commission: float,
) -> Fill:
    reference = float(prices.raw_fill[column])
    sign = 1.0 if order.side == "buy" else -1.0
    return Fill(
        id=f"{order.client_order_id}-1",
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        shares=shares,
        price=reference * (1.0 + sign * adverse),
        reference=reference,
        # A commission of nothing must not come out below zero by rounding.
        commission=max(commission, 0.0),
        at=prices.fill_at,
    )


def _ticket(
    bars: Bars,
    order: Order,
    decided: int,
    latest: npt.NDArray[np.intp],
    prices: SessionPrices,
    equity: float,
) -> _Ticket | None:
    """Restate an order in the shares of the session; None where the asset has no price.

    Args:
        bars: the bars.
        order: the order.
        decided: bar of its decision.
        latest: ``[N]`` last bar of each asset at the last close.
        prices: of the session.
        equity: at the last close (USD).
    """
    if decided < 0 or order.symbol not in bars.symbols:
        return None
    column = bars.symbols.index(order.symbol)
    priced = last_bars(bars, decided)
    if priced[column] < 0:
        return None
    shares = order.signed_shares * float(share_ratio(bars, priced, latest)[column])
    return _Ticket(
        order=order,
        column=column,
        shares=shares * float(prices.ratio[column]),
        change=shares * float(bars.raw_close[latest[column], column]) / equity,
    )


def _vector(bars: Bars, values: Mapping[str, float]) -> Tensor:
    row = [values.get(name, 0.0) for name in bars.symbols]
    return torch.tensor(row, dtype=torch.float64)


def _by_column(bars: Bars, values: Mapping[int, float]) -> Tensor:
    row = [values.get(column, 0.0) for column in range(len(bars.symbols))]
    return torch.tensor(row, dtype=torch.float64)


def _entries(books: Books, fills: Iterable[Fill], ratios: Mapping[str, float]) -> dict[str, float]:
    """Average entry prices after the session, in prices of that day."""
    shares = {name: x * ratios[name] for name, x in books.shares.items()}
    entries = {name: x / ratios[name] for name, x in books.entries.items() if ratios[name] > 0}
    for done in fills:
        entries[done.symbol] = average_entry(
            entries.get(done.symbol),
            shares.get(done.symbol, 0.0),
            done.signed_shares,
            done.price,
        )
    return entries
