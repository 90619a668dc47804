"""What every broker offers: orders that carry their own id, so that none is sent twice."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from trading_rlhf.broker.signal import Side, Signal
from trading_rlhf.errors import BrokerError
from trading_rlhf.types import JsonDict

__all__ = ["Account", "Broker", "Fill", "Order", "OrderState", "OrderStatus", "client_order_id"]

OrderStatus = Literal["accepted", "partially_filled", "filled", "canceled", "expired", "rejected"]


def client_order_id(
    account: str, strategy: str, decided_at: datetime, symbol: str, revision: int
) -> str:
    """Return the id of the one order that a decision may make (32 hex digits).

    The same decision gives the same id on every machine and after every restart.
    """
    parts = [account, strategy, decided_at.astimezone(UTC).isoformat(), symbol, revision]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Order:
    """Shares to trade at the next open, good for that session only.

    Attributes:
        client_order_id: from ``client_order_id``.
        symbol: the asset.
        side: "buy" or "sell".
        shares: counted at the decision close (positive, fractions allowed); a split before the
            fill rescales them.
        price: decision close (USD, as traded).
        known_at: that close.
        valid_until: not sent after this.
        proposal_id: the proposal behind it.
    """

    client_order_id: str
    symbol: str
    side: Side
    shares: float
    price: float
    known_at: datetime
    valid_until: datetime
    proposal_id: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shares) and self.shares > 0):
            raise BrokerError(
                "an order must be for a positive number of shares", str(self.shares), "Leave it."
            )

    @property
    def signed_shares(self) -> float:
        """Shares, negative for a sale."""
        return self.shares if self.side == "buy" else -self.shares

    @classmethod
    def from_signal(cls, signal: Signal, account: str) -> "Order":
        """Return the order that a signal makes in an account."""
        return cls(
            client_order_id=client_order_id(
                account, signal.strategy, signal.decided_at, signal.symbol, signal.revision
            ),
            symbol=signal.symbol,
            side=signal.side,
            shares=signal.shares,
            price=signal.price,
            known_at=signal.known_at,
            valid_until=signal.valid_until,
            proposal_id=signal.proposal_id,
        )

    def to_json(self) -> JsonDict:
        """Return a JSON-ready dict; ``from_json`` reads it back to an equal order."""
        times = {name: getattr(self, name).isoformat() for name in ("known_at", "valid_until")}
        return asdict(self) | times

    @classmethod
    def from_json(cls, data: JsonDict) -> "Order":
        """Read what ``to_json`` wrote."""
        times = {name: datetime.fromisoformat(data[name]) for name in ("known_at", "valid_until")}
        return cls(**(data | times))


@dataclass(frozen=True)
class Fill:
    """One execution.

    Attributes:
        id: unique at the broker, so that a fill seen twice is stored once.
        client_order_id: the order.
        symbol: the asset.
        side: "buy" or "sell".
        shares: how many (positive), in shares of the day.
        price: paid or received, spread and slippage included (USD, as traded).
        reference: the printed price it is measured against, the open (USD, as traded).
        commission: USD.
        at: when.
    """

    id: str
    client_order_id: str
    symbol: str
    side: Side
    shares: float
    price: float
    reference: float
    commission: float
    at: datetime

    @property
    def signed_shares(self) -> float:
        """Shares, negative for a sale."""
        return self.shares if self.side == "buy" else -self.shares

    @property
    def cost(self) -> float:
        """What the trade cost against the printed price, commission included (USD)."""
        return self.signed_shares * (self.price - self.reference) + self.commission

    def to_json(self) -> JsonDict:
        """Return a JSON-ready dict; ``from_json`` reads it back to an equal fill."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_json(cls, data: JsonDict) -> "Fill":
        """Read what ``to_json`` wrote."""
        return cls(**(data | {"at": datetime.fromisoformat(data["at"])}))


@dataclass(frozen=True)
class OrderState:
    """What a broker knows of an order.

    Attributes:
        client_order_id: the order.
        status: "accepted" and "partially_filled" still work; the others are final.
        fills: executions so far.
        reason: why it was rejected, canceled or expired; empty otherwise.
    """

    client_order_id: str
    status: OrderStatus
    fills: tuple[Fill, ...] = ()
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the order."""
        return self.status not in ("accepted", "partially_filled")


@dataclass(frozen=True)
class Account:
    """An account at its last close.

    Attributes:
        equity: USD.
        previous_equity: USD, one session earlier.
        weights: fraction of equity, signed, by symbol; what is not held is left out.
    """

    equity: float
    previous_equity: float
    weights: dict[str, float]


class Broker(Protocol):
    """A place that fills orders."""

    @property
    def name(self) -> str:
        """Name of the account; part of every order's id."""
        ...

    @property
    def embedded(self) -> bool:
        """Whether it lives inside this program; only such a broker takes simulated signals."""
        ...

    def submit(self, order: Order) -> None:
        """Hand over an order; an id that the broker already has changes nothing.

        Raises:
            BrokerError: refused, for certain.
            OSError: the outcome is unknown (a timeout, a lost connection): look it up.
        """
        ...

    def lookup(self, client_order_id: str) -> OrderState | None:
        """Return what became of an order, None if it never arrived."""
        ...

    def cancel(self, client_order_id: str) -> None:
        """Withdraw what is still open of an order; a final or unknown order changes nothing."""
        ...

    def positions(self) -> dict[str, float]:
        """Return shares held, signed, by symbol; what is not held is left out."""
        ...

    def account(self) -> Account:
        """Return equity and weights at the last close."""
        ...
