"""Train and test a base policy under every setting and seed of a grid; goes on after a kill."""

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.backtest import (
    Luck,
    assess_luck,
    count_trials,
    record_trial,
    sharpe_per_bar,
)
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.sweep_cell import CellResult, Job
from trading_rlhf.loop.sweep_grid import Cell
from trading_rlhf.loop.trial_names import cell_trial
from trading_rlhf.loop.workers import Workers
from trading_rlhf.store.files import replace_text, whole_file
from trading_rlhf.types import Progress

__all__ = ["Swept", "luck_of_best", "missing_cells", "run_sweep", "sweep_table", "write_table"]

_ATTEMPTS = 2
"""How often a job is started whose worker dies."""

_STAGE = "sweeping the grid"


@dataclass(frozen=True)
class Swept:
    """A finished sweep.

    Attributes:
        cells: in the order of the grid.
        results: one per cell.
    """

    cells: list[Cell]
    results: list[CellResult]


def missing_cells(context: Context, cells: list[Cell]) -> list[Cell]:
    """Cells without a kept result, in the order given."""
    return [cell for cell in cells if _kept(context, cell) is None]


def run_sweep(
    context: Context, cells: list[Cell], hire: Callable[[int], Workers], progress: Progress
) -> Swept:
    """Run what is missing, keep each result as it comes, count every cell as a trial.

    Args:
        context: the run; only this process writes its store.
        cells: from ``make_cells``.
        hire: makes workers for a number of jobs; called only where something is missing.
        progress: told about finished cells.
    """
    kept = {cell.key: _kept(context, cell) for cell in cells}
    results = {key: result for key, result in kept.items() if result is not None}
    # Kept, but perhaps not counted before the kill.
    _count(context, (cell for cell in cells if cell.key in results), results)
    context.sign()
    progress(_STAGE, len(results), len(cells))
    workshop = _folder(context) / "work"
    shutil.rmtree(workshop, ignore_errors=True)
    jobs = _jobs(context, [cell for cell in cells if cell.key not in results], workshop)
    if jobs:
        workshop.mkdir(parents=True)
        workers = hire(len(jobs))
        try:
            for job, answer in _work(context, workers, jobs):
                for result in answer:
                    if result.error is None:
                        _keep(context, result)
                    results[result.key] = result
                _count(context, job.cells, results)
                context.sign()
                progress(_STAGE, len(results), len(cells))
        finally:
            workers.close()
            shutil.rmtree(workshop, ignore_errors=True)
    return Swept(cells, [results[cell.key] for cell in cells])


def sweep_table(swept: Swept) -> pd.DataFrame:
    """One row per cell: settings, seed, status ("done" or why not), engine and measures."""
    settings = pd.DataFrame([cell.settings for cell in swept.cells], dtype=object)
    columns = {str(name): _plain(settings[name].tolist()) for name in settings}
    facts = {
        "seed": [cell.config.seed for cell in swept.cells],
        "status": [result.error or "done" for result in swept.results],
        "engine": [result.engine for result in swept.results],
    }
    measures = pd.DataFrame([result.measures for result in swept.results], dtype=np.float64)
    return pd.DataFrame({**columns, **facts}).join(measures)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, atomically."""
    with whole_file(path) as aside:
        table.to_parquet(aside, index=False)


def luck_of_best(context: Context, swept: Swept) -> tuple[int, Luck] | None:
    """Row of the highest Sharpe ratio, and its luck after every trial in the run's ledger.

    Returns:
        None where no cell was measured.
    """
    sharpes = {
        row: sharpe_per_bar(np.array(result.returns))
        for row, result in enumerate(swept.results)
        if result.error is None
    }
    if not sharpes:
        return None
    best = max(sharpes, key=lambda row: sharpes[row])
    per_year = context.bars.bars_per_year
    with context.store.read() as session:
        trials = count_trials(session, per_year)
    returns = np.array(swept.results[best].returns)
    return best, assess_luck(returns, trials.sharpes, trials.count, per_year)


def _work(
    context: Context, workers: Workers, jobs: list[Job]
) -> Iterable[tuple[Job, list[CellResult]]]:
    """Finished jobs as they come; a job whose worker died is started once more."""
    waiting, lost = deque(jobs), dict.fromkeys((job.cells[0].training for job in jobs), 0)
    while waiting or workers.busy:
        while waiting and workers.idle:
            job = waiting.popleft()
            # Looked at from here on, whatever becomes of it.
            _count(context, job.cells, {})
            workers.start(job)
        job, answer = workers.next()
        if not isinstance(answer, str):
            yield job, answer
            continue
        name = job.cells[0].training
        lost[name] += 1
        if lost[name] < _ATTEMPTS:
            waiting.append(job)
            continue
        sentence = (
            f"Tried {_ATTEMPTS} times: {answer}. Check its memory, then start the sweep again."
        )
        yield job, [CellResult(cell.key, sentence) for cell in job.cells]


def _jobs(context: Context, cells: list[Cell], workshop: Path) -> list[Job]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.training, []).append(cell)
    return [
        Job(tuple(group), context.bars.sha256, workshop.resolve(), context.clock)
        for group in groups.values()
    ]


def _count(context: Context, cells: Iterable[Cell], results: dict[str, CellResult]) -> None:
    """Count cells as trials of the run, with a Sharpe ratio where there is one."""
    per_year = context.bars.bars_per_year
    with context.store.write() as session:
        for cell in cells:
            result = results.get(cell.key)
            measured = result is not None and result.error is None
            record_trial(
                session,
                "backtest" if measured else "run",
                config=cell_trial(cell),
                data=context.bars.sha256,
                seed=cell.config.seed,
                actor="system",
                sharpe=sharpe_per_bar(np.array(result.returns)) if result and measured else None,
                bars_per_year=per_year,
                subject="sweep",
                settings=cell.config.model_dump(mode="json"),
            )


def _folder(context: Context) -> Path:
    return context.folder / "sweeps"


def _file(context: Context, key: str) -> Path:
    return _folder(context) / "cells" / f"{key}.json"


def _keep(context: Context, result: CellResult) -> None:
    text = json.dumps(asdict(result), allow_nan=False)
    replace_text(_file(context, result.key), text)


def _kept(context: Context, cell: Cell) -> CellResult | None:
    """The result of an earlier start; None where there is none that can be read."""
    try:
        result = CellResult(**json.loads(_file(context, cell.key).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return result if result.key == cell.key else None


def _plain(values: list[object]) -> list[object]:
    """Values that fit one column of Parquet: of one type as they are, else as JSON."""
    types = {type(value) for value in values if value is not None}
    numbers = types <= {int, float}
    return values if numbers or types in ({bool}, {str}) else [json.dumps(v) for v in values]
