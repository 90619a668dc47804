"""A crash can fall between any two steps; the order leaves exactly once all the same."""

from datetime import timedelta

import pytest

from trading_rlhf.accounting import CostModel
from trading_rlhf.broker import (
    PaperBroker,
    advance_session,
    open_paper_broker,
    read_orders,
    reconcile,
    resume,
    send,
)
from trading_rlhf.store import read_events

EQUITY = 1_000_000.0


def kinds(store, stream: str) -> list[str]:
    with store.read() as session:
        return [event.kind for event in read_events(session, stream)]


def only_order(store, broker):
    with store.read() as session:
        (record,) = read_orders(session, broker.name).values()
    return record


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_crash_at_any_write_sends_exactly_once(
    store, signal, remote, bars, clock, crash, crashing_store, at, when
) -> None:
    """Write 0 stores the intent, then the order leaves, write 1 stores the acknowledgement."""
    with pytest.raises(crash):
        send(crashing_store(at, when), remote, [signal], clock)
    assert len(remote.arrived) == at
    resume(store, remote, clock)
    send(store, remote, [signal], clock)
    assert len(remote.arrived) == 1
    assert resume(store, remote, clock).sent == []
    assert only_order(store, remote).step == "sent"
    remote.advance(bars, 1)
    resume(store, remote, clock)
    resume(store, remote, clock)
    assert only_order(store, remote).step == "filled"
    assert kinds(store, "fill") == ["fill"]
    assert reconcile(store, remote).agrees


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_around_the_send_itself(store, signal, remote, clock, crash, moment) -> None:
    setattr(remote, moment, crash())
    with pytest.raises(crash):
        send(store, remote, [signal], clock)
    assert kinds(store, "order") == ["intent"]
    remote.before = remote.after = None
    report = resume(store, remote, clock)
    assert report.sent == remote.arrived
    assert len(remote.arrived) == 1
    assert kinds(store, "order") == ["intent", "sent"]


def test_an_intent_that_never_left_expires(store, signal, remote, clock, crash) -> None:
    remote.before = crash()
    with pytest.raises(crash):
        send(store, remote, [signal], clock)
    remote.before = None
    clock.set(signal.valid_until + timedelta(seconds=1))
    (refusal,) = resume(store, remote, clock).refusals
    assert remote.arrived == []
    assert "it was valid until 2026-01-05 14:30 UTC" in refusal.sentence
    assert only_order(store, remote).step == "expired"


def test_a_halt_that_is_lifted_lets_the_order_out(
    store, signal, remote, clock, crash, tmp_path
) -> None:
    halt = tmp_path / "HALT"
    remote.before = crash()
    with pytest.raises(crash):
        send(store, remote, [signal], clock, halt_file=halt)
    remote.before = None
    halt.touch()
    assert "halt file" in resume(store, remote, clock, halt_file=halt).refusals[0].sentence
    assert remote.arrived == []
    halt.unlink()
    assert resume(store, remote, clock, halt_file=halt).sent == remote.arrived


def test_a_superseded_intent_is_not_sent_after_a_crash(
    store, signal_for, bars, remote, clock, crash, crashing_store
) -> None:
    """Both intents are stored, neither has left: only the later revision may."""
    first = signal_for(bars, 0, "AAPL", 0.3, EQUITY)
    revised = signal_for(bars, 0, "AAPL", 0.1, EQUITY, revision=1)
    clock.set(first.decided_at)
    for signal in (first, revised):
        with pytest.raises(crash):
            send(crashing_store(0, "after"), remote, [signal], clock)
    report = resume(store, remote, clock)
    assert len(remote.arrived) == 1
    assert "a later order for the same asset replaces it" in report.refusals[0].sentence
    assert kinds(store, "order") == ["intent", "intent", "canceled", "sent"]
    remote.advance(bars, 1)
    assert remote.positions()["AAPL"] == pytest.approx(0.1 * EQUITY / bars.raw_close[0, 0])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_embedded_account_survives_a_crash_anywhere(
    store, signal, bars, clock, crash, crashing_store, at, when
) -> None:
    """Its memory dies with the program; what is stored brings it back, and nothing fills twice."""
    straight = PaperBroker(CostModel(), EQUITY)
    failing = crashing_store(at, when)
    broker = open_paper_broker(store, CostModel(), EQUITY)

    def run() -> None:
        send(failing, broker, [signal], clock)
        advance_session(failing, broker, bars, 1)

    with pytest.raises(crash):
        run()
    broker = open_paper_broker(store, CostModel(), EQUITY)
    resume(store, broker, clock)
    send(store, broker, [signal], clock)
    if broker.books.session is None:
        advance_session(store, broker, bars, 1)
    again = open_paper_broker(store, CostModel(), EQUITY)
    assert again.books == broker.books
    assert kinds(store, "fill") == ["fill", "session"]
    assert only_order(store, broker).step == "filled"
    assert again.lookup(only_order(store, broker).order.client_order_id).status == "filled"
    assert reconcile(store, again).agrees
    straight.submit(only_order(store, broker).order)
    straight.advance(bars, 1)
    assert again.books == straight.books
