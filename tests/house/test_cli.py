"""The verbs that scripts and the README rely on keep their names and exit codes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trading_rlhf.cli import main

VERBS = {
    "": {"demo", "data", "train", "propose", "review", "learn", "backtest", "export", "users"}
    | {"audit", "status", "stress", "promote", "rollback"},
    "data": {"fetch", "check", "cache", "features", "make"},
    "audit": {"verify"},
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("trading-rlhf")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )


def commands(page: str) -> set[str]:
    """Names in the first column of the help's tables."""
    return set(re.findall(r"^│ ([a-z][a-z-]*)", page, re.MULTILINE))


def test_the_program_lists_every_verb() -> None:
    page = run("--help")
    assert page.returncode == 0, page.stderr
    assert VERBS[""] - commands(page.stdout) == set()


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_lists_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--help"])
    assert ended.value.code in (None, 0)
    assert VERBS[verb] - commands(capsys.readouterr().out) == set()


def test_an_unknown_verb_is_a_usage_error() -> None:
    answer = run("predict")
    assert answer.returncode == 2
    assert "Traceback" not in answer.stdout + answer.stderr
