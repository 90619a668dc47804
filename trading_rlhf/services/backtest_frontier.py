"""Approval against profit, by threshold and by price of shaping: a chapter of the backtest page."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from trading_rlhf.backtest import Plot, Section, Table
from trading_rlhf.backtest.labels import percent
from trading_rlhf.backtest.plots import COLOURS, styled
from trading_rlhf.errors import RunError
from trading_rlhf.loop import (
    Context,
    Frontier,
    price_frontier,
    simulated_desk,
    threshold_frontier,
)
from trading_rlhf.types import Progress

__all__ = ["Frontiers", "frontier_section", "sweep_approval"]

_POLICIES = {"raw policy": "base", "shaped policy": "shaped"}
_TITLE = "Approval against profit"


@dataclass(frozen=True)
class Frontiers:
    """What approval costs in profit.

    Attributes:
        thresholds: by the filter's bar.
        prices: by price and target approval of shaping.
    """

    thresholds: Frontier
    prices: Frontier


def sweep_approval(context: Context, progress: Progress) -> Frontiers:
    """Try other thresholds of the filter, and other prices and target approvals of shaping.

    Every point is a trial.

    Raises:
        RunError: the run has no reward model to filter with, or no shaped policy.
    """
    stored = context.reward_model()
    if stored is None:
        raise RunError(
            "a frontier needs a reward model to filter with",
            f"none in {context.folder}",
            "Run 'trading-rlhf learn' first, or leave out --frontier.",
        )
    decider = simulated_desk(context)[0] if stored[1].simulated else None
    return Frontiers(
        threshold_frontier(context, _POLICIES, decider),
        price_frontier(context, decider, progress),
    )


def frontier_section(found: Frontiers) -> Section:
    """The chapter on approval and profit."""
    parts: list[Plot | Table] = []
    for title, note, frontier, naming in (
        ("By threshold of the filter", _THRESHOLDS, found.thresholds, _BY_THRESHOLD),
        ("By price and target approval of shaping", _PRICES, found.prices, _BY_PRICE),
    ):
        known = frontier.points[frontier.points["approval"].notna()]
        if len(known):
            parts.append(Plot(title, _plot(known, naming), f"{note} {_MARKS}"))
        # The heading stands over the plot, or over the table where nothing can be drawn.
        table = _table(frontier.points, naming)
        parts.append(Table("" if len(known) else title, table, _TRIALS))
    return Section(_TITLE, [found.thresholds.note], parts)


@dataclass(frozen=True)
class _Naming:
    """How the points of a sweep are named.

    Attributes:
        line: which points are joined, by row.
        point: what tells one from another on its line, by row.
        columns: the same as columns of the table, with a text for each row.
    """

    line: Callable[[pd.Series], str]
    point: Callable[[pd.Series], str]
    columns: dict[str, Callable[[pd.Series], str]]


def _target(row: pd.Series) -> str:
    return "any" if math.isnan(row["target_approval"]) else percent(row["target_approval"], 0)


_BY_THRESHOLD = _Naming(
    line=lambda row: str(row["policy"]),
    point=lambda row: f"{row['threshold']:g}",
    columns={
        "policy": lambda row: str(row["policy"]),
        "threshold": lambda row: f"{row['threshold']:g}",
    },
)
_BY_PRICE = _Naming(
    line=lambda row: f"target {_target(row)}",
    point=lambda row: f"{row['price_bps']:g} bps",
    columns={"price (bps)": lambda row: f"{row['price_bps']:g}", "target approval": _target},
)


def _plot(points: pd.DataFrame, naming: _Naming) -> go.Figure:
    figure = go.Figure()
    lines = points.apply(naming.line, axis=1)
    for number, name in enumerate(dict.fromkeys(lines)):
        own = points[lines == name]
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=own["approval"], y=own["growth_bps"], name=str(name), mode="lines+markers+text",
            text=[naming.point(row) for _, row in own.iterrows()], textposition="top center",
            textfont={"size": 10}, line={"color": colour, "width": 1.2},
            marker={"size": [13 if mine else 9 for mine in own["own"]], "color": colour,
                    "symbol": ["circle" if best else "circle-open" for best in own["best"]]},
            hovertemplate="%{text}<br>approval %{x:.0%}, %{y:.1f} bps a bar"
            f"<extra>{name}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title="approval of what is shown, by notional", tickformat=".0%")
    figure.update_yaxes(title="growth (bps a bar)")
    styled(figure, height=400)
    return figure.update_layout(hovermode="closest")


def _table(points: pd.DataFrame, naming: _Naming) -> pd.DataFrame:
    rows = [
        {
            **{name: text(row) for name, text in naming.columns.items()},
            "Approval": _share(row["approval"]),
            "by count": _share(row["approval_count"]),
            "Growth (bps a bar)": f"{row['growth_bps']:.2f} ± {row['growth_error']:.2f}",
            "Sharpe (yearly)": f"{row['sharpe']:.2f}",
            "Shown a bar": f"{row['reviews']:.2f}",
            "": ", ".join(
                word for word, holds in (("this run", row["own"]), ("best", row["best"])) if holds
            ),
        }
        for _, row in points.iterrows()
    ]
    table = pd.DataFrame(rows)
    return table.set_index(next(iter(naming.columns)))


def _share(value: float) -> str:
    return "not enough" if math.isnan(value) else percent(value, 0)


_THRESHOLDS = "Each point is a threshold of the filter (its label)."
_PRICES = (
    "Each point is a policy shaped at a price (its label) charged on disapproved notional for what "
    "falls short of the target approval; at price 0 no target matters. The filter is the run's."
)
_MARKS = (
    "Filled: no other point has as much of both. Larger: this run's settings. Growth after ± one "
    "standard error."
)
_TRIALS = "Every point was looked at out of sample and counts as a trial."
