"""Real processes, killed in mid-run: on this machine and over a local Ray."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.loop.conftest import silent
from tests.loop.sweep_runs import laid_out, lethal_run, opened
from trading_rlhf.errors import RunError
from trading_rlhf.loop import LocalWorkers, RayWorkers, Workers, run_sweep, sweep_table

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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert outcome(tmp_path, 1, RayWorkers) == ["done", "done", TOO_LONG, TOO_LONG]
    assert list((tmp_path / "home").iterdir()) == []
    ray = sys.modules["ray"]
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    for address in ("127.0.0.1:9", "nowhere.invalid:6379", "nonsense"):
        with pytest.raises(RunError, match=f"a Ray cluster that it can join; got {address}"):
            RayWorkers(address, None)


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"pip install 'trading_rlhf\[ray\]'"):
        RayWorkers("local", None)


PARENT = """
import sys
from pathlib import Path
from tests.loop.sweep_runs import laid_out, opened
from trading_rlhf.loop import LocalWorkers, Job
from trading_rlhf.services.runs import system_clock

if __name__ == "__main__":
    context = opened(Path(sys.argv[1]))
    cells = laid_out(context, "train.iterations: [1000000]")
    workers = LocalWorkers(1)
    work = Path(sys.argv[1]) / "work"
    work.mkdir()
    workers.start(Job(tuple(cells), context.bars.sha256, work, system_clock))
    if sys.argv[2] == "close":
        while not any(work.iterdir()):
            pass
        workers.close()
    else:
        workers.next()
"""


@pytest.mark.parametrize("end", ["kill", "close"])
def test_workers_end_with_the_sweep(tmp_path: Path, end: str) -> None:
    run, script = lethal_run(tmp_path), tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, script, run, end], cwd=root, env=environment(root))
    try:
        if end == "kill":
            wait_until(lambda: any((run / "work").glob("*")))
            children = offspring(parent.pid)
            assert children
            parent.send_signal(signal.SIGKILL)
            parent.wait(10)
            wait_until(lambda: not any(alive(child) for child in children))
        else:
            assert parent.wait(60) == 0
    finally:
        parent.kill()


def environment(root: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root), "OMP_WAIT_POLICY": "PASSIVE"}


def offspring(pid: int) -> list[int]:
    """Processes with this parent that run a worker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if parent == pid and "spawn_main" in words:
            found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds: object, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.05)
