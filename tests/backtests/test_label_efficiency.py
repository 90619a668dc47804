"""The study runs end to end, tiny; its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from backtests.run_label_efficiency import ARMS, main

CONFIG = Path(__file__).parents[2] / "backtests/configs/label_efficiency_smoke.yaml"


def test_smoke_run_writes_every_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    assert main(["--config", str(CONFIG), "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    assert {row["arm"] for row in content["rows"]} == set(ARMS)
    assert set(content["differences"]["60"]) == {"approval", "approval_count", "growth", "sharpe"}
    kinds = content["kinds"]
    assert set(kinds) >= {"verdicts", "mix"}
    assert kinds["verdicts"]["minus_verdicts"] == 0
    assert kinds["verdicts"]["minutes"] == 6.0
    assert kinds["mix"]["answers_per_minute"] < 10
    assert "shaped minus base + filter" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["seeds: []", "bogus: 3", "- list", "a: ["])
def test_a_wrong_config_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    assert main(["--config", str(config), "--out", str(tmp_path / "r.json")]) == 1
    assert capsys.readouterr().err.startswith("Error: ")
    assert not (tmp_path / "r.json").exists()
