"""A store in a temporary folder, and the means to tamper with it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from trading_rlhf.store import Store, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def head(tmp_path: Path) -> Path:
    return tmp_path / "audit_head.json"


@pytest.fixture
def store(path: Path, audit_key: bytes, clock) -> Iterator[Store]:
    with open_store(path, audit_key, clock) as opened:
        yield opened


@pytest.fixture
def tamper(path: Path):
    """Runs one statement as somebody with the file in hand would: without the triggers."""

    def run(statement: str, values: tuple = ()) -> None:
        connection = sqlite3.connect(path)
        names = connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
        for (name,) in names.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        done = connection.execute(statement, values)
        assert done.rowcount != 0, "the statement must change something"
        connection.commit()
        connection.close()

    return run


@pytest.fixture
def proposal_payload() -> dict:
    """The least that the store asks of a proposal."""
    return {
        "id": "p1",
        "market": "us4",
        "symbol": "IBM",
        "mode": "live",
        "bar": 7,
        "known_at": "2024-03-01T16:00:00-05:00",
        "expires_at": "2024-03-04T14:25:00+00:00",
        "policy_id": "policy-1",
        "target": 0.25,
    }
