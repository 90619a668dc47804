"""One small demo, run once for all tests of the loop."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trading_rlhf.config import RunConfig, read_config
from trading_rlhf.loop import SettableClock, run_demo

KEY = b"a key for tests, long enough"
SMALL = {
    "train.iterations": 30,
    "shape.iterations": 8,
    "ask.answers": 80,
    "replay.sessions": 25,
    "placebos": 2,
    "fit.iterations": 80,
    "train_fraction": 0.9,
}


def silent(stage: str, done: int, total: int) -> None:
    """Take progress and show nothing."""


def present() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def small_config(**overrides: object) -> RunConfig:
    return read_config(None, {**SMALL, **overrides})


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small demo; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    run_demo(folder, small_config(), KEY, SettableClock(present), silent)
    return folder


@pytest.fixture(scope="session")
def demo_summary(demo_run: Path) -> dict:
    return json.loads((demo_run / "summary.json").read_text())
