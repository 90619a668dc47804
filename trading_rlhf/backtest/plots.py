"""Plots that every report draws: lines, bars, and a model's probabilities against what happened."""

import pandas as pd
import plotly.graph_objects as go

__all__ = ["COLOURS", "GREY", "bar_plot", "line_plot", "reliability_plot", "styled"]

COLOURS = ["#0f6e56", "#b3412c", "#3b6ea5", "#b07d12", "#6b7280", "#7d4ea0", "#111827"]
GREY = "#6b7280"

_GRID = "rgba(128,138,150,0.2)"


def line_plot(frame: pd.DataFrame, y_title: str, log: bool = False) -> go.Figure:
    """One line per column of ``frame`` over its index."""
    figure = go.Figure()
    for number, name in enumerate(frame.columns):
        figure.add_scatter(
            x=frame.index,
            y=frame[name],
            name=str(name),
            line={"width": 1.8, "color": COLOURS[number % len(COLOURS)]},
        )
    figure.update_yaxes(title=y_title, type="log" if log else "linear")
    return styled(figure)


def bar_plot(frame: pd.DataFrame, y_title: str) -> go.Figure:
    """Grouped bars: one group per row, one colour per column; None leaves a gap."""
    figure = go.Figure()
    for number, name in enumerate(frame.columns):
        figure.add_bar(
            x=frame.index,
            y=frame[name],
            name=str(name),
            marker_color=COLOURS[number % len(COLOURS)],
        )
    figure.update_yaxes(title=y_title)
    return styled(figure)


def reliability_plot(stated: list[float], observed: list[float]) -> go.Figure:
    """Observed against stated frequency of approval, with the diagonal."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], name="perfect", line={"dash": "dot", "color": GREY})
    figure.add_scatter(
        x=stated, y=observed, name="reward model", mode="lines+markers",
        line={"color": COLOURS[0]},
    )  # fmt: skip
    figure.update_xaxes(title="stated probability of approval", range=[0, 1])
    figure.update_yaxes(title="observed share approved", range=[0, 1])
    return styled(figure)


def styled(figure: go.Figure, height: int = 360) -> go.Figure:
    """Give a figure the look of the reports: clear ground, faint grid, the legend on top."""
    clear = "rgba(0,0,0,0)"
    figure.update_layout(
        height=height,
        margin={"l": 50, "r": 16, "t": 16, "b": 40},
        plot_bgcolor=clear,
        paper_bgcolor=clear,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
    )
    figure.update_xaxes(gridcolor=_GRID, zerolinecolor=_GRID)
    figure.update_yaxes(gridcolor=_GRID, zerolinecolor=_GRID)
    return figure
