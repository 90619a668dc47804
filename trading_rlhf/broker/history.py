"""What the stored events say: every order with its state, the fills, the books."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.orm import Session as StoreSession

from trading_rlhf.accounting import CostModel
from trading_rlhf.broker.books import Books
from trading_rlhf.broker.broker import Fill, Order, OrderState
from trading_rlhf.broker.paper import PaperBroker
from trading_rlhf.store import Event, Store, read_events

__all__ = [
    "OrderRecord",
    "Step",
    "open_paper_broker",
    "read_books",
    "read_fills",
    "read_orders",
    "working_orders",
]

Step = Literal["intent", "unknown", "sent", "filled", "refused", "expired", "canceled"]

# Later steps outrank earlier ones: an order once acknowledged stays sent, whatever a later
# look-up failed to find.
_RANK: dict[str, int] = {"intent": 0, "unknown": 1, "sent": 2}
_FINAL = 3


@dataclass
class OrderRecord:
    """One order as its events tell it.

    Attributes:
        order: what was, or was to be, sent.
        step: how far it came.
        reason: why it was refused, canceled, expired or is unknown; empty otherwise.
        fills: its executions.
    """

    order: Order
    step: Step = "intent"
    reason: str = ""
    fills: list[Fill] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it."""
        return _RANK.get(self.step, _FINAL) == _FINAL

    def state(self) -> OrderState | None:
        """Return what a broker that remembers it would answer, None where it never arrived."""
        if self.step in ("intent", "unknown"):
            return None
        status = {"sent": "accepted", "refused": "rejected"}.get(self.step, self.step)
        return OrderState(
            self.order.client_order_id,
            status,  # type: ignore[arg-type]
            tuple(self.fills),
            self.reason,
        )


def read_orders(session: StoreSession, account: str) -> dict[str, OrderRecord]:
    """Return every order of an account by id, in the order in which they were made."""
    records: dict[str, OrderRecord] = {}
    for event in read_events(session, "order"):
        if event.payload["account"] != account:
            continue
        if event.kind == "intent":
            order = Order.from_json(event.payload["order"])
            records[order.client_order_id] = OrderRecord(order)
            continue
        record = records[event.payload["client_order_id"]]
        if _RANK.get(event.kind, _FINAL) > _RANK.get(record.step, _FINAL):
            record.step = event.kind  # type: ignore[assignment]
            record.reason = event.payload.get("reason", "")
    for fill in read_fills(read_events(session, "fill", kind="fill"), account):
        records[fill.client_order_id].fills.append(fill)
    return records


def working_orders(store: Store, account: str) -> list[Order]:
    """Return the orders of an account that may still fill."""
    with store.read() as session:
        records = read_orders(session, account)
    return [record.order for record in records.values() if not record.is_final]


def read_fills(events: Iterable[Event], account: str) -> list[Fill]:
    """Return the fills of an account among events of the stream ``fill``."""
    return [
        Fill.from_json(event.payload["fill"])
        for event in events
        if event.kind == "fill" and event.payload["account"] == account
    ]


def read_books(session: StoreSession, account: str) -> Books | None:
    """Return the books at the last settled session of an account, None before the first."""
    events: Sequence[Event] = [
        event
        for event in read_events(session, "fill", kind="session")
        if event.payload["account"] == account
    ]
    return Books.from_json(events[-1].payload["books"]) if events else None


def open_paper_broker(
    store: Store, costs: CostModel, cash: float = 1_000_000.0, *, name: str = "paper"
) -> PaperBroker:
    """Open the embedded account as the stored events left it; a new one where there are none.

    Args:
        store: the store of the run.
        costs: what trades and positions cost.
        cash: equity of a new account (USD).
        name: name of the account.
    """
    with store.read() as session:
        records = read_orders(session, name)
        books = read_books(session, name)
    states = {
        order_id: state
        for order_id, record in records.items()
        if (state := record.state()) is not None
    }
    return PaperBroker(
        costs,
        cash,
        name=name,
        books=books,
        working=[records[x].order for x, state in states.items() if not state.is_final],
        states={x: state for x, state in states.items() if state.is_final},
    )
