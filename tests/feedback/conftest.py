"""A store, reviewers and proposals; identities are account ids, as a server would pass them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trading_rlhf.feedback import Account, ReviewDesk, create_account
from trading_rlhf.proposals import Proposal
from trading_rlhf.store import Store, open_store

CLOSE = datetime(2026, 1, 2, 21, tzinfo=UTC)


def make_proposal(number: int = 0, **changes: object) -> Proposal:
    """A masked proposal; ``number`` is its bar, and its close that many days on."""
    close = CLOSE + timedelta(days=number)
    proposal = Proposal(
        id=f"proposal-{number}",
        market="us4",
        symbol="IBM",
        mode="history",
        bar=100 + number,
        known_at=close,
        decided_at=close,
        earliest_fill_at=close + timedelta(hours=17),
        expires_at=close + timedelta(hours=17),
        horizon=20,
        held=0.1,
        target=0.3,
        price=120.0,
        equity=1_000_000.0,
        cost=0.0001,
        confidence=0.7,
        reasons=(),
        feature_names=("trend_60", "reversal_5"),
        features=(1.0, -0.5),
        portfolio={"IBM": 0.1},
        planned={"IBM": 0.3},
        entry_price=None,
        open_profit=None,
        policy_id="policy-1",
        data_sha256="0" * 64,
    )
    return replace(proposal, **changes)


@pytest.fixture
def proposal() -> Callable[..., Proposal]:
    return make_proposal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, audit_key: bytes, clock) -> Iterator[Store]:
    with open_store(path, audit_key, clock) as opened:
        yield opened


@pytest.fixture
def person(store: Store) -> Callable[[str], Account]:
    """Makes a reviewer without a password: tests of the desk need no login."""
    return lambda name: create_account(store, name, None, "reviewer")


@pytest.fixture
def ann(person) -> str:
    return person("ann").id


@pytest.fixture
def bob(person) -> str:
    return person("bob").id


@pytest.fixture
def desk(store: Store, clock) -> ReviewDesk:
    return ReviewDesk(store, clock)
