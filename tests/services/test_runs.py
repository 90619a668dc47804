from pathlib import Path
from typing import Any

import pytest

from tests.services.desk_run import DeskRun
from trading_rlhf.errors import ConfigError, RunError
from trading_rlhf.market import load_bars
from trading_rlhf.services.runs import open_run, system_clock
from trading_rlhf.services.secrets import Secrets


def test_a_run_opens_with_its_settings_and_bars(
    desk_run: DeskRun, secrets: Secrets, clock: Any
) -> None:
    run = open_run(desk_run.path, secrets, clock)
    assert run.config.data == "us4"
    assert load_bars(run.config.data).sha256 == desk_run.bars.sha256
    run.close()


def test_a_missing_run_is_said_to_be_missing(tmp_path: Path, secrets: Secrets, clock: Any) -> None:
    with pytest.raises(RunError, match=r"config\.yaml"):
        open_run(tmp_path / "nowhere", secrets, clock)
    assert not (tmp_path / "nowhere").exists()


def test_a_broken_configuration_is_no_traceback(
    tmp_path: Path, secrets: Secrets, clock: Any
) -> None:
    (tmp_path / "config.yaml").write_text("data: [unclosed")
    with pytest.raises(ConfigError, match="readable YAML"):
        open_run(tmp_path, secrets, clock)


def test_the_system_clock_carries_a_zone() -> None:
    assert system_clock().utcoffset() is not None
