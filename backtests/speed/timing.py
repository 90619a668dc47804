"""What every benchmark shares: repeated timing with its spread, and the facts of the machine."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["Timing", "measure", "measure_in_turn", "machine_facts", "short"]

REPEATS = 5
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs of the same work.

    Attributes:
        seconds: one entry per run.
        work: units done in one run (steps, rows, symbols).
    """

    seconds: tuple[float, ...]
    work: float = 1.0

    @property
    def median(self) -> float:
        """Seconds of the middle run."""
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Units a second in the middle run."""
        return self.work / self.median

    def as_dict(self) -> dict[str, float | int]:
        """Rates for JSON: median, slowest and fastest run."""
        return {
            "per_second": self.rate,
            "per_second_min": self.work / max(self.seconds),
            "per_second_max": self.work / min(self.seconds),
            "seconds_median": self.median,
            "repeats": len(self.seconds),
        }


def measure(run: Callable[[], Any], work: float = 1.0, repeats: int = REPEATS) -> Timing:
    """Time a function, after one run that warms caches and compilers.

    Args:
        run: what is timed.
        work: units that one call does.
        repeats: timed calls.

    Returns:
        The timing of every call.
    """
    return measure_in_turn({"": (run, work)}, repeats)[""]


def measure_in_turn(
    runs: dict[str, tuple[Callable[[], Any], float]],
    repeats: int = REPEATS,
    before: Callable[[], Any] | None = None,
) -> dict[str, Timing]:
    """Time several functions in turn, so that noise of the machine meets all of them alike.

    Args:
        runs: function and units of work of one call, by name.
        repeats: timed calls of each, after one that is not timed.
        before: called before each timed call, for instance to read what it will read: machines take
            memory away that lay idle while another ran.

    Returns:
        Timings by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run, _ in runs.values():
        run()
    for _ in range(repeats):
        for name, (run, _) in runs.items():
            if before is not None:
                before()
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return {name: Timing(tuple(seconds[name]), work) for name, (_, work) in runs.items()}


def machine_facts(device: str = "cpu") -> dict[str, Any]:
    """Return what a figure depends on: machine, cores, threads, versions, commit and date."""
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "python": platform.python_version(),
    }
    return facts | {name: _version(name) for name in ("torch", "numba", "numpy", "pandas")}


def short(value: float) -> str:
    """A rate in at most six characters: 31.2 M, 590 k."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _commit() -> str:
    """The commit that ran, marked when files differ from it; empty outside a repository."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=7"],  # noqa: S607
            cwd=_ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _processor() -> str:
    """The processor's name as the kernel gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
