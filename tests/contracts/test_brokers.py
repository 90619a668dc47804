"""What every broker must do; a new broker is added to ``SETUPS``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.accounting import CostModel
from trading_rlhf.broker import Broker, Order, PaperBroker
from trading_rlhf.errors import BrokerError
from trading_rlhf.market import Bars

KNOWN = datetime(2026, 1, 2, 21, tzinfo=UTC)
ORDER = Order("a" * 32, "AAPL", "buy", 100.0, 50.0, KNOWN, KNOWN + timedelta(days=3), "p1")


@dataclass
class Setup:
    """A broker with 1,000,000 USD and flat prices of 50, and a way to let a session pass."""

    broker: Broker
    let_a_session_pass: Callable[[], object]


def paper() -> Setup:
    broker = PaperBroker(CostModel(), 1_000_000.0)
    flat = np.full((5, 2), 50.0)
    bars = Bars(
        pd.bdate_range("2026-01-02", periods=5), ("AAPL", "IBM"), flat, flat, flat, flat, None
    )
    sessions = iter(range(1, 5))
    return Setup(broker, lambda: broker.advance(bars, next(sessions)))


SETUPS = {"paper": paper}


@pytest.fixture(params=list(SETUPS))
def setup(request) -> Setup:
    return SETUPS[request.param]()


def test_it_has_a_name_and_says_whether_it_is_embedded(setup) -> None:
    assert setup.broker.name
    assert isinstance(setup.broker.embedded, bool)


def test_a_new_account_is_flat(setup) -> None:
    account = setup.broker.account()
    assert setup.broker.positions() == {}
    assert (account.equity, account.weights) == (1_000_000.0, {})


def test_an_unknown_id_is_none(setup) -> None:
    assert setup.broker.lookup("b" * 32) is None
    setup.broker.cancel("b" * 32)
    assert setup.broker.lookup("b" * 32) is None


def test_an_order_is_accepted_then_filled(setup) -> None:
    setup.broker.submit(ORDER)
    assert setup.broker.lookup(ORDER.client_order_id).status == "accepted"
    assert not setup.broker.lookup(ORDER.client_order_id).is_final
    assert setup.broker.positions() == {}
    setup.let_a_session_pass()
    state = setup.broker.lookup(ORDER.client_order_id)
    assert state.status == "filled"
    assert state.is_final
    assert sum(fill.signed_shares for fill in state.fills) == pytest.approx(100.0)
    assert len({fill.id for fill in state.fills}) == len(state.fills)
    assert setup.broker.positions() == pytest.approx({"AAPL": 100.0})
    account = setup.broker.account()
    assert account.equity < account.previous_equity == 1_000_000.0
    assert account.weights == pytest.approx({"AAPL": 5000 / account.equity})


@pytest.mark.parametrize("filled", [False, True])
def test_the_same_id_twice_is_one_order(setup, filled) -> None:
    setup.broker.submit(ORDER)
    if filled:
        setup.let_a_session_pass()
    setup.broker.submit(ORDER)
    setup.let_a_session_pass()
    setup.let_a_session_pass()
    assert setup.broker.positions() == pytest.approx({"AAPL": 100.0})


def test_a_canceled_order_never_fills(setup) -> None:
    setup.broker.submit(ORDER)
    setup.broker.cancel(ORDER.client_order_id)
    setup.let_a_session_pass()
    state = setup.broker.lookup(ORDER.client_order_id)
    assert (state.status, state.fills) == ("canceled", ())
    assert setup.broker.positions() == {}


def test_a_filled_order_cannot_be_canceled(setup) -> None:
    setup.broker.submit(ORDER)
    setup.let_a_session_pass()
    setup.broker.cancel(ORDER.client_order_id)
    assert setup.broker.lookup(ORDER.client_order_id).status == "filled"
    assert setup.broker.positions() == pytest.approx({"AAPL": 100.0})


def test_a_sale_opens_a_short(setup) -> None:
    setup.broker.submit(replace(ORDER, side="sell"))
    setup.let_a_session_pass()
    assert setup.broker.positions() == pytest.approx({"AAPL": -100.0})


def test_a_second_waiting_order_for_an_asset_is_refused(setup) -> None:
    setup.broker.submit(ORDER)
    with pytest.raises(BrokerError):
        setup.broker.submit(replace(ORDER, client_order_id="b" * 32, side="sell"))
    setup.broker.submit(replace(ORDER, client_order_id="c" * 32, symbol="IBM"))


def test_an_asset_that_never_trades_expires(setup) -> None:
    setup.broker.submit(replace(ORDER, symbol="NONE"))
    setup.let_a_session_pass()
    state = setup.broker.lookup(ORDER.client_order_id)
    assert state.status in ("expired", "rejected")
    assert state.reason


@pytest.mark.parametrize("shares", [0.0, -1.0, float("nan"), float("inf")])
def test_an_empty_order_cannot_be_made(shares) -> None:
    with pytest.raises(BrokerError, match="positive number of shares"):
        replace(ORDER, shares=shares)


def test_an_order_survives_json() -> None:
    assert Order.from_json(ORDER.to_json()) == ORDER
