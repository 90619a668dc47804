"""How the command line speaks: progress bars, tables within 100 columns, JSON for machines."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as ProgressBars
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from trading_rlhf.agent import Training
    from trading_rlhf.types import Progress

__all__ = [
    "live_training",
    "print_error",
    "print_facts",
    "print_frame",
    "print_json",
    "print_line",
    "progress_bars",
]

_WIDTH = 100

_PPO_FIGURES = {
    "kl": "divergence (KL)",
    "clip_fraction": "clipped (share)",
    "value_loss": "value loss",
    "explained_variance": "explained variance",
    "exploration_std": "exploration (deviation)",
}


def _console(*, error: bool = False) -> Console:
    console = Console(stderr=error, highlight=False, soft_wrap=False)
    if console.width > _WIDTH or not console.is_terminal:
        console.width = _WIDTH
    return console


@contextmanager
def progress_bars() -> Iterator["Progress"]:
    """Give a progress callback that draws one bar per stage on standard error."""
    console = _console(error=True)
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with ProgressBars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
                if not console.is_terminal:
                    print(f"{stage} ...", file=sys.stderr, flush=True)  # noqa: T201
            bars.update(tasks[stage], completed=done, total=total)

        yield show


@contextmanager
def live_training(
    quiet: bool,
) -> Iterator[tuple["Progress", Callable[["Training"], None] | None]]:
    """Give a progress callback and, on a terminal, a watch that shows a training's figures.

    Args:
        quiet: show nothing at all.
    """
    console = _console(error=True)
    if quiet:
        yield lambda _stage, _done, _total: None, None
        return
    if not console.is_terminal:
        with progress_bars() as progress:
            yield progress, None
        return
    begun, total = time.monotonic(), [0]
    with Live(console=console, refresh_per_second=4) as live:

        def count(_stage: str, _done: int, iterations: int) -> None:
            total[0] = iterations

        def show(training: "Training") -> None:
            live.update(_training_tables(training, total[0], time.monotonic() - begun))

        yield count, show


def _training_tables(training: "Training", total: int, seconds: float) -> Group:
    """A line of figures of the newest iteration, and for ppo another of its own."""
    checks = training.checks
    cells = {
        "iteration": f"{training.iteration} of {total}",
        "reward (bps a bar)": f"{1e4 * sum(training.history[-1]) / len(training.history[-1]):.2f}",
        "gradient norm": f"{float(training.figures['gradient_norm'].max()):.3g}",
        "validation (bps a bar)": f"{1e4 * checks[-1][1]:.2f}" if checks else "-",
        "elapsed": f"{seconds:.0f} s",
    }
    figures = training.figures
    own = {
        head: f"{float(figures[name].mean()):.3g}"
        for name, head in _PPO_FIGURES.items()
        if name in figures
    }
    return Group(*(_line_of_cells(line) for line in (cells, own) if line))


def _line_of_cells(cells: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in cells:
        table.add_column(Text(name), justify="right")
    table.add_row(*(Text(cell) for cell in cells.values()))
    return table


def print_frame(title: str, frame: "pd.DataFrame") -> None:
    """Print a table of text cells; the index is its first column."""
    table = Table(
        title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    # Long heads wrap at their spaces, cells never: a figure broken in two is misread.
    frame = frame.astype(str).map(lambda cell: cell.replace(" ", "\u00a0"))
    table.add_column(Text(str(frame.index.name or "")), no_wrap=True)
    for column in frame.columns:
        table.add_column(Text(str(column)), justify="right", vertical="bottom")
    for name, row in frame.iterrows():
        table.add_row(Text(str(name)), *(Text(str(cell)) for cell in row))
    _console().print(table)


def print_facts(title: str, facts: dict[str, Any]) -> None:
    """Print names and values, one a line."""
    table = Table(
        title=Text(title), title_justify="left", box=None, show_header=False, pad_edge=False
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(name.replace("_", " ")), Text(_plain(value)))
    _console().print(table)


def _plain(value: Any) -> str:
    """Lists and nested values without brackets and quotes."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        nested = any(isinstance(inner, dict | str) and " " in str(inner) for inner in value)
        return ("\n" if nested else ", ").join(_plain(inner) for inner in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def print_line(text: str) -> None:
    """Print a sentence."""
    _console().print(text, markup=False)


def print_json(value: Any) -> None:
    """Print JSON and nothing else."""
    print(json.dumps(value, indent=2, sort_keys=True))  # noqa: T201


def print_error(text: str) -> None:
    """Print a sentence to standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
