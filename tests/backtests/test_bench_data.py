"""The benchmark of loading, validating and featurizing runs, and says what it measured."""

import json

import pytest

from backtests.speed import bench_data


def test_a_small_run_reports_both_panels(capsys: pytest.CaptureFixture[str]) -> None:
    report = bench_data.main(["--tiny", "--json"])
    assert json.loads(capsys.readouterr().out) == report
    assert {name: case["bars"] for name, case in report["cases"].items()} == {
        "daily": 150,
        "hourly": 1050,
    }
    for case in report["cases"].values():
        assert set(case["seconds"]) == {"read", "check", "features"}
        assert case["seconds_total"] > 0.0
        assert 0.01 < case["peak_gib"] < 4.0
        assert case["within_60_s_and_4_gib"]
    assert report["machine"]["cores"] > 0
    assert {"commit", "date", "processor"} <= set(report["machine"])


def test_what_is_too_slow_or_too_large_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"read": 50.0, "check": 5.0, "features": 4.0, "peak_gib": 3.0, "sha256": "a"}
    case, made = {"assets": 2, "repeats": 1}, {"bars": 9, "sha256": "a"}

    def figures(**changes: object) -> dict:
        monkeypatch.setattr(bench_data, "_run", lambda *arguments: run | changes)
        return bench_data._case(case, made, bench_data.Path(__file__))

    assert figures()["within_60_s_and_4_gib"]
    assert not figures(read=52.0)["within_60_s_and_4_gib"]
    assert not figures(peak_gib=4.1)["within_60_s_and_4_gib"]


def test_bars_that_came_back_changed_stop_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_data, "_run", lambda *arguments: {"sha256": "read"})
    case, made = {"assets": 2, "repeats": 1}, {"bars": 9, "sha256": "written"}
    with pytest.raises(SystemExit, match="not those that were written"):
        bench_data._case(case, made, bench_data.Path(__file__))
