"""``trading-rlhf backtest --sweep`` as a user types it, and as one that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Said
from tests.loop.sweep_runs import small_run

Run = Callable[..., Said]


def children(pid: int) -> list[int]:
    """Workers whose parent is this process."""
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


def wait_until(holds: Callable[[], bool], seconds: float = 250.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def test_a_killed_sweep_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    folder, grid = small_run(tmp_path), tmp_path / "grid.yaml"
    # The second would take hours.
    grid.write_text("train.iterations: [3, 1000000]\n")
    command = ("backtest", "--run", folder, "--sweep", grid, "--workers", "1")
    first = subprocess.Popen(
        [sys.executable, "-m", "trading_rlhf", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    cells = folder / "sweeps/cells"
    try:
        wait_until(lambda: len(list(cells.glob("*.json"))) == 1)
        wait_until(lambda: any((folder / "sweeps/work").iterdir()))
        workers = children(first.pid)
        assert len(workers) == 1
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    # Nobody is left who works for a sweep that is gone.
    wait_until(lambda: not Path(f"/proc/{workers[0]}").exists())
    (kept,) = cells.iterdir()
    written = kept.stat().st_mtime_ns
    grid.write_text("train.iterations: [3, 4]\ntrain.horizon: [24, 400]\n")
    said = run(*command, "--json")
    assert said.status == 1
    assert "Cells: 4; finished before: 1; to run: 3, trainings: 3." in said.err
    facts = json.loads(said.out)
    assert len(facts["failed"]) == 2
    assert all("at least horizon + 2" in sentence for sentence in facts["failed"])
    # The one that was killed was looked at, too.
    assert facts["trials"] == 5
    assert facts["luck"].startswith("DSR")
    assert kept.stat().st_mtime_ns == written
    table = pd.read_parquet(folder / "sweeps/grid.parquet")
    assert table["train.iterations"].tolist() == [3, 3, 4, 4]
    assert (table["status"] == "done").tolist() == [True, False, True, False]
    assert not (folder / "sweeps/work").exists()
    told = run(*command)
    assert told.status == 1
    assert told.err.count("Failed: train.iterations") == 2
    assert max(map(len, told.out.splitlines())) <= 100
    for word in ("best", "worst", "Sharpe, mean over seeds", "The best cell: DSR", "max drawdown"):
        assert word in told.out
    assert run("audit", "verify", "--run", folder).status == 0


WRONG_USAGE = ("one of --sweep and --weights", "--ray and --workers belong to a sweep")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sweep", "none.yaml"), "a grid is a readable YAML file"),
        (("--sweep", "grid.yaml", "--workers", "0"), "workers must be one or more"),
        (("--sweep", "grid.yaml", "--weights", "w.csv"), "one of --sweep and --weights"),
        (("--ray", "local"), "--ray and --workers belong to a sweep"),
        (("--sweep", "wrong.yaml"), "a sweep varies what"),
        (("--sweep", "grid.yaml", "--ray", "127.0.0.1:9"), "a Ray cluster that it can join"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    small_run(tmp_path)
    (tmp_path / "grid.yaml").write_text("seeds: 1")
    (tmp_path / "wrong.yaml").write_text("ask.answers: [20]")
    said = run("backtest", "--run", "run", *arguments)
    # Options that do not go together are wrong usage, whatever lies in the files.
    assert said.status == (2 if words in WRONG_USAGE else 1)
    assert words in said.sentence
    assert "Traceback" not in said.err + said.out


def test_a_sweep_needs_a_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("seeds: 1")
    said = run("backtest", "--run", "nowhere", "--sweep", "grid.yaml")
    assert said.status == 1
    assert "config.yaml" in said.sentence
    assert not (tmp_path / "nowhere").exists()
