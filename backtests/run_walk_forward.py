"""The base policy on real prices, walk-forward, beside equal weight and buy and hold.

python -m backtests.run_walk_forward [--config FILE] [--out FILE] [--json]
"""

import json
import multiprocessing
import queue
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field

from backtests.studies import make_parser, name_files, read_settings, save_figures
from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.backtest import arm_statistics, compare_arms, count_trials, date_range
from trading_rlhf.backtest.arm_tables import luck_table, pair_table
from trading_rlhf.cli.console import print_error, print_frame, print_line, progress_bars
from trading_rlhf.config import FoldsConfig, read_config
from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.loop import (
    EQUAL,
    HOLD,
    POLICY,
    Context,
    SettableClock,
    cross_validate,
    open_context,
    walk_forward,
)
from trading_rlhf.services.backtest_paths import paths_figures
from trading_rlhf.services.backtest_walk_forward import forward_figures
from trading_rlhf.services.runs import system_clock
from trading_rlhf.types import Progress

__all__ = ["StudyConfig", "main", "run_study"]


class StudyConfig(BaseModel):
    """Settings of the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[str, ...] = Field(min_length=1, description="Samples or files of bars.")
    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds of the trainings.")
    folds: FoldsConfig = Field(FoldsConfig(), description="Stretches of the walk-forward.")
    paths: FoldsConfig = Field(
        FoldsConfig(), description="Groups of the cross-validation, which the first seed has."
    )
    settings: dict[str, Any] = Field({}, description="Of the run, by dotted name.")
    workers: int = Field(2, ge=1, le=64, description="Data sets at a time.")


def run_study(config: StudyConfig, progress: Progress) -> list[dict]:
    """Run every data set, several at a time; returns one entry for each."""
    if config.workers == 1:
        return [_run_one(config, data, progress) for data in config.data]
    # Forked, the threads of torch would be missing in the workers.
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(config.workers, spawn) as pool:
        told = manager.Queue()
        jobs = [pool.submit(_in_worker, config, data, told) for data in config.data]
        while not all(job.done() for job in jobs):
            try:
                progress(*told.get(timeout=0.5))
            except queue.Empty:
                continue
        return [job.result() for job in jobs]


def _in_worker(config: StudyConfig, data: str, told: Any) -> dict:
    torch.set_num_threads(1)
    return _run_one(config, data, lambda *step: told.put(step))


def _run_one(config: StudyConfig, data: str, progress: Progress) -> dict:
    """All seeds on one data set, in one ledger of trials."""
    settings = read_config(None, {"data": data, **config.settings})
    with tempfile.TemporaryDirectory() as folder:
        context = open_context(
            Path(folder), secrets.token_bytes(32), SettableClock(system_clock), settings
        )
        try:
            paths = cross_validate(
                _set(context, config.seeds[0], config.paths), _named(progress, data)
            )
            walked = {
                seed: walk_forward(
                    _set(context, seed, config.folds), _named(progress, f"{data}, seed {seed}")
                )
                for seed in config.seeds
            }
            first = walked[config.seeds[0]]
            returns = {
                seed: per_bar_returns(torch.as_tensor(found.result.equity)).numpy()
                for seed, found in walked.items()
            }
            # Only the policy is drawn anew by each seed.
            own = returns[config.seeds[0]]
            curves = {
                POLICY: np.stack([rows[0] for rows in returns.values()]),
                EQUAL: own[1:2],
                HOLD: own[2:3],
            }
            entry = _compared(context, curves)
        finally:
            context.store.close()
    return {
        "data": data,
        "tested": date_range(first.result.dates),
        "bars": len(first.result.dates),
        **entry,
        "seeds": {str(seed): _without_curves(found) for seed, found in walked.items()},
        "paths": paths_figures(paths),
    }


def _compared(context: Context, curves: dict[str, np.ndarray]) -> dict:
    """Luck, intervals and paired tests, the seeds of the policy as draws of one arm."""
    per_year, generator = context.bars.bars_per_year, context.generator("study")
    with context.store.read() as session:
        trials = count_trials(session, per_year)
    statistics = arm_statistics(curves, trials, per_year, generator)
    pairs = [(POLICY, EQUAL), (POLICY, HOLD)]
    tests = compare_arms(curves, generator, per_year, pairs=pairs, confidence=0.95)
    totals = {name: (1.0 + rows).prod(-1) - 1.0 for name, rows in curves.items()}
    table = luck_table(list(curves), statistics, per_year)
    table.insert(0, "Total return", [f"{100 * x.mean():.0f}%" for x in totals.values()])
    return {
        "trials": trials.count,
        "headlines": table.drop(columns=["Years needed"]).to_dict(orient="index"),
        "total_return": {name: x.tolist() for name, x in totals.items()},
        "tests": tests.to_dict(orient="records"),
    }


def _without_curves(found: Any) -> dict:
    figures = forward_figures(found)
    return {name: figures[name] for name in ("measures", "luck", "periods")}


def _set(context: Context, seed: int, folds: FoldsConfig) -> Context:
    config = context.config.model_copy(update={"seed": seed, "folds": folds})
    return replace(context, config=config)


def _named(progress: Progress, name: str) -> Callable[[str, int, int], None]:
    return partial(_tell, progress, name)


def _tell(progress: Progress, name: str, stage: str, done: int, total: int) -> None:
    progress(f"{name}: {stage}", done, total)


def main(arguments: list[str] | None = None) -> int:
    """Run the study, print its tables and write its figures."""
    options = make_parser(__doc__.splitlines()[0]).parse_args(arguments)
    name_files(options, "walk_forward")
    config = read_settings(options.config, lambda values: StudyConfig(**values))
    if config is None:
        return 1
    begun = time.perf_counter()
    try:
        with progress_bars() as progress:
            entries = run_study(config, progress)
    except TradingRlhfError as error:
        print_error(f"Error: {error}")
        return 1
    content = save_figures(options.out, begun, config, data=entries)
    if options.json:
        print_line(json.dumps(content))
        return 0
    for entry in entries:
        _print(entry)
    print_line(f"{content['seconds']:.0f} s, written to {options.out}")
    return 0


def _print(entry: dict) -> None:
    seeds = len(entry["seeds"])
    print_frame(
        f"{entry['data']}, {entry['tested']}: mean of {seeds} seeds, 95% intervals, "
        f"{entry['trials']} trials",
        pd.DataFrame(entry["headlines"]),
    )
    print_frame("Paired, the same bars", pair_table(pd.DataFrame(entry["tests"])).T)
    paths = entry["paths"]
    sharpes = ", ".join(f"{x:.2f}" for x in paths["sharpes"])
    rules = ", ".join(f"{name} {x:.2f}" for name, x in paths["rules"].items())
    print_line(f"Cross-validation, Sharpe ratio by path: {sharpes}; {rules}")


if __name__ == "__main__":
    sys.exit(main())
