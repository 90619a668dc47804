"""The benchmark of environments runs, compares before it times, and refuses what is not equal."""

import json
import warnings
from dataclasses import replace

import pytest
import torch

from backtests.speed import bench_env


def test_a_small_run_reports_every_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_env.main(["--tiny", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    kinds = {name.partition(",")[0] for name in report["steps"]}
    assert {"env.step", "compiled", "torch", "TradingEnv"} <= kinds
    for rates in report["steps"].values():
        assert 0 < rates["per_second_min"] <= rates["per_second"] <= rates["per_second_max"]
        assert rates["repeats"] == 5
    assert {"commit", "date", "processor", "cores", "torch", "numba"} <= set(report["machine"])
    assert report["threads"]["numba_layer"] in ("omp", "tbb", "workqueue")
    assert ("ratio_to_gym_trading_env" in report) == ("gym-trading-env 0.3.5" in kinds)
    # The peer turns warnings into errors for the whole process when it is imported.
    assert warnings.filters[0][0] != "error"


def test_a_table_fits_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rates = dict.fromkeys(("per_second", "per_second_min", "per_second_max"), 12_345_678.0)
    report = {
        "steps": {"env.step, float32, 65536 envs": rates},
        "ratio_to_gym_trading_env": 200.4,
        "first_step_seconds": {"float32, 65536 envs": 1.25},
        "memory": {"share_of_copy": {"compiled, float32, 65536 envs": 0.5}},
        "machine": bench_env.machine_facts(),
    }
    bench_env.show(report)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any("12.3 M" in line.replace("\u00a0", " ") for line in lines)
    assert any("200 times" in line for line in lines)


def test_a_step_that_is_not_the_law_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = bench_env.fast_step

    def generous(env):
        step = exact(env)

        def one(accounts, target):
            moved = step(accounts, target)
            return replace(moved, reward=moved.reward + 1e-3)

        return one

    monkeypatch.setattr(bench_env, "fast_step", generous)
    assert bench_env.main(["--tiny"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        "Error: nothing was timed; a step differs from the reference by 1.0e"
    )
    assert said.out == ""


def test_no_device_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_env.main(["--device", "cuda"]) == 1
    assert "this machine has none" in capsys.readouterr().err


def test_the_market_has_everything_that_the_law_knows() -> None:
    bars, market = bench_env.make_world(300)
    assert 0.01 < (~bars.tradable).mean() < 0.1
    assert market.delists
    assert market.cost_scale is not None
    costs = bench_env.make_costs()
    assert isinstance(costs.half_spread_bps, tuple)
    assert costs.cash_bps_per_year > 0
    assert costs.margin_bps_per_year > 0
