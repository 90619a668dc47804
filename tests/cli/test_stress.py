"""``trading-rlhf stress`` as a user types it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("runs/none",), 1, "config.yaml"),
        (("runs/none", "--only", "earthquake"), 1, "earthquake"),
        (("runs/none", "--levels", "easy", "brutal"), 1, "brutal"),
        (("runs/none", "--policy", "oracle"), 2, "oracle"),
        (("runs/none", "--draws", "none"), 2, "none"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Callable[..., Said], tmp_path: Path, arguments: tuple, status: int, words: str
) -> None:
    said = run("stress", *arguments)
    assert said.status == status
    assert words in said.sentence
    assert "Traceback" not in said.err + said.out
    assert not (tmp_path / "runs/none").exists()
