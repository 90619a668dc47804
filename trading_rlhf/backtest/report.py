"""One self-contained HTML file: the result first, then plots and tables, then what they rest on."""

from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trading_rlhf.backtest.report_page import PAGE
from trading_rlhf.store.files import replace_text
from trading_rlhf.types import JsonDict

__all__ = ["Plot", "Report", "Section", "Table", "Tile", "report_json", "write_report"]


@dataclass(frozen=True)
class Table:
    """A table with its caption; cells are shown as given.

    Attributes:
        title: heading.
        frame: cells, already formatted as text.
        note: a sentence under the table.
    """

    title: str
    frame: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """A plot with its caption."""

    title: str
    figure: go.Figure
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A chapter of a long report.

    Attributes:
        title: heading, also in the contents.
        lines: sentences before what it shows.
        parts: plots and tables in order.
    """

    title: str
    lines: list[str]
    parts: list[Table | Plot]


@dataclass(frozen=True)
class Tile:
    """A figure that is read at a glance.

    Attributes:
        label: what it is.
        value: the figure, as text.
        note: what to hold it against.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything a reader sees.

    Attributes:
        title: heading.
        summary: sentences at the top; the result before its details.
        warnings: what limits the result (survivors, simulated answers).
        tables: of a short report, in order.
        plots: of a short report, in order.
        facts: label and value of what the run rests on.
        sections: chapters of a long report, after tables and plots.
        tiles: figures beside the summary.
    """

    title: str
    summary: list[str]
    warnings: list[str]
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)


def write_report(report: Report, path: Path) -> None:
    """Render to ``path`` (written aside, then renamed); every text is escaped."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    # A fixed id keeps two reports of the same figures identical to the byte.
    drawn = {id(plot): _plot_html(plot, f"plot-{i}") for i, plot in enumerate(_plots(report))}
    environment.globals["plot_html"] = lambda part: drawn.get(id(part))
    text = environment.from_string(PAGE).render(report=report, plotly_js=get_plotlyjs())
    replace_text(path, text)


def report_json(report: Report) -> JsonDict:
    """The report as plain JSON, for screens: figures as Plotly has them, tables as rows of text."""
    parts = [Section("", [], [*report.tables, *report.plots]), *report.sections]
    return {
        "title": report.title,
        "summary": report.summary,
        "warnings": report.warnings,
        "tiles": [[tile.label, tile.value, tile.note] for tile in report.tiles],
        "facts": [list(fact) for fact in report.facts],
        "sections": [
            {
                "title": section.title,
                "lines": section.lines,
                "parts": [_part_json(part) for part in section.parts],
            }
            for section in parts
            if section.lines or section.parts
        ],
    }


def _part_json(part: Table | Plot) -> JsonDict:
    facts = {"title": part.title, "note": part.note}
    if isinstance(part, Plot):
        return facts | {"figure": part.figure.to_json()}
    heads = [str(part.frame.index.name or ""), *(str(name) for name in part.frame.columns)]
    rows = [[str(name), *(str(cell) for cell in row)] for name, row in part.frame.iterrows()]
    return facts | {"columns": heads, "rows": rows}


def _plots(report: Report) -> list[Plot]:
    inside = [part for section in report.sections for part in section.parts]
    return [*report.plots, *(part for part in inside if isinstance(part, Plot))]


def _plot_html(plot: Plot, name: str) -> str:
    html: str = plot.figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
        div_id=name,
    )
    return html
