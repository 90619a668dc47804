import json
from datetime import datetime

import pytest

from trading_rlhf.broker import SCHEMA_VERSION, Signal
from trading_rlhf.errors import BrokerError


def test_a_signal_survives_json(make_signal) -> None:
    signal = make_signal(p=0.1 + 0.2, note="scaled")
    assert Signal.from_json(json.loads(json.dumps(signal.to_json()))) == signal


def test_shares_are_signed_by_the_side(make_signal) -> None:
    assert make_signal().signed_shares == pytest.approx(400.0)
    assert make_signal(target=-0.06).signed_shares == pytest.approx(-400.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"side": "sell"}, "side must lead from held to target"),
        ({"target": 0.02}, "shares must be positive"),
        ({"shares": float("inf")}, "shares must be positive"),
        ({"price": -1.0, "shares": 1.0}, "price must be positive"),
        ({"decided_at": datetime(2026, 1, 5)}, "time zone"),
        ({"version": SCHEMA_VERSION + 1}, "schema version"),
    ],
)
def test_a_malformed_signal_is_refused(make_signal, changes: dict, sentence: str) -> None:
    with pytest.raises(BrokerError, match=sentence):
        make_signal(**changes)


@pytest.mark.parametrize("change", [lambda d: d.pop("chain_head"), lambda d: d.update(extra=1)])
def test_json_of_another_schema_is_refused(make_signal, change) -> None:
    data = make_signal().to_json()
    change(data)
    with pytest.raises(BrokerError, match="exactly the fields"):
        Signal.from_json(data)
