from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.services.desk_run import DeskRun, make_run
from trading_rlhf.market import Bars, load_sample
from trading_rlhf.services.review import ReviewService
from trading_rlhf.services.runs import Run, open_run
from trading_rlhf.services.secrets import Secrets


@pytest.fixture
def secrets(audit_key: bytes) -> Secrets:
    return Secrets(audit_key, "session key of the tests, 32 long")


@pytest.fixture(scope="session")
def bars() -> Bars:
    return load_sample("us4")


@pytest.fixture
def desk_run(tmp_path: Path, audit_key: bytes, clock: Any) -> DeskRun:
    return make_run(
        tmp_path / "desk", audit_key, clock, live_until=clock() + timedelta(hours=2, minutes=5)
    )


@pytest.fixture
def run(desk_run: DeskRun, secrets: Secrets, clock: Any) -> Iterator[Run]:
    run = open_run(desk_run.path, secrets, clock)
    yield run
    run.close()


@pytest.fixture
def service(run: Run, clock: Any) -> ReviewService:
    return ReviewService(run, clock)
