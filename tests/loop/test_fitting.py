"""A training from its start to its end: killed, exploding, and ended early."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.agent import ProfitReward
from trading_rlhf.config import read_config
from trading_rlhf.errors import CheckpointError, DataError, TrainingError
from trading_rlhf.loop import Context, SettableClock, fitting, open_context, train_base
from trading_rlhf.market import load_sample, write_bars
from trading_rlhf.proposals import HORIZON

QUICK = {"train.iterations": 60, "train.batch": 4, "train.horizon": 4}
PPO = {"train.method": "ppo", "train.ppo.epochs": 2}


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "us4.parquet"
    write_bars(load_sample("us4").window(1000, 1800), path)
    return path


def opened(folder: Path, bars_file: Path, **settings: object) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    config = read_config(None, {"data": str(bars_file), **QUICK, **settings})
    return open_context(folder, KEY, SettableClock(present), config)


def trained(folder: Path, bars_file: Path, **settings: object) -> tuple[dict, list]:
    """Record and weights of a base policy."""
    context = opened(folder, bars_file, **settings)
    try:
        train_base(context, silent)
        policy, _ = context.policy("base")
        event = context.newest("policy", "base")
    finally:
        context.store.close()
    return event.payload, [p.detach().clone() for p in policy.parameters()]


# Killed


@pytest.mark.parametrize("method", [{}, PPO], ids=["apg", "ppo"])
def test_killed_and_resumed_it_ends_at_the_same_bits(
    tmp_path: Path, bars_file: Path, method: dict
) -> None:
    """Of the weights and of the id, which hashes them; early stop and histories included."""
    settings = {
        **QUICK, **method, "train.iterations": 110, "data": str(bars_file), "histories": 1,
        "train.patience": 100, "train.check_every": 25,
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(json.dumps(nested(settings)))
    command = [sys.executable, "-m", "trading_rlhf", "train", "--config", "run.yaml", "--json"]
    environment = {
        **os.environ, "TRLHF_AUDIT_KEY": "k" * 40, "TRLHF_SESSION_KEY": "s" * 40,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    kept = tmp_path / "killed" / "training.json"
    running = subprocess.Popen(
        [*command, "--run", "killed"], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while running.poll() is None and not kept.exists():
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    said = running.communicate()
    assert running.returncode == -signal.SIGKILL, said
    assert 50 <= json.loads(kept.read_text())["iteration"] < 110
    assert not list((tmp_path / "killed").glob("policies/*"))
    found = {}
    for run in ("killed", "whole"):
        done = subprocess.run(
            [*command, "--run", run], cwd=tmp_path, env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        found[run] = json.loads(done.stdout)
        (file,) = (tmp_path / run / "policies").glob("*.safetensors")
        found[run]["bytes"] = file.read_bytes()
        assert not kept.exists()
    assert found["killed"]["bytes"] == found["whole"]["bytes"]
    assert found["killed"]["stopped"] == found["whole"]["stopped"]


def nested(settings: dict) -> dict:
    found: dict = {}
    for name, value in settings.items():
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


# Exploding


class Spoilt:
    """Profit until a step, then what breaks a training."""

    def __init__(self, steps: int, with_what: float) -> None:
        self.left, self.with_what = steps, with_what

    def __call__(self, log_growth, change, approval):
        self.left -= 1
        reward = ProfitReward(5.0)(log_growth, change, approval)
        return reward if self.left >= 0 else reward * self.with_what


@pytest.mark.parametrize("method", [{}, PPO], ids=["apg", "ppo"])
@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_what_explodes_keeps_its_last_checkpoint_and_goes_on_at_another_rate(
    tmp_path: Path, bars_file: Path, monkeypatch: pytest.MonkeyPatch, method: dict, factor: float
) -> None:
    spoilt = Spoilt(52 * 4, factor)
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "ProfitReward", lambda risk_aversion: spoilt)
        with pytest.raises(
            TrainingError,
            match=r"; got a .* of -?(nan|inf) in iteration 53\. "
            r"Train again with .*learning-rate: it starts from iteration 50\.",
        ):
            trained(tmp_path / "a", bars_file, **method)
    kept = json.loads((tmp_path / "a" / "training.json").read_text())
    assert (kept["iteration"], len(kept["history"])) == (50, 50)
    assert not list((tmp_path / "a").glob("policies/*"))
    with pytest.raises(CheckpointError, match="only with its own settings"):
        trained(tmp_path / "a", bars_file, **method, **{"train.weight_decay": 0.2})
    name = "train.ppo.learning_rate" if method else "train.learning_rate"
    record, weights = trained(tmp_path / "a", bars_file, **method, **{name: 1e-4})
    (setback,) = record["setbacks"]
    assert (setback["at"], setback["back_to"]) == (53, 50)
    assert setback["learning_rate"] == pytest.approx(1.1e-3 if method else 3.1e-3)
    assert all(w.isfinite().all() for w in weights)
    usual, others = trained(tmp_path / "b", bars_file, **method)
    assert "setbacks" not in usual
    assert any(not torch.equal(x, y) for x, y in zip(weights, others, strict=True))


def test_before_the_first_checkpoint_it_starts_anew(tmp_path: Path, bars_file: Path) -> None:
    with pytest.raises(TrainingError, match=r"got a weight of .* it starts anew\."):
        trained(tmp_path / "a", bars_file, **{"train.learning_rate": 1e6})
    assert not list((tmp_path / "a").glob("training*"))
    assert not list((tmp_path / "a").glob("policies/*"))


# Ended early


def test_it_ends_where_checks_bring_nothing_better_and_keeps_the_best(
    tmp_path: Path, bars_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, seen = iter([1.0, 3.0, 2.0, 3.0, 2.9]), []

    def score(context, training):
        seen.append([p.detach().clone() for p in training.policy.parameters()])
        return next(scores)

    monkeypatch.setattr(fitting, "_score", score)
    early = {"train.patience": 3, "train.check_every": 4}
    record, weights = trained(tmp_path / "a", bars_file, **early)
    told = record["stopping"]
    assert (told["best"], told["trained"], told["checks"], told["score_bps"]) == (8, 20, 5, 3e4)
    assert all(torch.equal(x, y) for x, y in zip(weights, seen[1], strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(weights, seen[-1], strict=True))


def test_without_patience_nothing_is_checked(
    tmp_path: Path, bars_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_score", lambda *_: pytest.fail("checked"))
    record, _ = trained(tmp_path / "a", bars_file)
    assert "stopping" not in record


def test_what_stops_a_training_does_not_choose_the_champion(
    tmp_path: Path, bars_file: Path
) -> None:
    plain = opened(tmp_path / "a", bars_file)
    early = opened(tmp_path / "b", bars_file, **{"train.patience": 2})
    try:
        assert len(plain.stopping_bars) == 0
        assert early.train_bars == plain.train_bars
        assert early.test_bars == plain.test_bars
        stopping, judging = early.stopping_bars, early.validation_bars
        assert stopping.start == plain.validation_bars.start
        assert stopping.start - early.train_bars.stop == HORIZON
        assert judging.start - stopping.stop == HORIZON
        assert judging.stop == plain.validation_bars.stop
        assert abs(len(stopping) - len(judging)) <= 1
        train_base(early, silent)
        last = early.newest("policy", "base").payload["trained_to"]
        assert last == early.bars.dates[stopping[-1]].isoformat()
    finally:
        plain.store.close()
        early.store.close()
    with pytest.raises(DataError, match="stopping early needs at least 20 bars"):
        opened(tmp_path / "c", bars_file, **{"train.patience": 2, "validation_fraction": 0})


def test_a_check_scores_the_stopping_bars_alone(tmp_path: Path, bars_file: Path) -> None:
    """A fall there counts; what comes after does not."""
    context = opened(tmp_path / "a", bars_file, **{"train.patience": 2})
    try:
        train_base(context, silent)
        policy, _ = context.policy("base")
        training = type("Trained", (), {"policy": policy})
        bars = context.stopping_bars

        def score(row: int) -> float:
            fall = context.market.intraday.clone()
            fall[row] = -0.5
            return fitting._score(
                replace(context, market=replace(context.market, intraday=fall)), training
            )

        usual = fitting._score(context, training)
        assert score(bars[-1]) < usual - 1e-4
        assert score(bars[-1] + 1) == usual == score(bars[0] - 1)
    finally:
        context.store.close()
