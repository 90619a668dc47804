"""A run's backtest as a screen shows it: the page's sentences, figures, plots and tables."""

import json
from dataclasses import dataclass
from pathlib import Path

from trading_rlhf.errors import RunError
from trading_rlhf.services.backtest_report import PAGE_FILE, VIEW_FILE
from trading_rlhf.types import JsonDict

__all__ = ["BacktestView", "ViewPart", "ViewSection", "backtest_view", "read_backtest_page"]


@dataclass(frozen=True)
class ViewPart:
    """A plot or a table.

    Attributes:
        title: heading, or nothing.
        note: a sentence under it, or nothing.
        figure: the plot as Plotly has it; None for a table.
        columns: heads of a table.
        rows: its cells as text, each as long as ``columns``.
    """

    title: str
    note: str
    figure: JsonDict | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class ViewSection:
    """A chapter: heading, sentences, plots and tables in order."""

    title: str
    lines: tuple[str, ...]
    parts: tuple[ViewPart, ...]


@dataclass(frozen=True)
class BacktestView:
    """Everything that the backtest of a run found.

    Attributes:
        title: heading.
        summary: sentences, the result first.
        warnings: what limits it.
        tiles: label, figure and note of what is read at a glance.
        sections: chapters in order.
        facts: label and value of what it rests on.
    """

    title: str
    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    tiles: tuple[tuple[str, str, str], ...]
    sections: tuple[ViewSection, ...]
    facts: tuple[tuple[str, str], ...]


def backtest_view(run_dir: str | Path) -> BacktestView | None:
    """Read what the last backtest of a run found; None where there has been none.

    Raises:
        RunError: the file cannot be used.
    """
    file = Path(run_dir) / VIEW_FILE
    if not file.is_file():
        return None
    try:
        return _view(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file} must hold a whole backtest",
            f"{type(error).__name__}",
            "Run the backtest again.",
        ) from None


def read_backtest_page(run_dir: str | Path) -> bytes:
    """Return the page as one file, for download.

    Raises:
        RunError: there is none.
    """
    try:
        return (Path(run_dir) / PAGE_FILE).read_bytes()
    except OSError:
        raise RunError(
            "a backtest's page must exist", f"none in {run_dir}", "Run the backtest again."
        ) from None


def _view(content: JsonDict) -> BacktestView:
    return BacktestView(
        title=str(content["title"]),
        summary=_texts(content["summary"]),
        warnings=_texts(content["warnings"]),
        tiles=tuple((str(a), str(b), str(c)) for a, b, c in content["tiles"]),
        sections=tuple(
            ViewSection(
                str(section["title"]),
                _texts(section["lines"]),
                tuple(_part(part) for part in section["parts"]),
            )
            for section in content["sections"]
        ),
        facts=tuple((str(label), str(value)) for label, value in content["facts"]),
    )


def _part(part: JsonDict) -> ViewPart:
    title, note = str(part["title"]), str(part["note"])
    if "figure" in part:
        figure: JsonDict = json.loads(part["figure"])
        return ViewPart(title, note, figure={"data": figure["data"], "layout": figure["layout"]})
    return ViewPart(
        title, note, columns=_texts(part["columns"]), rows=tuple(map(_texts, part["rows"]))
    )


def _texts(values: list[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
