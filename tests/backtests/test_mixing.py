"""The study of mixing runs end to end, tiny, and its desks resize to what they approve of."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import yaml

from backtests.mixing_arms import LESSONS, PREPARED, MixingConfig, answer_trades, make_world
from backtests.planted_desks import meet_trades
from backtests.run_mixing import main, verdicts
from trading_rlhf.agent import Policy, PolicyConfig
from trading_rlhf.proposals import TradeTensors

CONFIG = Path(__file__).parents[2] / "backtests/configs/mixing_smoke.yaml"


def test_a_smoke_run_writes_every_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    assert main(["--config", str(CONFIG), "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    arms = {(row["study"], row["encoder"], row["arm"]) for row in content["rows"]}
    assert arms == {("pre-training", kind, arm) for kind in ("mlp", "gru") for arm in PREPARED} | {
        ("imitation", "mlp", arm) for arm in LESSONS
    }
    for row in content["rows"]:
        assert row["bars"] == 360
        assert ("more" in row) == (row["arm"] != "none")
    shown = capsys.readouterr().out
    assert "imitation, resizes: better in" in shown


def test_a_wrong_config_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.read_text().replace("planted", "moon"))
    assert main(["--config", str(config), "--out", str(tmp_path / "r.json")]) == 1
    assert capsys.readouterr().err.startswith("Error: ")
    assert not (tmp_path / "r.json").exists()


def test_better_is_better_over_bars_over_policies_and_than_the_placebo() -> None:
    row = {"study": "imitation", "arm": "resizes", "more": 1.0, "low": 0.5, "high": 1.5}
    sure, few = {**row, "policies_se": 0.2}, {**row, "policies_se": 0.7}
    worse = {**row, "more": -1.0, "low": -1.5, "high": -0.5, "policies_se": 0.2}
    beyond = [{**one, "beyond_placebo": other} for one in (sure, worse) for other in (sure, few)]
    said = verdicts([sure, few, worse, *beyond])["imitation, resizes"]
    assert said.startswith("better in 2 of 7, worse in 1, neither in 4")


def test_a_resize_is_the_largest_part_that_the_desk_approves_of() -> None:
    settings = yaml.safe_load(CONFIG.read_text())
    config = MixingConfig(**{**settings, "mistake": 0.0, "answers": 200})
    world = make_world("planted", config)
    # One that wants much of few assets, which the desk finds too crowded.
    base = Policy(5, PolicyConfig(tilt=8.0), 2, torch.Generator().manual_seed(0))
    base.head_weight.data *= 10.0
    first, _ = answer_trades(config, world, base)
    met = meet_trades(
        base.select([0]), world.market, world.bars, config.costs, config.gate, 400,
        torch.Generator().manual_seed(1000),
    )  # fmt: skip
    assert len(first.bars) > 0
    assert ((first.share > 0) & (first.share < 1)).all()
    trades = met.trades(world.market.features)
    # Each resized trade again, at its share, a tenth more, and whole.
    for bar, held, asset, share in zip(
        first.bars, first.held, first.asset, first.share, strict=True
    ):
        same = (met.t == bar) & (met.asset == asset) & (met.held == held).all(-1)
        (row,) = same.nonzero()[:, 0].tolist()
        one = TradeTensors(*(getattr(trades, field.name)[[row]] for field in fields(trades)))
        before, change = one.held[:, 0], one.target - one.held[:, 0]

        def p(part: float, one=one, before=before, change=change) -> float:
            return float(replace(one, target=before + part * change).approval(first.desk))

        assert p(float(share)) > 0.5
        assert p(float(share) + 0.1) <= 0.5
        assert p(1.0) <= 0.5
