"""What a worker of a sweep does: train a base policy and test it, in a folder of its own."""

import math
import secrets
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.agent import Policy, Walk
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import cut_market
from trading_rlhf.errors import DataError, TradingRlhfError
from trading_rlhf.loop.context import Context, SettableClock, open_context
from trading_rlhf.loop.reporting import undisturbed_walks
from trading_rlhf.loop.sweep_grid import Cell
from trading_rlhf.loop.training import train_base
from trading_rlhf.types import Clock, FloatArray, JsonDict

__all__ = ["CellResult", "Job", "run_job", "unheard", "walk_targets"]


@dataclass(frozen=True)
class Job:
    """Cells that share a training.

    Attributes:
        cells: at least one.
        data_sha256: hash that the bars must have wherever this runs.
        workshop: where temporary folders are made; a machine without it uses its own.
        clock: the present.
    """

    cells: tuple[Cell, ...]
    data_sha256: str
    workshop: Path
    clock: Clock


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Attributes:
        key: the cell's.
        error: a sentence where it failed.
        engine: which implementation of the backtest ran.
        measures: of ``run_backtest``; None where a measure is not finite.
        returns: per-bar returns over the test bars.
    """

    key: str
    error: str | None = None
    engine: str = ""
    measures: JsonDict = field(default_factory=dict)
    returns: list[float] = field(default_factory=list)


def run_job(job: Job) -> list[CellResult]:
    """Train once, test every cell; whatever goes wrong is a sentence in the result."""
    # Workers are as many as there are cores to use.
    torch.set_num_threads(1)
    try:
        return _run(job)
    except Exception as error:
        return [CellResult(cell.key, _sentence(error)) for cell in job.cells]


def walk_targets(walked: Walk, strategy: int = 0) -> FloatArray:
    """Targets ``[K + 1, N]`` that order what a strategy of a walk ordered; NaN holds.

    Args:
        walked: the walk; its first episode is taken.
        strategy: index along S.
    """
    ordered = walked.executed[:, strategy, 0] != 0
    wanted = (walked.held + walked.executed)[:, strategy, 0]
    targets = np.full((len(wanted) + 1, wanted.shape[-1]), np.nan)
    targets[:-1] = torch.where(ordered, wanted, torch.nan).numpy()
    return targets


def _run(job: Job) -> list[CellResult]:
    place = job.workshop if job.workshop.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, prefix="trading-rlhf-") as folder:
        # The store is thrown away with the folder, so nobody needs its key.
        context = open_context(
            Path(folder), secrets.token_bytes(32), SettableClock(job.clock), job.cells[0].config
        )
        try:
            if context.bars.sha256 != job.data_sha256:
                raise DataError(
                    "every cell of a sweep must run on the same bars",
                    f"other contents of {context.config.data} than at the start",
                    "Leave the data alone until the sweep is over, then start it again.",
                )
            train_base(context, unheard)
            policy, _ = context.policy("base")
            return [_tested(context, policy, cell) for cell in job.cells]
        finally:
            context.store.close()


def _tested(context: Context, policy: Policy, cell: Cell) -> CellResult:
    """Walk the policy over the test bars under a cell's settings; backtest what it ordered."""
    try:
        config, test = cell.config, context.test_bars
        walks = undisturbed_walks(replace(context, config=config), policy, None, None)
        result = run_backtest(
            context.bars.window(test.start, test.stop),
            walk_targets(walks["raw policy"]),
            config.costs,
            max_gross=config.policy.max_gross,
            equity_usd=config.equity,
            market=cut_market(context.market, test),
        )
    except Exception as error:
        return CellResult(cell.key, _sentence(error))
    row = {str(name): float(value) for name, value in result.measures.iloc[0].items()}
    measures = {name: value if math.isfinite(value) else None for name, value in row.items()}
    returns = per_bar_returns(torch.from_numpy(result.equity[0]))
    return CellResult(cell.key, None, result.engine, measures, returns.tolist())


def _sentence(error: Exception) -> str:
    if isinstance(error, TradingRlhfError):
        return str(error)
    lines = str(error).splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def unheard(_stage: str, _done: int, _total: int) -> None:
    """Take progress of a part: the whole tells of itself."""
