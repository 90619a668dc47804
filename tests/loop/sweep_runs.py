"""A small run to sweep, workers without processes, and features that kill who computes them."""

from collections import deque
from pathlib import Path

from tests.loop.conftest import KEY
from trading_rlhf.config import read_config, write_config
from trading_rlhf.loop import (
    Cell,
    CellResult,
    Context,
    Job,
    SettableClock,
    make_cells,
    open_context,
    read_grid,
    run_job,
)
from trading_rlhf.market import load_sample, write_bars
from trading_rlhf.services.runs import system_clock

LETHAL = """
import os
import signal
from pathlib import Path

from trading_rlhf.market import Feature


def register(registry):
    registry.register(Feature("zero", 0, "nothing", "0", zero))


def zero(bars):
    import numpy as np

    for shot in sorted(Path({folder!r}).glob("shot-*")):
        try:
            shot.unlink()
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
    return np.where(np.isfinite(bars.close), 0.0, np.nan)
"""
"""Each file shot-* kills one process that computes the feature, and is gone."""


class Inline:
    """Workers without processes, which lose jobs when told to."""

    def __init__(self, lose: int = 0) -> None:
        self.lose, self.ran = lose, []
        self._jobs: deque[Job] = deque()

    @property
    def idle(self) -> int:
        return 2 - len(self._jobs)

    @property
    def busy(self) -> int:
        return len(self._jobs)

    def start(self, job: Job) -> None:
        assert self.idle > 0
        self._jobs.append(job)

    def next(self) -> tuple[Job, list[CellResult] | str]:
        job = self._jobs.popleft()
        if self.lose:
            self.lose -= 1
            return job, "its worker process was killed"
        self.ran.append(job)
        return job, run_job(job)

    def close(self) -> None:
        self._jobs.clear()


def small_run(folder: Path, **settings: object) -> Path:
    """A run directory with its own half of a year of test bars; returns it."""
    data = folder / "bars.parquet"
    if not data.exists():
        write_bars(load_sample("us4").window(1200, 1700), data)
    run = folder / "run"
    run.mkdir()
    chosen = {"data": str(data), "train.iterations": 3, "features": ["trend_60", "reversal_5"]}
    write_config(read_config(None, {**chosen, **settings}), run / "config.yaml")
    return run


def lethal_run(folder: Path, **settings: object) -> Path:
    """The same with a feature that kills its process wherever a shot lies in ``folder``."""
    mine = folder / "lethal.py"
    mine.write_text(LETHAL.format(folder=str(folder)))
    features = {"feature_files": [str(mine)], "features": ["trend_60", "zero"]}
    return small_run(folder, **features, **settings)


def opened(run: Path) -> Context:
    return open_context(run, KEY, SettableClock(system_clock))


def laid_out(context: Context, text: str) -> list[Cell]:
    """Cells of a grid given as YAML."""
    path = context.folder / "grid.yaml"
    path.write_text(text)
    return make_cells(read_grid(path), context.config, context.bars.sha256)
