"""The command line as a user types it, in a folder of its own."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from trading_rlhf.cli import main


@dataclass(frozen=True)
class Said:
    """What a command printed and returned."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        return " ".join(self.err.split())


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run a command in this process, with keys in the environment, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRLHF_AUDIT_KEY", "a key for tests, long enough, of 32 bytes")
    monkeypatch.setenv("TRLHF_SESSION_KEY", "another key for tests, of 32 bytes")

    def call(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, said.out, said.err)

    return call


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a process of its own."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trading_rlhf", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    return call
