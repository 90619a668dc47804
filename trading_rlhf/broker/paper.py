"""The embedded paper broker: an account that fills at the next open by the law of accounting."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.accounting import BPS, CostModel, fill, mark, size_at_fill
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
from trading_rlhf.errors import BrokerError, LookAheadError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["PaperBroker", "Session"]

# Ratios closer to one are rounding, no split or dividend.
_NO_ACTION = 1e-12
# Positions smaller than this are rounding (shares).
_NO_POSITION = 1e-9


@dataclass(frozen=True)
class Session:
    """What one session did to the account.

    Attributes:
        books: the account at the close.
        fills: executions at the open.
        expired: why an order did not fill, by its id.
        carry: interest and borrow fees charged since the last close (USD, negative if earned).
        ratios: shares now per share at the last close, for each position that a split or a
            dividend changed; they apply before the fills.
    """

    books: Books
    fills: tuple[Fill, ...]
    expired: dict[str, str]
    carry: float
    ratios: dict[str, float]

    def states(self) -> list[OrderState]:
        """Return the end of every order that waited for this session."""
        filled = [OrderState(x.client_order_id, "filled", (x,)) for x in self.fills]
        return filled + [
            OrderState(order_id, "expired", reason=why) for order_id, why in self.expired.items()
        ]


@dataclass(frozen=True)
class _Ticket:
    """An order that can fill in this session.

    Attributes:
        order: the order.
        column: its asset.
        shares: shares of today (signed).
        change: traded weight, sized at the decision close (fraction of equity at the last close).
        relative: fill price over the decision close (adjusted prices).
    """

    order: Order
    column: int
    shares: float
    change: float
    relative: float


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
        held = _vector(bars, books.weights)
        carry = self.costs.accrual(held, torch.tensor(prices.days, dtype=torch.float64))
        at_fill, night = mark(held, carry, torch.from_numpy(prices.overnight))
        tickets, expired = self._tickets(bars, t, prices, solvent=books.equity * float(night) > 0)
        change = _by_column(bars, {x.column: x.change for x in tickets}, missing=0.0)
        relative = _by_column(bars, {x.column: x.relative for x in tickets}, missing=1.0)
        wanted = size_at_fill(change, at_fill, relative, night)
        cost = fill(at_fill, wanted, self.costs)
        after, day = mark(wanted, cost, torch.from_numpy(prices.intraday))
        fills = tuple(self._fill(ticket, prices) for ticket in tickets)
        return Session(
            books=books.after(
                session=prices.session,
                equity=books.equity * float(night * day),
                weights=dict(zip(bars.symbols, after.tolist(), strict=True)),
                prices=dict(zip(bars.symbols, prices.raw_close.tolist(), strict=True)),
                entries=_entries(bars, books, fills, prices.ratio),
            ),
            fills=fills,
            expired=expired,
            carry=float(carry) * books.equity,
            ratios={
                name: ratio
                for name, ratio in zip(bars.symbols, prices.ratio.tolist(), strict=True)
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

    def _tickets(
        self, bars: Bars, t: int, prices: SessionPrices, *, solvent: bool
    ) -> tuple[list[_Ticket], dict[str, str]]:
        """Return the orders that can fill, and why the others expire."""
        tickets: list[_Ticket] = []
        expired: dict[str, str] = {}
        for order in self._working.values():
            decided = decision_bar(bars, order.known_at)
            if decided >= t:
                raise LookAheadError(
                    "an order must be decided before the session in which it fills",
                    f"{order.symbol} known at {order.known_at}, filled on {prices.session}",
                    "Advance the account session by session.",
                )
            ticket = _ticket(bars, t, order, decided, self.books.equity) if solvent else None
            if not solvent:
                expired[order.client_order_id] = "the account has no equity left"
            elif ticket is None or not prices.fillable[ticket.column]:
                why = f"{order.symbol} had no trade on {prices.session}"
                expired[order.client_order_id] = why
            else:
                tickets.append(ticket)
        return tickets, expired

    def _fill(self, ticket: _Ticket, prices: SessionPrices) -> Fill:
        order, reference = ticket.order, float(prices.raw_fill[ticket.column])
        sign = 1.0 if order.side == "buy" else -1.0
        price = reference * (1.0 + sign * self.costs.adverse)
        shares = abs(ticket.shares)
        return Fill(
            id=f"{order.client_order_id}-1",
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            shares=shares,
            price=price,
            reference=reference,
            commission=shares * price * self.costs.commission_bps * BPS,
            at=prices.fill_at,
        )


def _ticket(bars: Bars, t: int, order: Order, decided: int, equity: float) -> _Ticket | None:
    """Restate an order in the shares of session t; None where the asset has no price."""
    if decided < 0 or order.symbol not in bars.symbols:
        return None
    column = bars.symbols.index(order.symbol)
    priced = last_bars(bars, decided)
    row = priced[column]
    if row < 0:
        return None
    ratio = share_ratio(bars, priced, last_bars(bars, t))[column]
    return _Ticket(
        order=order,
        column=column,
        shares=order.signed_shares * float(ratio),
        change=order.signed_shares * float(bars.raw_close[row, column]) / equity,
        relative=float(bars.fill_price[t, column] / bars.close[row, column]),
    )


def _vector(bars: Bars, values: Mapping[str, float]) -> Tensor:
    row = [values.get(name, 0.0) for name in bars.symbols]
    return torch.tensor(row, dtype=torch.float64)


def _by_column(bars: Bars, values: Mapping[int, float], missing: float) -> Tensor:
    row = [values.get(column, missing) for column in range(len(bars.symbols))]
    return torch.tensor(row, dtype=torch.float64)


def _entries(
    bars: Bars, books: Books, fills: Iterable[Fill], ratio: FloatArray
) -> dict[str, float]:
    """Average entry prices after the session, in prices of that day."""
    ratios = dict(zip(bars.symbols, ratio.tolist(), strict=True))
    shares = {name: x * ratios[name] for name, x in books.shares.items()}
    entries = {name: entry / ratios[name] for name, entry in books.entries.items()}
    for done in fills:
        entries[done.symbol] = average_entry(
            entries.get(done.symbol),
            shares.get(done.symbol, 0.0),
            done.signed_shares,
            done.price,
        )
    return entries
