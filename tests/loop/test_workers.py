"""Real processes, killed in mid-run: on this machine and over a local Ray."""

import multiprocessing
import sys
import time
from pathlib import Path

import pytest

from tests.loop.conftest import silent
from tests.loop.sweep_runs import laid_out, lethal_run, opened, small_run
from trading_rlhf.errors import RunError
from trading_rlhf.loop import Job, LocalWorkers, RayWorkers, Workers, run_sweep, sweep_table
from trading_rlhf.services.runs import system_clock

GRID = "train.horizon: [24, 400]\nseeds: 2\n"


def outcome(folder: Path, shots: int, hire: type[Workers] | None = None) -> list[str]:
    """Status of every cell of a sweep in which so many worker processes are killed."""
    context = opened(lethal_run(folder))
    try:
        cells = laid_out(context, GRID)
        for shot in range(shots):
            (folder / f"shot-{shot}").touch()
        workers = RayWorkers("local", 2) if hire is RayWorkers else LocalWorkers(2)
        swept = run_sweep(context, cells, lambda _: workers, silent)
        assert not list(folder.glob("shot-*"))
        return [status.split(".")[0] for status in sweep_table(swept)["status"]]
    finally:
        context.store.close()


TOO_LONG = "training needs at least horizon + 2 = 402 bars; got 260 bars"


def test_a_killed_process_takes_nothing_with_it(tmp_path: Path) -> None:
    assert outcome(tmp_path, shots=1) == ["done", "done", TOO_LONG, TOO_LONG]


def test_a_killed_ray_worker_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert outcome(tmp_path, 1, RayWorkers) == ["done", "done", TOO_LONG, TOO_LONG]
    assert list((tmp_path / "home").iterdir()) == []
    ray = sys.modules["ray"]
    assert not ray.is_initialized()
    # Its own words would spoil what is printed as JSON.
    assert capfd.readouterr().out == ""


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    for address in ("127.0.0.1:9", "nowhere.invalid:6379", "nonsense"):
        with pytest.raises(RunError, match=f"a Ray cluster that it can join; got {address}"):
            RayWorkers(address, None)


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"pip install 'trading_rlhf\[ray\]'"):
        RayWorkers("local", None)


def test_closing_stops_what_is_running(tmp_path: Path) -> None:
    context = opened(small_run(tmp_path))
    cells = laid_out(context, "train.iterations: [1000000]")
    context.store.close()
    work = tmp_path / "work"
    work.mkdir()
    workers = LocalWorkers(1)
    workers.start(Job(tuple(cells), context.bars.sha256, work, system_clock))
    ends = time.monotonic() + 60
    while not any(work.iterdir()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert len(multiprocessing.active_children()) == 1
    workers.close()
    assert multiprocessing.active_children() == []
