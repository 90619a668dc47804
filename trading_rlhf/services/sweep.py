"""Sweeps for the command line: a grid of settings and seeds, tested out of sample."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trading_rlhf.backtest import luck_sentence
from trading_rlhf.errors import ConfigError
from trading_rlhf.loop import (
    LocalWorkers,
    RayWorkers,
    Swept,
    Workers,
    luck_of_best,
    make_cells,
    missing_cells,
    read_grid,
    run_sweep,
    sweep_table,
    usable_cores,
    write_table,
)
from trading_rlhf.market import survivorship_note
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.types import JsonDict

__all__ = ["sweep_run"]

_WIDEST = 24
"""Characters of a setting's value that are shown."""

_SHOWN = {
    "annual_return": "annual return",
    "max_drawdown": "max drawdown",
    "turnover": "turnover a bar",
    "cost": "cost a year",
}


def sweep_run(
    stage: Stage,
    grid_file: Path,
    *,
    ray: str | None = None,
    workers: int | None = None,
    announce: Callable[[str], None],
) -> tuple[pd.DataFrame, JsonDict]:
    """Train and test a base policy under every setting and seed of a grid.

    Args:
        stage: the run whose settings and bars the grid starts from.
        grid_file: YAML file with lists of values and seeds.
        ray: "local" or the address of a Ray cluster; None uses processes of this machine.
        workers: cells at a time; None means as many as there are cores.
        announce: told what will run, before it does.

    Returns:
        The best, median and worst setting as text, and facts: the table's path, the number of
        cells, a sentence on luck and one per failed cell.

    Raises:
        ConfigError: the grid or the number of workers cannot be used.
        RunError: there is no such run, or no such cluster.
    """
    if workers is not None and workers < 1:
        raise ConfigError("workers must be one or more", str(workers), "Raise them.")
    grid = read_grid(grid_file)
    with open_stage(stage) as context:
        cells = make_cells(grid, context.config, context.bars.sha256)
        missing = missing_cells(context, cells)
        trainings = len({cell.training for cell in missing})
        announce(
            f"Cells: {len(cells)}; finished before: {len(cells) - len(missing)}; "
            f"to run: {len(missing)}, trainings: {trainings}."
        )

        def hire(jobs: int) -> Workers:
            if ray is not None:
                return RayWorkers(ray, workers)
            return LocalWorkers(min(workers or usable_cores(), jobs))

        swept = run_sweep(context, cells, hire, stage.progress)
        table = sweep_table(swept)
        path = context.folder / "sweeps" / f"{grid.name}.parquet"
        write_table(table, path)
        found = luck_of_best(context, swept)
        facts: JsonDict = {
            "table": str(path),
            "cells": len(cells),
            "failed": _failures(swept),
            "note": survivorship_note(context.bars),
        }
        if found is not None:
            row, luck = found
            best = swept.cells[row]
            per_year = context.bars.bars_per_year
            sentence = luck_sentence(luck.dsr, luck.trials, luck.bars, luck.bars_needed, per_year)
            facts |= {
                "best": {**best.settings, "seed": best.config.seed},
                "best_sharpe": swept.results[row].measures["sharpe"],
                "dsr": luck.dsr,
                "trials": luck.trials,
                "luck": sentence,
            }
        return _ranking(table, list(grid.settings)), facts


def _failures(swept: Swept) -> list[str]:
    return [
        f"{_name(cell.settings, cell.config.seed)}: {result.error}"
        for cell, result in zip(swept.cells, swept.results, strict=True)
        if result.error is not None
    ]


def _name(settings: JsonDict, seed: int) -> str:
    return ", ".join(
        f"{name} {_short(value)}" for name, value in [*settings.items(), ("seed", seed)]
    )


def _ranking(table: pd.DataFrame, settings: list[str]) -> pd.DataFrame:
    """Best, median and worst setting by mean Sharpe ratio over their seeds, one per column."""
    done = table[table["status"] == "done"]
    groups = [rows for _, rows in done.groupby(settings or "engine", sort=False, dropna=False)]
    groups.sort(key=lambda rows: rows["sharpe"].mean(), reverse=True)
    places = {"best": 0, "median": len(groups) // 2, "worst": len(groups) - 1}
    if len(groups) < len(places):
        places = dict(list({"best": 0, "worst": 1}.items())[: len(groups)])
    columns = {name: _column(groups[place], settings) for name, place in places.items()}
    ranking = pd.DataFrame(columns)
    ranking.index.name = "setting"
    return ranking


def _column(rows: pd.DataFrame, settings: list[str]) -> dict[str, str]:
    sharpe, seeds = rows["sharpe"], len(rows)
    text = f"{sharpe.mean():.2f}"
    if seeds > 1:
        text += f" ± {sharpe.std(ddof=1) / seeds**0.5:.2f}"
    return {
        **{name: _short(rows[name].iloc[0]) for name in settings},
        "Sharpe, mean over seeds": text,
        "seeds": str(seeds),
        **{label: f"{rows[name].mean():.4f}" for name, label in _SHOWN.items()},
    }


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
