"""Approval against profit at other thresholds of the filter: a chapter of the backtest page."""

import pandas as pd
import plotly.graph_objects as go

from trading_rlhf.backtest import Plot, Section, Table
from trading_rlhf.backtest.labels import percent
from trading_rlhf.backtest.plots import COLOURS, styled
from trading_rlhf.errors import RunError
from trading_rlhf.loop import Context, Frontier, simulated_desk, threshold_frontier

__all__ = ["frontier_sections", "sweep_threshold"]

_NAMES = {"base": "raw policy", "shaped": "shaped policy"}


def sweep_threshold(context: Context) -> Frontier:
    """Walk the run's policies under other thresholds of the filter; every point is a trial.

    Raises:
        RunError: the run has no reward model to filter with.
    """
    stored = context.reward_model()
    if stored is None:
        raise RunError(
            "a frontier needs a reward model to filter with",
            f"none in {context.folder}",
            "Run 'trading-rlhf learn' first, or leave out --frontier.",
        )
    model, record = stored
    kinds = [kind for kind in _NAMES if context.newest("policy", kind)]
    policies = {_NAMES[kind]: context.policy(kind)[0] for kind in kinds}
    decider = simulated_desk(context)[0] if record.simulated else None
    return threshold_frontier(context, policies, model, decider)


def frontier_sections(frontier: Frontier | None) -> list[Section]:
    """The chapter on approval and profit; none where it was not asked for."""
    if frontier is None:
        return []
    known = frontier.points[frontier.points["approval"].notna()]
    parts: list[Plot | Table] = [Table("Every threshold", _table(frontier.points), _TABLE_NOTE)]
    if len(known):
        parts.insert(0, Plot("", _plot(known), _PLOT_NOTE))
    return [Section("Approval against profit", [frontier.note], parts)]


def _plot(points: pd.DataFrame) -> go.Figure:
    figure = go.Figure()
    for number, (name, own) in enumerate(points.groupby("policy", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=own["approval"], y=own["growth_bps"], name=str(name), mode="lines+markers+text",
            text=[f"{bar:g}" for bar in own["threshold"]], textposition="top center",
            textfont={"size": 10},
            line={"color": colour, "width": 1.2},
            marker={"size": 9, "color": colour,
                    "symbol": ["circle" if best else "circle-open" for best in own["best"]]},
            hovertemplate="threshold %{text}<br>approval %{x:.0%}, %{y:.1f} bps a bar"
            f"<extra>{name}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title="approval of what is shown, by notional", tickformat=".0%")
    figure.update_yaxes(title="growth (bps a bar)")
    styled(figure, height=400)
    return figure.update_layout(hovermode="closest")


def _table(points: pd.DataFrame) -> pd.DataFrame:
    rows = {
        f"{row['policy']}, {row['threshold']:g}": {
            "Approval": _share(row["approval"]),
            "Approval by count": _share(row["approval_count"]),
            "Growth (bps a bar)": f"{row['growth_bps']:.2f} ± {row['growth_error']:.2f}",
            "Sharpe (yearly)": f"{row['sharpe']:.2f}",
            "Shown a bar": f"{row['reviews']:.2f}",
        }
        for row in points.to_dict(orient="records")
    }
    table = pd.DataFrame(rows).T
    table.index.name = "policy, threshold"
    return table


def _share(value: float) -> str:
    return "not enough" if value != value else percent(value, 0)


_PLOT_NOTE = (
    "Each point is a threshold of the filter (its label). Filled: no other point has as much of "
    "both. Standard errors are in the table."
)
_TABLE_NOTE = "Every point was looked at out of sample and counts as a trial."
