"""``train`` as a user types it, by either method."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
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


def test_a_training_that_explodes_is_one_sentence(run: Run, tmp_path: Path) -> None:
    few = ("--train.iterations", "5", "--train.batch", "4", "--train.horizon", "4")
    said = run("train", "--run", "x", *few, "--train.learning-rate", "1e20", "--json")
    assert (said.status, said.out) == (1, "")
    assert "Error: a training's rewards, gradients and weights must stay finite" in said.sentence
    assert "in iteration 1. Train again with a smaller --train.learning-rate" in said.sentence
    assert not (tmp_path / "x" / "policies").exists()
    again = run("train", "--run", "x", *few, "--train.learning-rate", "1e-3", "--json")
    assert again.status == 0


def test_a_training_that_ends_early_says_what_ended_it(run: Run) -> None:
    few = ("--train.iterations", "4", "--train.batch", "4", "--train.horizon", "4",
           "--train.check-every", "2", "--train.patience", "1")  # fmt: skip
    said = run("train", "--run", "x", *few, "--json")
    assert "a champion is chosen on later bars" in json.loads(said.out)["stopped"]
    said = run("train", "--run", "y", "--shape.patience", "3")
    assert said.status != 0
    assert "patience" in said.sentence


def test_scalars_for_tensorboard(run: Run, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    few = ("--train.iterations", "4", "--train.batch", "4", "--train.horizon", "4",
           "--train.check-every", "2", "--train.patience", "9")  # fmt: skip
    assert run("train", "--run", "x", *few, "--json").status == 0
    events = reading.EventAccumulator(str(tmp_path / "x" / "tensorboard")).Reload()
    steps = {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    each = [1, 2, 3, 4]
    assert steps == {
        "reward/0": each, "gradient_norm/0": each, "learning_rate": each, "stopping_bars": [2, 4],
    }  # fmt: skip
    rates = [e.value for e in events.Scalars("learning_rate")]
    assert rates == pytest.approx([3e-3 * (1 - i / 4) + 1e-4 for i in range(4)])


def test_scalars_of_ppo(run: Run, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run("train", "--run", "x", *FEW, "--json").status == 0
    events = reading.EventAccumulator(str(tmp_path / "x" / "tensorboard")).Reload()
    steps = {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    own = ("kl", "clip_fraction", "value_loss", "explained_variance", "exploration_std")
    each = [1, 2]
    assert steps == {
        "reward/0": each, "gradient_norm/0": each, "learning_rate": each,
        **{f"{name}/0": each for name in own},
    }  # fmt: skip
    assert all(0.8 < e.value < 1.2 for e in events.Scalars("exploration_std/0"))


def test_a_terminal_sees_figures_and_json_sees_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--train.iterations", "3", "--train.batch", "4", "--train.horizon", "4")
    assert run("train", "--run", "x", *few, "--json").err == ""
    assert run("train", "--run", "y", *few).sentence == "training the base policy ..."
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = run("train", "--run", "z", *few)
    assert said.status == 0
    for word in ("gradient norm", "elapsed", "3 of 3"):
        assert word in said.sentence
    assert "value loss" not in said.sentence
    said = run("train", "--run", "w", *FEW)
    for word in ("gradient norm", "2 of 2", "divergence", "clipped", "value loss", "explained",
                 "exploration"):  # fmt: skip
        assert word in said.sentence
