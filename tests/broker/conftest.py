"""Proposals, answers, signals and bars with one line each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.accounting import CostModel
from trading_rlhf.broker import Approval, Order, OrderState, PaperBroker, Signal
from trading_rlhf.feedback import Answer
from trading_rlhf.market import Bars, session_close, session_open
from trading_rlhf.proposals import Proposal
from trading_rlhf.store import Store, open_store

DECIDED = datetime(2026, 1, 5, 11, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, audit_key: bytes, clock) -> Iterator[Store]:
    with open_store(tmp_path / "store.db", audit_key, clock) as opened:
        yield opened


@pytest.fixture
def make_proposal() -> Callable[..., Proposal]:
    """A live proposal to buy 400 AAPL (8% of 1,000,000 USD at 200), open until tomorrow."""

    def make(**changes) -> Proposal:
        values = {
            "id": "p1",
            "market": "us4",
            "symbol": "AAPL",
            "mode": "live",
            "bar": 10,
            "known_at": DECIDED,
            "decided_at": DECIDED,
            "earliest_fill_at": DECIDED + timedelta(days=1),
            "expires_at": DECIDED + timedelta(days=1),
            "horizon": 20,
            "held": 0.02,
            "target": 0.10,
            "price": 200.0,
            "equity": 1_000_000.0,
            "cost": 0.0001,
            "confidence": 0.7,
            "reasons": (),
            "feature_names": (),
            "features": (),
            "portfolio": {"AAPL": 0.02},
            "planned": {"AAPL": 0.10},
            "entry_price": None,
            "open_profit": None,
            "policy_id": "policy-1",
            "data_sha256": "d" * 64,
        }
        return Proposal(**(values | changes))

    return make


@pytest.fixture
def make_answer() -> Callable[..., Answer]:
    """A human's approval of p1, one minute after the decision."""

    def make(**changes) -> Answer:
        values = {
            "event_id": "answer-1",
            "proposal_id": "p1",
            "reviewer": "ann",
            "kind": "verdict",
            "verdict": "approve",
            "resized_to": None,
            "rating": None,
            "tags": (),
            "seconds": 3.0,
            "at": DECIDED + timedelta(minutes=1),
            "simulated": False,
            "certified": True,
            "hindsight": False,
            "note_hash": None,
        }
        return Answer(**(values | changes))

    return make


@pytest.fixture
def make_signal() -> Callable[..., Signal]:
    """A signal to move AAPL from 2% to 10%; shares and side follow from the weights."""

    def make(**changes) -> Signal:
        values = {
            "proposal_id": "p1",
            "strategy": "us4",
            "symbol": "AAPL",
            "held": 0.02,
            "target": 0.10,
            "price": 200.0,
            "equity": 1_000_000.0,
            "known_at": DECIDED,
            "decided_at": DECIDED,
            "valid_until": DECIDED + timedelta(days=1),
            "approvals": (Approval("answer-1", "ann", "approve"),),
            "p": None,
            "policy_id": "policy-1",
            "reward_model_id": None,
            "data_sha256": "d" * 64,
            "chain_head": "h" * 64,
            "simulated": False,
        } | changes
        change = values["target"] - values["held"]
        values.setdefault("side", "buy" if change > 0 else "sell")
        values.setdefault("shares", abs(change) * values["equity"] / values["price"])
        return Signal(**values)

    return make


@pytest.fixture
def make_bars() -> Callable[..., Bars]:
    """Random bars on business days from 2026-01-02; keywords replace arrays."""

    def make(n_bars: int = 6, symbols: tuple[str, ...] = ("AAPL", "IBM"), **changes) -> Bars:
        generator = np.random.default_rng(3)
        shape = (n_bars, len(symbols))
        close = 100.0 * np.exp(np.cumsum(generator.normal(0, 0.02, shape), axis=0))
        open_ = close * np.exp(generator.normal(0, 0.01, shape))
        values = {
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": np.full(shape, 1e6),
        } | changes
        return Bars(pd.bdate_range("2026-01-02", periods=n_bars), symbols, **values)

    return make


@pytest.fixture
def signal_for(make_signal) -> Callable[..., Signal]:
    """A signal decided at the close of bar t of some bars, for a change of weight."""

    def make(bars: Bars, t: int, symbol: str, change: float, equity: float, **changes) -> Signal:
        day = bars.dates[t]
        held = changes.pop("held", 0.0)
        return make_signal(
            proposal_id=f"{symbol}-{t}",
            symbol=symbol,
            held=held,
            target=held + change,
            shares=abs(change) * equity / float(bars.raw_close[t, bars.symbols.index(symbol)]),
            price=float(bars.raw_close[t, bars.symbols.index(symbol)]),
            equity=equity,
            known_at=session_close(day),
            decided_at=session_close(day),
            valid_until=session_open(bars.dates[t + 1]) if t + 1 < len(bars.dates) else
            session_close(day) + timedelta(days=1),
            **changes,
        )  # fmt: skip

    return make


@pytest.fixture
def bars(make_bars):
    return make_bars()


@pytest.fixture
def signal(signal_for, bars, clock):
    """Buy AAPL for 30% of equity, decided at the close of bar 0; the clock stands an hour later."""
    made = signal_for(bars, 0, "AAPL", 0.3, 1_000_000.0)
    clock.set(made.decided_at + timedelta(hours=1))
    return made


class Crash(BaseException):
    """A power cut: nothing in the program may catch it."""


class RemoteBroker(PaperBroker):
    """A broker at the far end of a line that can fail; counts what really arrives."""

    embedded = False

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.arrived: list[str] = []
        self.before: BaseException | None = None
        self.after: BaseException | None = None
        self.dead: BaseException | None = None

    def submit(self, order: Order) -> None:
        if self.before:
            raise self.before
        if super().lookup(order.client_order_id) is None:
            super().submit(order)
            self.arrived.append(order.client_order_id)
        if self.after:
            raise self.after

    def lookup(self, client_order_id: str) -> OrderState | None:
        if self.dead:
            raise self.dead
        return super().lookup(client_order_id)


class CrashingStore:
    """A store whose n-th write dies, before its commit or just after it."""

    def __init__(self, store: Store, at: int, when: str) -> None:
        self._store, self._left, self._when = store, at, when
        self.crashed = False

    def read(self):
        return self._store.read()

    @contextmanager
    def write(self):
        self._left -= 1
        dies = self._left == -1
        with self._store.write() as session:
            yield session
            if dies and self._when == "before":
                self.crashed = True
                raise Crash
        if dies:
            self.crashed = True
            raise Crash


@pytest.fixture
def crash() -> type[BaseException]:
    return Crash


@pytest.fixture
def remote() -> RemoteBroker:
    return RemoteBroker(CostModel(), 1_000_000.0, name="remote")


@pytest.fixture
def crashing_store(store) -> Callable[[int, str], CrashingStore]:
    return lambda at, when: CrashingStore(store, at, when)
