"""Real processes, killed in mid-run: on this machine and over a local Ray."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pytest

from tests.loop.conftest import silent
from tests.loop.sweep_runs import laid_out, lethal_run, opened, small_run
from trading_rlhf.errors import RunError
from trading_rlhf.loop import Job, LocalWorkers, RayWorkers, run_sweep, sweep_table
from trading_rlhf.services.runs import system_clock

GRID = "train.horizon: [24, 400]\nseeds: 2\n"


TOO_LONG = "training needs at least horizon + 2 = 402 bars"


def statuses(table: pd.DataFrame) -> list[str]:
    return [status.split("; ")[0] for status in table["status"]]


@contextmanager
def ray_sweep(run: Path, grid: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep over a local Ray in a session of its own, which ends with it."""
    home, file = run.with_name("home"), run.with_name("grid.yaml")
    home.mkdir()
    file.write_text(grid)
    options = {"--run": run, "--sweep": file, "--ray": "local", "--workers": 2}
    words = [str(word) for option in options.items() for word in option]
    command = subprocess.Popen(
        [sys.executable, "-m", "trading_rlhf", "backtest", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOME": str(home),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TRLHF_AUDIT_KEY": "a key for tests, long enough, of 32 bytes",
            "TRLHF_SESSION_KEY": "another key for tests, of 32 bytes",
            **settings,
        },
    )
    with command:
        try:
            yield command
        finally:
            for pid in members(command.pid):
                os.kill(pid, signal.SIGKILL)


def members(leader: int) -> dict[int, str]:
    """Living processes of a session, by name."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid_and_name, _, rest = file.read_text().rpartition(")")
            state, _, _, of_session, *_ = rest.split()
            if int(of_session) == leader and state != "Z":
                pid, _, name = pid_and_name.partition(" (")
                found[int(pid)] = name
    return found


def session(leader: int) -> set[str]:
    return set(members(leader).values())


@pytest.mark.timeout(600)
def test_a_killed_process_takes_nothing_with_it(tmp_path: Path) -> None:
    context = opened(lethal_run(tmp_path))
    try:
        cells = laid_out(context, GRID)
        (tmp_path / "shot-0").touch()
        swept = run_sweep(context, cells, lambda _: LocalWorkers(2), silent)
    finally:
        context.store.close()
    assert not list(tmp_path.glob("shot-*"))
    assert statuses(sweep_table(swept)) == ["done", "done", TOO_LONG, TOO_LONG]


@pytest.mark.timeout(600)
def test_a_killed_ray_worker_takes_nothing_with_it(tmp_path: Path) -> None:
    """As a user types it: Ray changes the process in which it runs, and this is not the tests'."""
    run = lethal_run(tmp_path)
    with ray_sweep(run, GRID) as command:
        assert command.stderr is not None
        # The command has read the bars itself by now, so the shot meets a worker.
        assert "Cells: 4" in command.stderr.readline()
        (tmp_path / "shot-0").touch()
        seen: set[str] = set()
        while command.poll() is None:
            seen |= session(command.pid)
            time.sleep(0.2)
        assert {"gcs_server", "raylet"} <= seen
        assert session(command.pid) == set()
        said, told = command.communicate()
    assert command.returncode == 1, told
    assert not list(tmp_path.glob("shot-*"))
    # Ray's own words would spoil what is printed as JSON.
    table = pd.read_parquet(json.loads(said)["table"])
    assert statuses(table) == ["done", "done", TOO_LONG, TOO_LONG]
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.timeout(600)
def test_a_ray_that_does_not_come_up_leaves_nothing_behind(tmp_path: Path) -> None:
    # No time for its first server to say where it listens.
    with ray_sweep(
        small_run(tmp_path), "seeds: 1\n", RAY_gcs_server_port_wait_time_s="0"
    ) as command:
        said, told = command.communicate(timeout=200)
        assert session(command.pid) == set()
    assert (command.returncode, said) == (1, "")
    cells, *_, sentence = told.splitlines()
    assert cells.startswith("Cells: 1")
    assert "a sweep needs a Ray cluster that it can join; got local: Timed out" in sentence
    assert "Leave --ray out" in sentence
    assert list((tmp_path / "home").iterdir()) == []


class SlowRay:
    """Ray whose local starts fail at first, each leaving a server behind."""

    def __init__(self, fails: int) -> None:
        self.fails, self.starts, self.servers = fails, 0, 0

    def init(self, **_settings: object) -> None:
        self.starts += 1
        self.servers += 1
        if self.starts <= self.fails:
            # Not of the kinds that Ray documents.
            raise Exception("The current node timed out during startup.\nMore.")

    def kill_all_processes(self, **_how: bool) -> None:
        self.servers -= 1

    def is_initialized(self) -> bool:
        return False

    def shutdown(self) -> None:
        """Of no use to a start that failed."""

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0}

    def remote(self, **_settings: object) -> Callable[[object], object]:
        return lambda function: function


def test_a_local_ray_is_started_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    monkeypatch.setattr(os, "environ", outside)
    slow = SlowRay(fails=1)
    monkeypatch.setitem(sys.modules, "ray", slow)
    workers = RayWorkers("local", None)
    assert (slow.starts, slow.servers, workers.idle) == (2, 1, 3)
    # Ray itself turns tokens on: a Ray that was imported before reads no such setting any more.
    assert "RAY_AUTH_TOKEN" in os.environ
    assert "RAY_AUTH_MODE" not in os.environ
    workers.close()
    dead = SlowRay(fails=9)
    monkeypatch.setitem(sys.modules, "ray", dead)
    with pytest.raises(RunError, match=r"got local: The current node timed out during startup\. L"):
        RayWorkers("local", None)
    assert (dead.starts, dead.servers) == (2, 0)


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    for address in ("127.0.0.1:9", "nowhere.invalid:6379", "nonsense"):
        with pytest.raises(RunError, match=f"a Ray cluster that it can join; got {address}"):
            RayWorkers(address, None)


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"pip install 'trading_rlhf\[ray\]'"):
        RayWorkers("local", None)


def test_closing_stops_what_is_running_and_ctrl_c_alone_does_not(tmp_path: Path) -> None:
    context = opened(small_run(tmp_path))
    cells = laid_out(context, "train.iterations: [1000000]")
    context.store.close()
    work = tmp_path / "work"
    work.mkdir()
    workers = LocalWorkers(1)
    workers.start(Job(tuple(cells), context.bars.sha256, work, system_clock))
    [worker] = multiprocessing.active_children()
    # While it still imports; the terminal sends it to parent and workers alike.
    time.sleep(0.5)
    os.kill(worker.pid or 0, signal.SIGINT)
    ends = time.monotonic() + 250
    while not any(work.iterdir()):
        assert worker.is_alive()
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    workers.close()
    assert multiprocessing.active_children() == []
