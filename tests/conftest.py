"""Fixtures for every room: time, keys and randomness are passed in, never found."""

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def set(self, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("the clock of a test carries a time zone, too")
        self.now = now.astimezone(UTC)

    def advance(self, **units: float) -> None:
        """Move on by the keywords of ``timedelta``: ``clock.advance(minutes=11)``."""
        self.now += timedelta(**units)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 1, 5, 12, tzinfo=UTC))


@pytest.fixture
def audit_key() -> bytes:
    return b"audit key of the tests, 32 bytes"


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def torch_generator() -> "torch.Generator":
    import torch

    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    # Small tensors lose more to threads than they gain, and other tests share the cores.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
