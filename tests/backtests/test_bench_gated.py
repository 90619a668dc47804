"""The benchmark of backtests under a desk runs, and times nothing that is not the walk."""

import json

import pytest

from backtests.speed import bench_gated


def test_a_small_run_reports_every_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_gated.main(["--tiny", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    paths = {name.rpartition(", ")[0] for name in report["asset_bars"]}
    assert paths == {*bench_gated.ROLES, "walk, ungated", "walk, filter"}
    for rates in report["asset_bars"].values():
        assert 0 < rates["per_second_min"] <= rates["per_second"] <= rates["per_second_max"]
    assert len(report["times_ungated"]) == 3
    assert {"commit", "processor", "torch", "numba"} <= set(report["machine"])


def test_a_loop_that_is_not_the_walk_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = bench_gated.World.walk
    monkeypatch.setattr(bench_gated.World, "walk", lambda *given: exact(*given) + 1e-3)
    assert bench_gated.main(["--tiny"]) == 1
    assert "differs from the walk" in capsys.readouterr().err
