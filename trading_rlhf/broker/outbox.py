"""Sends each signal once: the intent is stored before the order leaves, and looked up after.

A crash can fall between any two steps. What is stored then tells ``resume`` what to do: an intent
without an acknowledgement is looked up at the broker, and sent only if it never arrived there.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session as StoreSession

from trading_rlhf.accounting import CostModel
from trading_rlhf.broker.broker import Broker, Order, OrderState
from trading_rlhf.broker.history import OrderRecord, Step, read_orders
from trading_rlhf.broker.limits import halt_reason
from trading_rlhf.broker.paper import PaperBroker, Session
from trading_rlhf.broker.signal import Refusal, Signal
from trading_rlhf.broker.slippage import compare_fill
from trading_rlhf.errors import BrokerError
from trading_rlhf.market import Bars
from trading_rlhf.store import Store, append
from trading_rlhf.types import Clock, JsonDict

__all__ = ["Report", "advance_session", "resume", "send", "store_refusals"]

_ACTOR = "outbox"


@dataclass
class Report:
    """What became of the orders of one call, by client order id.

    Attributes:
        sent: acknowledged by the broker in this call.
        already: had an order before; nothing was sent.
        unknown: the broker did not answer; ``resume`` looks them up.
        refusals: not sent, or refused by the broker, each with its sentence.
    """

    sent: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def send(
    store: Store,
    broker: Broker,
    signals: Sequence[Signal],
    clock: Clock,
    *,
    halt_file: Path | None = None,
    costs: CostModel | None = None,
    symbols: Sequence[str] = (),
) -> Report:
    """Send signals, each as one order, however often this is called.

    Args:
        store: keeps the intent before the order leaves, and what became of it.
        broker: where the orders go.
        signals: released signals within the limits, in the order in which they settle.
        clock: the present; a signal past its time is not sent.
        halt_file: nothing is sent while it exists.
        costs: the law's prediction that fills are compared with.
        symbols: the assets in the order of the costs' rates, where they differ by asset.

    Raises:
        StoreError: an event could not be stored; ``resume`` goes on from there.
    """
    report = Report()
    with store.read() as session:
        records = read_orders(session, broker.name)
    outbox = _Outbox(store, broker, records, costs or CostModel(), symbols, report)
    for signal in signals:
        order = Order.from_signal(signal, broker.name)
        earlier = records.get(order.client_order_id)
        if earlier is not None and earlier.order == order:
            report.already.append(order.client_order_id)
            continue
        reason = _held_back(signal, broker, clock(), halt_file) or outbox.conflict(order)
        if reason is not None:
            outbox.hold_back(signal, reason)
        elif (record := outbox.intend(signal, order)) is not None:
            outbox.submit(record)
    return report


def resume(
    store: Store,
    broker: Broker,
    clock: Clock,
    *,
    halt_file: Path | None = None,
    costs: CostModel | None = None,
    symbols: Sequence[str] = (),
) -> Report:
    """Settle what is open: look every order up, store its fills, send what never arrived.

    Call it after a restart, and whenever fills are due. An order that the broker acknowledged
    once is never sent again, even if the broker no longer finds it.

    Raises:
        StoreError: an event could not be stored; call it again.
    """
    report = Report()
    with store.read() as session:
        records = read_orders(session, broker.name)
    outbox = _Outbox(store, broker, records, costs or CostModel(), symbols, report)
    for record in records.values():
        if not record.is_final:
            outbox.resolve(record, clock(), halt_file)
    return report


def advance_session(
    store: Store, broker: PaperBroker, bars: Bars, t: int, *, costs: CostModel | None = None
) -> Session:
    """Move the embedded account to the close of t and store what happened, in one transaction.

    Raises:
        BrokerError: t does not follow the last session, or a position has no bars.
        LookAheadError: an order was decided at t or later.
    """
    session = broker.settle(bars, t)
    key = f"{broker.name} {session.books.session}"
    with store.write() as writing:
        if session.ratios:
            adjusted: JsonDict = {"account": broker.name, "ratios": session.ratios}
            append(writing, "fill", "adjusted", adjusted, actor=_ACTOR, subject=key, key=key)
        for state in session.states():
            _store_state(writing, broker.name, state, costs or broker.costs, bars.symbols)
        books = session.books.to_json()
        closed: JsonDict = {"account": broker.name, "books": books, "carry": session.carry}
        append(writing, "fill", "session", closed, actor=_ACTOR, subject=key, key=key)
    broker.book(session)
    return session


def store_refusals(store: Store, refusals: Iterable[Refusal]) -> None:
    """Store why proposals were not released or not sent; the same sentence is stored once."""
    with store.write() as session:
        for refusal in refusals:
            append(
                session,
                "signal",
                "refused",
                {"symbol": refusal.symbol, "sentence": refusal.sentence},
                actor=_ACTOR,
                subject=refusal.proposal_id,
                key=hashlib.sha256(repr(refusal).encode()).hexdigest(),
            )


@dataclass
class _Outbox:
    """One call's view of the orders of an account."""

    store: Store
    broker: Broker
    records: dict[str, OrderRecord]
    costs: CostModel
    symbols: Sequence[str]
    report: Report

    def hold_back(self, signal: Signal, reason: str) -> None:
        text = f"{signal.symbol} was not sent because {reason}."
        refusal = Refusal(signal.proposal_id, signal.symbol, text)
        store_refusals(self.store, [refusal])
        self.report.refusals.append(refusal)

    def conflict(self, order: Order) -> str | None:
        """Say which stored order stands in the way of a new one."""
        if order.client_order_id in self.records:
            return "its decision already made another order; raise the revision to replace it"
        return self._superseded(order)

    def intend(self, signal: Signal, order: Order) -> OrderRecord | None:
        """Store the signal and the intent to send; None where another process was faster."""
        key = order.client_order_id
        released = {"account": self.broker.name, "signal": signal.to_json()}
        with self.store.write() as session:
            append(
                session,
                "signal",
                "released",
                released,
                actor=_ACTOR,
                subject=signal.proposal_id,
                key=key,
            )
            intent = _append_step(
                session, self.broker.name, "intent", key, {"order": order.to_json()}
            )
        if not intent:
            self.report.already.append(key)
            return None
        return self.records.setdefault(key, OrderRecord(order))

    def submit(self, record: OrderRecord) -> None:
        """Hand an order over and store what the broker says."""
        order = record.order
        try:
            self._cancel_older(order)
            self.broker.submit(order)
        except BrokerError as error:
            self._end(record, "refused", f"{self.broker.name} refused it: {error.must}")
        except OSError as error:
            self._step(record, "unknown", f"{self.broker.name} did not answer ({error})")
            self.report.unknown.append(order.client_order_id)
        else:
            self._step(record, "sent")
            self.report.sent.append(order.client_order_id)

    def resolve(self, record: OrderRecord, now: datetime, halt_file: Path | None) -> None:
        """Look an open order up and bring the store up to date with it."""
        order = record.order
        try:
            state = self.broker.lookup(order.client_order_id)
        except OSError:
            self.report.unknown.append(order.client_order_id)
            return
        if state is not None:
            if record.step != "sent":
                self._step(record, "sent")
                self.report.sent.append(order.client_order_id)
            self._absorb(record, state)
        elif record.step == "sent":
            self.report.unknown.append(order.client_order_id)
        elif now > order.valid_until:
            self._end(record, "expired", f"it was valid until {_minute(order.valid_until)}")
        elif newer := self._superseded(order):
            self._end(record, "canceled", newer)
        elif halt_file is not None and (halted := halt_reason(halt_file)):
            self.report.refusals.append(_refusal(order, halted))
        else:
            self.submit(record)

    def _cancel_older(self, order: Order) -> None:
        """Withdraw what still works on the asset: a new decision supersedes an unfilled one."""
        for record in list(self.records.values()):
            older = record.order
            if older.symbol != order.symbol or older == order or record.is_final:
                continue
            self.broker.cancel(older.client_order_id)
            state = self.broker.lookup(older.client_order_id)
            if state is None:
                self._step(record, "canceled", "a later order for the same asset replaces it")
            else:
                self._absorb(record, state)

    def _superseded(self, order: Order) -> str | None:
        """Say so where a later decision, or a later revision, made an order for the asset."""
        made_later = False
        for order_id, record in self.records.items():
            other = record.order
            if order_id == order.client_order_id:
                made_later = True
            elif other.symbol == order.symbol and (
                other.known_at > order.known_at or (made_later and other.known_at == order.known_at)
            ):
                return "a later order for the same asset replaces it"
        return None

    def _absorb(self, record: OrderRecord, state: OrderState) -> None:
        with self.store.write() as session:
            _store_state(session, self.broker.name, state, self.costs, self.symbols)
        record.step, record.reason = _FINAL_STEPS.get(state.status, record.step), state.reason

    def _end(self, record: OrderRecord, step: Step, reason: str) -> None:
        self._step(record, step, reason)
        self.report.refusals.append(_refusal(record.order, reason))

    def _step(self, record: OrderRecord, step: Step, reason: str = "") -> None:
        order_id, more = record.order.client_order_id, {"reason": reason} if reason else {}
        with self.store.write() as session:
            _append_step(session, self.broker.name, step, order_id, more)
        record.step, record.reason = step, reason


_FINAL_STEPS: dict[str, Step] = {
    "filled": "filled",
    "canceled": "canceled",
    "expired": "expired",
    "rejected": "refused",
}


def _append_step(
    session: StoreSession, account: str, step: Step, order_id: str, more: JsonDict
) -> bool:
    """Store one step of an order once; return whether it is new."""
    payload = {"account": account, "client_order_id": order_id} | more
    event = append(session, "order", step, payload, actor=_ACTOR, subject=order_id, key=order_id)
    return event.is_new


def _store_state(
    session: StoreSession,
    account: str,
    state: OrderState,
    costs: CostModel,
    symbols: Sequence[str],
) -> None:
    """Store the fills of an order, each once and beside the law's prediction, and its end."""
    order_id = state.client_order_id
    for fill in state.fills:
        payload = {
            "account": account,
            "fill": fill.to_json(),
            "law": asdict(compare_fill(fill, costs, symbols)),
        }
        append(session, "fill", "fill", payload, actor=_ACTOR, subject=order_id, key=fill.id)
    step = _FINAL_STEPS.get(state.status)
    if step is not None:
        more = {"reason": state.reason} if state.reason else {}
        _append_step(session, account, step, order_id, more)


def _held_back(signal: Signal, broker: Broker, now: datetime, halt_file: Path | None) -> str | None:
    if halt_file is not None and (reason := halt_reason(halt_file)):
        return reason
    if now > signal.valid_until:
        return f"it was valid until {_minute(signal.valid_until)}"
    if signal.simulated and not broker.embedded:
        return f"it rests on simulated answers, and {broker.name} is not the embedded broker"
    return None


def _refusal(order: Order, reason: str) -> Refusal:
    text = f"{order.symbol} was not sent because {reason}."
    return Refusal(order.proposal_id, order.symbol, text)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"
