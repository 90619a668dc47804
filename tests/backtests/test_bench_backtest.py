"""The benchmark of backtests runs, compares before it times, and refuses what is not equal."""

import json

import numpy as np
import pytest

from backtests.speed import bench_backtest
from trading_rlhf.market import gbm_market


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without peers and other processes, which take longer to load than to run."""
    monkeypatch.setattr(bench_backtest, "vectorbt_engines", list)
    monkeypatch.setattr(bench_backtest, "peer_name", lambda package: None)
    monkeypatch.setattr(bench_backtest, "fresh_seconds", lambda: {"first call": 1.0})


def test_a_small_run_reports_every_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_backtest.main(["--tiny", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    kinds = {name.partition(",")[0] for name in report["asset_bars"]}
    assert kinds == {
        "read only", "full law", "vectorbt's rules", "full law and gradient", "full law in torch",
        "ours",
    }  # fmt: skip
    for rates in (report["asset_bars"] | report["one_strategy"]).values():
        assert 0 < rates["per_second_min"] <= rates["per_second"] <= rates["per_second_max"]
    assert set(report["share_of_read_rate"]) == {"full law, 8", "vectorbt's rules, 8"}
    assert {"commit", "date", "processor", "cores", "torch", "numba"} <= set(report["machine"])
    assert report["licences"]["backtesting"].startswith("AGPL")


def test_a_table_fits_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rates = {"per_second": 1.23e9, "per_second_min": 1e9, "per_second_max": 2e9, "repeats": 5}
    report = {
        "asset_bars": {"full law, 512, limit binds in every bar": rates},
        "one_strategy": {"ours, 20 assets": rates},
        "share_of_read_rate": {"full law, 512": 0.42},
        "times_vectorbt": {"vectorbt numba, 512": {"median": 640.2, "min": 600.0, "max": 700.0}},
        "times_peers": {},
        "seconds": {"first call after imports": 0.8},
        "machine": bench_backtest.machine_facts(),
    }
    bench_backtest.show(report)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any("1.23 G" in line.replace("\u00a0", " ") for line in lines)
    assert "640 times vectorbt numba, 512 (600 - 700)" in lines


def test_ratios_are_taken_run_by_run() -> None:
    timings = {
        "ours": bench_backtest.Timing((1.0, 2.0)),
        "peer": bench_backtest.Timing((10.0, 40.0)),
    }
    found = bench_backtest.ratios_of(timings)["peer"]
    assert found == {"median": 15.0, "min": 10.0, "max": 20.0, "repeats": 2}


def test_each_of_ours_has_its_ratio_to_the_peers_after_it() -> None:
    seconds = {
        "ours, 1 asset": 1.0, "another, 1 asset": 3.0, "ours, full law, 8": 2.0,
        "ours, plain, 8": 1.0, "peer, 8": 10.0, "rival, 8": 20.0,
    }  # fmt: skip
    found = bench_backtest.ratios_of(
        {name: bench_backtest.Timing((one, one)) for name, one in seconds.items()}
    )
    assert {name: ratio["median"] for name, ratio in found.items()} == {
        "another, 1 asset": 3.0, "peer, 8: full law": 5.0, "peer, 8: plain": 10.0,
        "rival, 8: full law": 10.0, "rival, 8: plain": 20.0,
    }  # fmt: skip


@pytest.mark.parametrize("figure", ["equity", "measures"])
def test_what_is_not_the_law_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], figure: str
) -> None:
    exact = bench_backtest.run_backtest

    def generous(*given, engine="auto", **options):
        result = exact(*given, engine=engine, **options)
        if engine == "auto":
            getattr(result, figure)[:] = getattr(result, figure) * (1 + 1e-6)
        return result

    monkeypatch.setattr(bench_backtest, "run_backtest", generous)
    assert bench_backtest.main(["--tiny"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("Error: nothing was timed; a figure differs from")
    assert said.out == ""


def test_a_wrong_derivative_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = bench_backtest.backtest_growth
    monkeypatch.setattr(
        bench_backtest, "backtest_growth", lambda table, targets: exact(table, targets) ** 1.001
    )
    assert bench_backtest.main(["--tiny"]) == 1
    assert "differs from torch's derivative" in capsys.readouterr().err


def test_vectorbt_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_backtest, "vectorbt_engines", lambda: ["numba"])
    monkeypatch.setattr(
        bench_backtest, "vectorbt_run", lambda bars, size, costs, engine: lambda: np.zeros(2)
    )
    plain = gbm_market(np.random.default_rng(0), 60)
    with pytest.raises(ArithmeticError, match="differs from vectorbt's numba engine"):
        bench_backtest.check(bench_backtest.make_world(60), plain, 2)
