"""The benchmark of the GPU backtest says so where there is none, and gives no figures."""

import json
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from backtests.speed import bench_cuda


def test_without_a_gpu_there_are_no_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = bench_cuda.main(["--json"])
    assert json.loads(capsys.readouterr().out) == report
    assert report["cuda"] is None
    assert set(report) == {"benchmark", "cuda", "missing"}
    bench_cuda.main([])
    assert capsys.readouterr().out == report["missing"] + "\n"
    assert report["missing"].count(".") == 1


def test_figures_of_a_wrong_backtest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    size = bench_cuda.Size((2,), 30, 2)

    wrong = SimpleNamespace(measures=defaultdict(lambda: float("nan")))
    monkeypatch.setattr(bench_cuda, "run_scan", lambda *arguments: wrong)
    with pytest.raises(SystemExit, match="away from the reference"):
        bench_cuda.check(size, "cpu")
