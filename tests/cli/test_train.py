"""``train`` as a user types it, by either method."""

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.cli.conftest import Said

Run = Callable[..., Said]
FEW = ("--train.method", "ppo", "--train.iterations", "2", "--train.batch", "8",
       "--train.ppo.epochs", "2")  # fmt: skip


def test_a_base_policy_by_ppo(run: Run, tmp_path: Path) -> None:
    said = run("train", "--run", "x", *FEW, "--train.ppo.learning-rate", "3e-4", "--json")
    assert said.status == 0
    facts = json.loads(said.out)
    assert (facts["kind"], facts["iterations"]) == ("base", 2)
    assert (tmp_path / "x" / "policies" / f"{facts['policy']}.safetensors").is_file()
    kept = yaml.safe_load((tmp_path / "x" / "config.yaml").read_text())["train"]
    assert (kept["method"], kept["ppo"]["learning_rate"], kept["ppo"]["epochs"]) == ("ppo", 3e-4, 2)
    usual = run("train", "--run", "y", *FEW, "--json")
    assert json.loads(usual.out)["policy"] != facts["policy"]
    again = run("train", "--run", "z", *FEW, "--train.ppo.learning-rate", "3e-4", "--json")
    assert json.loads(again.out)["policy"] == facts["policy"]


def test_a_setting_of_ppo_out_of_range_is_one_sentence(run: Run) -> None:
    said = run("train", "--run", "x", *FEW, "--train.ppo.clip", "2")
    assert said.status != 0
    assert "clip" in said.sentence
    assert "Traceback" not in said.err + said.out
    said = run("train", "--run", "x", "--train.method", "sac")
    assert said.status != 0
    assert "apg" in said.sentence
    assert "Traceback" not in said.err + said.out
