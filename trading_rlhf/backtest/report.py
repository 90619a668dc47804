"""One self-contained HTML file: figures first, then plots, then what they rest on."""

from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trading_rlhf.store.files import replace_text

__all__ = ["Plot", "Report", "Table", "bar_plot", "line_plot", "reliability_plot", "write_report"]

_COLOURS = ["#0f6e56", "#b3412c", "#3b6ea5", "#b07d12", "#6b7280", "#7d4ea0", "#111827"]


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
class Report:
    """Everything a reader sees.

    Attributes:
        title: heading.
        summary: sentences at the top; the result before its details.
        warnings: what limits the result (survivors, simulated answers).
        tables: in order.
        plots: in order.
        facts: label and value of what the run rests on.
    """

    title: str
    summary: list[str]
    warnings: list[str]
    tables: list[Table]
    plots: list[Plot]
    facts: list[tuple[str, str]] = field(default_factory=list)


_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<script>{{ plotly_js | safe }}</script>
<style>
body{font:15px/1.5 "Source Sans 3",system-ui,sans-serif;color:#1f2937;max-width:1040px;
margin:0 auto;padding:24px}
h1{font-size:26px;margin:0 0 8px}h2{font-size:18px;margin:32px 0 8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #e5e7eb}
td{white-space:nowrap}th:first-child,td:first-child{text-align:left}
thead th{color:#6b7280;font-weight:600}
.warn{background:#fdf3e7;border-left:4px solid #b07d12;padding:8px 14px;margin:8px 0}
.note{color:#6b7280;font-size:13px}.scroll{overflow-x:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px}dt{color:#6b7280}dd{margin:0}
</style></head><body>
<h1>{{ report.title }}</h1>
{% for line in report.summary %}<p>{{ line }}</p>{% endfor %}
{% for line in report.warnings %}<p class="warn">{{ line }}</p>{% endfor %}
{% for table in report.tables %}<h2>{{ table.title }}</h2><div class="scroll"><table><thead><tr>
<th>{{ table.frame.index.name or "" }}</th>
{% for column in table.frame.columns %}<th>{{ column }}</th>{% endfor %}</tr></thead><tbody>
{% for name, row in table.frame.iterrows() %}<tr><td>{{ name }}</td>
{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% if table.note %}<p class="note">{{ table.note }}</p>{% endif %}{% endfor %}
{% for plot in plots %}<h2>{{ plot.title }}</h2>{{ plot.html | safe }}
{% if plot.note %}<p class="note">{{ plot.note }}</p>{% endif %}{% endfor %}
<h2>What this rests on</h2><dl>
{% for label, value in report.facts %}<dt>{{ label }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
</body></html>
"""


def write_report(report: Report, path: Path) -> None:
    """Render to ``path`` (written aside, then renamed); every text is escaped."""
    template = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    plots = [
        {
            "title": plot.title,
            "note": plot.note,
            # A fixed id keeps two reports of the same figures identical to the byte.
            "html": plot.figure.to_html(
                full_html=False,
                include_plotlyjs=False,
                config={"displayModeBar": False, "responsive": True},
                div_id=f"plot-{number}",
            ),
        }
        for number, plot in enumerate(report.plots)
    ]
    text = template.render(report=report, plots=plots, plotly_js=get_plotlyjs())
    replace_text(path, text)


def line_plot(frame: pd.DataFrame, y_title: str, log: bool = False) -> go.Figure:
    """One line per column of ``frame`` over its index."""
    figure = go.Figure()
    for number, name in enumerate(frame.columns):
        figure.add_scatter(
            x=frame.index,
            y=frame[name],
            name=str(name),
            line={"width": 1.8, "color": _COLOURS[number % len(_COLOURS)]},
        )
    figure.update_yaxes(title=y_title, type="log" if log else "linear")
    return _styled(figure)


def bar_plot(frame: pd.DataFrame, y_title: str) -> go.Figure:
    """Grouped bars: one group per row, one colour per column; None leaves a gap."""
    figure = go.Figure()
    for number, name in enumerate(frame.columns):
        figure.add_bar(
            x=frame.index,
            y=frame[name],
            name=str(name),
            marker_color=_COLOURS[number % len(_COLOURS)],
        )
    figure.update_yaxes(title=y_title)
    return _styled(figure)


def reliability_plot(stated: list[float], observed: list[float]) -> go.Figure:
    """Observed against stated frequency of approval, with the diagonal."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], name="perfect", line={"dash": "dot", "color": "#6b7280"})
    figure.add_scatter(
        x=stated, y=observed, name="reward model", mode="lines+markers",
        line={"color": _COLOURS[0]},
    )  # fmt: skip
    figure.update_xaxes(title="stated probability of approval", range=[0, 1])
    figure.update_yaxes(title="observed share approved", range=[0, 1])
    return _styled(figure)


def _styled(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        height=360,
        margin={"l": 50, "r": 16, "t": 16, "b": 40},
        plot_bgcolor="white",
        paper_bgcolor="white",
        legend={"orientation": "h", "y": 1.1},
        hovermode="x unified",
    )
    figure.update_xaxes(gridcolor="#eef1f4")
    figure.update_yaxes(gridcolor="#eef1f4")
    return figure
