import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from trading_rlhf.accounting import BPS, CostModel
from trading_rlhf.broker import (
    Fill,
    OrderState,
    PaperBroker,
    Refusal,
    advance_session,
    client_order_id,
    open_paper_broker,
    read_orders,
    resume,
    send,
    store_refusals,
    working_orders,
)
from trading_rlhf.store import append, read_events, verify, write_head

EQUITY = 1_000_000.0


def kinds(store, stream: str) -> list[str]:
    with store.read() as session:
        return [event.kind for event in read_events(session, stream)]


def only_order(store, broker):
    with store.read() as session:
        (record,) = read_orders(session, broker.name).values()
    return record


def test_the_events_tell_the_whole_story(store, signal, bars, clock, tmp_path) -> None:
    broker = PaperBroker(CostModel(), EQUITY)
    report = send(store, broker, [signal], clock)
    assert len(report.sent) == 1
    clock.set(signal.valid_until + timedelta(hours=8))
    advance_session(store, broker, bars, 1)
    assert kinds(store, "signal") == ["released"]
    assert kinds(store, "order") == ["intent", "sent", "filled"]
    assert kinds(store, "fill") == ["fill", "session"]
    with store.read() as session:
        released = read_events(session, "signal")[0]
        intent = read_events(session, "order")[0]
        fill = read_events(session, "fill")[0]
    assert released.payload["signal"] == signal.to_json()
    assert released.subject == signal.proposal_id
    assert intent.key == fill.subject == released.key == report.sent[0]
    assert fill.payload["fill"]["price"] == pytest.approx(bars.open[1, 0] * (1 + 2 * BPS))
    assert fill.payload["law"] == pytest.approx(
        {
            "predicted_price": bars.open[1, 0] * (1 + 2 * BPS),
            "predicted_bps": 2.0,
            "realised_bps": 2.0,
            "drift_bps": 0.0,
        },
        abs=1e-7,
    )
    write_head(store, tmp_path / "head.json")
    assert verify(store, tmp_path / "head.json").ok


def test_the_same_signal_twice_makes_one_order(store, signal, remote, clock) -> None:
    first = send(store, remote, [signal], clock)
    second = send(store, remote, [signal, signal], clock)
    assert remote.arrived == first.sent
    assert (second.sent, second.already) == ([], first.sent * 2)
    assert kinds(store, "order") == ["intent", "sent"]


def test_the_id_depends_on_the_decision_alone(signal) -> None:
    def key(**changes):
        values = {
            "account": "paper",
            "strategy": "us4",
            "decided_at": signal.decided_at,
            "symbol": "AAPL",
            "revision": 0,
        }
        return client_order_id(**(values | changes))

    there = signal.decided_at.astimezone(timezone(timedelta(hours=9)))
    assert key(decided_at=there) == key()
    assert len(key()) == 32
    others = [
        {"account": "other"},
        {"strategy": "sp20"},
        {"decided_at": signal.decided_at + timedelta(days=1)},
        {"symbol": "IBM"},
        {"revision": 1},
    ]
    assert len({key(), *(key(**changes) for changes in others)}) == 6


def test_the_id_is_the_same_in_every_process() -> None:
    code = (
        "from datetime import datetime, UTC; from trading_rlhf.broker import client_order_id;"
        "print(client_order_id('paper', 'us4', datetime(2026, 1, 5, 21, tzinfo=UTC), 'AAPL', 0))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    moment = datetime(2026, 1, 5, 21, tzinfo=UTC)
    assert run.stdout.strip() == client_order_id("paper", "us4", moment, "AAPL", 0)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_unknown_outcome_is_looked_up_and_not_resent(
    store, signal, remote, clock, moment
) -> None:
    setattr(remote, moment, TimeoutError("no answer"))
    report = send(store, remote, [signal], clock)
    assert (report.sent, len(report.unknown)) == ([], 1)
    again = send(store, remote, [signal], clock)
    assert again.already == report.unknown
    assert len(remote.arrived) == (1 if moment == "after" else 0)
    remote.before = remote.after = None
    remote.dead = TimeoutError("still no answer")
    assert resume(store, remote, clock).unknown == report.unknown
    assert len(remote.arrived) == (1 if moment == "after" else 0)
    remote.dead = None
    resume(store, remote, clock)
    assert len(remote.arrived) == 1
    assert kinds(store, "order") == ["intent", "unknown", "sent"]


def test_an_acknowledged_order_that_vanished_is_reported_and_never_resent(
    store, signal, remote, clock
) -> None:
    report = send(store, remote, [signal], clock)
    remote._working.clear()
    assert resume(store, remote, clock).unknown == report.sent
    assert len(remote.arrived) == 1


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("expired", "it was valid until 2026-01-05 14:30 UTC"),
        ("halted", "the halt file"),
        ("simulated", "it rests on simulated answers, and remote is not the embedded broker"),
    ],
)
def test_what_must_not_leave_makes_no_order(
    store, signal_for, bars, remote, clock, tmp_path, reason, sentence
) -> None:
    signal = signal_for(bars, 0, "AAPL", 0.3, EQUITY, simulated=reason == "simulated")
    halt = tmp_path / "HALT"
    if reason == "halted":
        halt.touch()
    late = timedelta(days=9) if reason == "expired" else timedelta(hours=1)
    clock.set(signal.decided_at + late)
    for _ in range(2):
        report = send(store, remote, [signal], clock, halt_file=halt)
        assert report.sent == []
        assert sentence in report.refusals[0].sentence
    assert remote.arrived == []
    assert kinds(store, "order") == []
    assert kinds(store, "signal") == ["refused"]


def test_the_embedded_broker_takes_simulated_signals(store, signal_for, bars, clock) -> None:
    signal = signal_for(bars, 0, "AAPL", 0.3, EQUITY, simulated=True)
    clock.set(signal.decided_at)
    assert len(send(store, PaperBroker(CostModel(), EQUITY), [signal], clock).sent) == 1


def test_a_refusal_of_the_broker_is_stored(store, signal, clock) -> None:
    ruined = PaperBroker(CostModel(), 0.0)
    report = send(store, ruined, [signal], clock)
    assert "paper refused it: an account must have equity" in report.refusals[0].sentence
    assert kinds(store, "order") == ["intent", "refused"]
    assert resume(store, ruined, clock).refusals == []


def test_another_size_for_the_same_decision_needs_a_revision(
    store, signal, signal_for, bars, remote, clock
) -> None:
    send(store, remote, [signal], clock)
    other = signal_for(bars, 0, "AAPL", 0.1, EQUITY)
    report = send(store, remote, [other], clock)
    assert "raise the revision" in report.refusals[0].sentence
    revised = signal_for(bars, 0, "AAPL", 0.1, EQUITY, revision=1)
    assert len(send(store, remote, [revised], clock).sent) == 1
    (left,) = working_orders(store, remote.name)
    assert left.shares == pytest.approx(other.shares)
    assert kinds(store, "order") == ["intent", "sent", "intent", "canceled", "sent"]
    remote.advance(bars, 1)
    assert remote.positions() == pytest.approx({"AAPL": other.shares})


def test_a_later_decision_replaces_a_waiting_order_and_not_the_reverse(
    store, signal_for, bars, remote, clock
) -> None:
    old = signal_for(bars, 0, "AAPL", 0.3, EQUITY)
    new = signal_for(bars, 1, "AAPL", 0.1, EQUITY)
    clock.set(old.decided_at)
    send(store, remote, [old], clock)
    clock.set(new.decided_at)
    send(store, remote, [new], clock)
    (left,) = working_orders(store, remote.name)
    assert left.known_at == new.known_at
    clock.set(old.decided_at)
    late = signal_for(bars, 0, "AAPL", 0.2, EQUITY, strategy="other")
    report = send(store, remote, [late], clock)
    assert "a later order for the same asset replaces it" in report.refusals[0].sentence


def test_two_programs_at_once_make_one_order(store, signal, remote, clock) -> None:
    others = []

    def clock_of_a_slow_program() -> datetime:
        if not others:
            others.append(signal)
            send(store, remote, [signal], clock)
        return clock()

    report = send(store, remote, [signal], clock_of_a_slow_program)
    assert (report.sent, report.already) == ([], remote.arrived)
    assert kinds(store, "order") == ["intent", "sent"]


def test_a_partial_fill_seen_twice_is_stored_once(store, signal, remote, clock) -> None:
    (order_id,) = send(store, remote, [signal], clock).sent
    at = signal.valid_until
    parts = [
        Fill(f"{order_id}-{i}", order_id, "AAPL", "buy", 10.0, 101.0, 100.0, 0.0, at)
        for i in (1, 2)
    ]
    for seen, status in ((1, "partially_filled"), (1, "partially_filled"), (2, "filled")):
        remote.lookup = lambda _, n=seen, s=status: OrderState(order_id, s, tuple(parts[:n]))
        resume(store, remote, clock)
    assert kinds(store, "fill") == ["fill", "fill"]
    assert kinds(store, "order") == ["intent", "sent", "filled"]
    assert only_order(store, remote).fills == parts
    with store.read() as session:
        law = read_events(session, "fill")[0].payload["law"]
    assert law["realised_bps"] == pytest.approx(100.0)
    assert law["drift_bps"] == pytest.approx(98.0)


def test_a_late_doubt_does_not_undo_an_acknowledgement(store, signal, remote, clock) -> None:
    """A second program may store that it heard nothing after the first stored an answer."""
    (order_id,) = send(store, remote, [signal], clock).sent
    with store.write() as session:
        payload = {"account": "remote", "client_order_id": order_id, "reason": "no answer"}
        append(session, "order", "unknown", payload, actor="outbox", key=order_id)
    assert only_order(store, remote).step == "sent"
    remote._working.clear()
    resume(store, remote, clock)
    assert remote.arrived == [order_id]


def test_an_expired_order_is_stored_with_its_reason(store, signal, make_bars, clock) -> None:
    broker = PaperBroker(CostModel(), EQUITY)
    send(store, broker, [signal], clock)
    volume = make_bars().volume.copy()
    volume[1, 0] = 0.0
    advance_session(store, broker, make_bars(volume=volume), 1)
    record = only_order(store, broker)
    assert (record.step, record.reason) == ("expired", "AAPL had no trade on 2026-01-05")


def test_accounts_in_one_store_stay_apart(store, signal, bars, clock) -> None:
    one = PaperBroker(CostModel(), EQUITY, name="one")
    two = PaperBroker(CostModel(), EQUITY, name="two")
    send(store, one, [signal], clock)
    send(store, two, [signal], clock)
    advance_session(store, one, bars, 1)
    assert only_order(store, one).step == "filled"
    assert only_order(store, two).step == "sent"
    assert open_paper_broker(store, CostModel(), EQUITY, name="two").books.session is None


def test_a_refusal_is_stored_once(store) -> None:
    refusal = Refusal("p1", "AAPL", "AAPL was not sent because it rained.")
    store_refusals(store, [refusal, refusal])
    store_refusals(store, [refusal])
    assert kinds(store, "signal") == ["refused"]
    with store.read() as session:
        (event,) = read_events(session, "signal")
    assert event.subject == "p1"
    assert event.payload == {"symbol": "AAPL", "sentence": refusal.sentence}
