"""The study runs end to end, tiny; its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from backtests.run_walk_forward import main
from trading_rlhf.loop import EQUAL, HOLD, POLICY
from trading_rlhf.market import load_sample, write_bars

CONFIG = Path(__file__).parents[2] / "backtests/configs/walk_forward_smoke.yaml"


def test_smoke_run_compares_the_policy_with_both_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = tmp_path / "bars.parquet"
    write_bars(load_sample("us4").window(1200, 1600), bars)
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.read_text().replace("us4", str(bars)))
    out = tmp_path / "result.json"
    assert main(["--config", str(config), "--out", str(out)]) == 0
    (entry,) = json.loads(out.read_text())["data"]
    assert list(entry["headlines"]) == [POLICY, EQUAL, HOLD]
    # 3 trainings of the cross-validation; of each seed 2 trainings, their chain and two rules.
    assert entry["trials"] == 3 + 2 * (2 + 1 + 2)
    assert list(entry["seeds"]) == ["0", "1"]
    assert len(entry["total_return"][POLICY]) == 2
    assert len(entry["total_return"][HOLD]) == 1
    first, second = (entry["seeds"][seed]["measures"] for seed in "01")
    assert first[HOLD] == second[HOLD]
    assert first[POLICY] != second[POLICY]
    said = capsys.readouterr().out
    assert "mean of 2 seeds" in said
    assert "Cross-validation, Sharpe ratio by path" in said


@pytest.mark.parametrize("text", ["seeds: []", "bogus: 3", "- list", "a: [", "data: [none.csv]"])
def test_a_wrong_config_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"{text}\nseeds: [0]\nworkers: 1" if "none" in text else text)
    assert main(["--config", str(config), "--out", str(tmp_path / "r.json")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("Error: ")
    assert "Traceback" not in said.err
    assert not (tmp_path / "r.json").exists()
