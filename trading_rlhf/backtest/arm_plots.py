"""Plots of arms over the same bars: curves, months, holdings, trades and costs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_rlhf.backtest.plots import COLOURS, GREY, styled
from trading_rlhf.backtest.statistics import CostCurve

__all__ = [
    "cost_plot",
    "curve_plot",
    "exposure_plot",
    "holdings_plot",
    "monthly_plot",
    "trade_plot",
]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BUY, _SELL = "#0f8a68", "#c24a33"
_MOST_ASSETS = 12
"""Assets in a plot: more lines than this are not read."""


def curve_plot(equity: pd.DataFrame, main: str) -> go.Figure:
    """Equity of every arm above (logarithmic), how far each is below its peak underneath.

    Args:
        equity: ``[dates x arms]``, each from 1.0; columns of one name are draws of one arm.
        main: the arm drawn strongest.
    """
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.05
    )
    under = equity / equity.cummax() - 1.0
    names = list(dict.fromkeys(equity.columns))
    for place, name in enumerate(equity.columns):
        number, is_main = names.index(name), name == main
        draws = int((equity.columns == name).sum())
        is_first = place == list(equity.columns).index(name)
        common = {
            "x": equity.index, "legendgroup": str(name),
            "name": str(name) if draws == 1 else f"{name} ({draws} draws)",
        }  # fmt: skip
        line = {
            "color": COLOURS[number % len(COLOURS)],
            "width": 2.6 if is_main else 1.4 if draws == 1 else 0.8,
        }
        # One line of the draws' values is enough to read at the pointer.
        hover = None if is_first else "skip"
        figure.add_scatter(
            y=equity.iloc[:, place], line=line, showlegend=is_first, hoverinfo=hover,
            hovertemplate="%{y:.3f}" if is_first else None, row=1, col=1, **common,
        )  # fmt: skip
        figure.add_scatter(
            y=under.iloc[:, place], line=line, showlegend=False, hoverinfo=hover,
            hovertemplate="%{y:.1%}" if is_first else None,
            fill="tozeroy" if is_main else None, row=2, col=1, **common,
        )  # fmt: skip
    low, high = float(equity.to_numpy().min()), float(equity.to_numpy().max())
    figure.update_yaxes(
        type="log",
        title="equity, 1 at the start (log scale)",
        tickvals=_log_ticks(low, high),
        row=1,
        col=1,
    )
    figure.update_yaxes(title="below the peak", tickformat=".0%", row=2, col=1)
    return styled(figure, height=560)


def monthly_plot(equity: pd.Series) -> go.Figure:
    """Return of each month, and of each year at the right, as a map of colours."""
    dates = pd.DatetimeIndex(equity.index)
    months = equity.groupby([dates.year, dates.month]).last()
    before = months.shift(1, fill_value=1.0)
    grid = (months / before - 1.0).unstack().reindex(columns=range(1, 13))
    years = months.groupby(level=0).last()
    grid["Year"] = years / years.shift(1, fill_value=1.0) - 1.0
    values = grid.to_numpy(dtype=np.float64)
    text = [["" if np.isnan(v) else f"{100 * v:.1f}" for v in row] for row in values]
    limit = float(np.nanquantile(np.abs(values[:, :12]), 0.95)) or 0.01
    figure = go.Figure(
        go.Heatmap(
            z=values, x=[*_MONTHS, "Year"], y=[str(year) for year in grid.index], text=text,
            texttemplate="%{text}", zmin=-limit, zmax=limit, showscale=False, xgap=2, ygap=2,
            colorscale=[[0, "#d96a55"], [0.5, "#f4f5f6"], [1, "#4aa587"]],
            textfont={"color": "#1f2937"},
            hovertemplate="%{x} %{y}: %{text}%<extra></extra>",
        )
    )  # fmt: skip
    styled(figure, height=70 + 30 * len(grid))
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(side="top", showgrid=False)
    figure.update_layout(hovermode="closest", margin={"t": 30, "b": 8})
    return figure


def exposure_plot(gross: pd.DataFrame) -> go.Figure:
    """Sum of absolute weights of every arm over time.

    Args:
        gross: ``[dates x arms]`` (fraction of equity).
    """
    figure = go.Figure()
    for number, name in enumerate(gross.columns):
        figure.add_scatter(
            x=gross.index, y=gross[name], name=str(name), hovertemplate="%{y:.0%}",
            line={"width": 1.4, "color": COLOURS[number % len(COLOURS)]},
        )  # fmt: skip
    figure.update_yaxes(title="of equity", tickformat=".0%", rangemode="tozero")
    return styled(figure, height=300)


def holdings_plot(weights: pd.DataFrame) -> go.Figure:
    """What one arm holds over time: a band per asset; short positions lie below zero.

    Args:
        weights: ``[dates x assets]`` (signed fraction of equity).
    """
    size = weights.abs().mean().sort_values(ascending=False)
    shown = weights[size.index[:_MOST_ASSETS]].copy()
    if len(size) > _MOST_ASSETS:
        shown["all others"] = weights[size.index[_MOST_ASSETS:]].sum(axis=1)
    figure = go.Figure()
    for number, name in enumerate(shown.columns):
        colour = COLOURS[number % len(COLOURS)]
        for part, group in (
            (shown[name].clip(lower=0), "long"),
            (shown[name].clip(upper=0), "short"),
        ):
            if group == "long" or bool((part < 0).any()):
                figure.add_scatter(
                    x=shown.index, y=part, name=str(name), stackgroup=group,
                    legendgroup=str(name), showlegend=group == "long",
                    line={"width": 0.5, "color": colour}, hovertemplate="%{y:.1%}",
                )  # fmt: skip
    figure.update_yaxes(title="of equity", tickformat=".0%")
    return styled(figure, height=320)


def trade_plot(close: pd.DataFrame, orders: pd.DataFrame) -> go.Figure:
    """Closes with the fills of one arm; the asset is chosen above the plot, most traded first.

    Args:
        close: ``[dates x symbols]`` adjusted closes (USD).
        orders: ``BacktestResult.orders`` of that arm.
    """
    traded = (
        orders.assign(size=orders["value"].abs()).groupby("symbol", observed=True)["size"].sum()
    )
    symbols = [str(name) for name in traded.sort_values(ascending=False).index[:_MOST_ASSETS]]
    figure, per_asset = go.Figure(), 3
    for number, symbol in enumerate(symbols):
        own, visible = orders[orders["symbol"] == symbol], number == 0
        figure.add_scatter(
            x=close.index, y=close[symbol], name="close", visible=visible,
            line={"width": 1.2, "color": GREY}, hovertemplate="%{y:.2f}",
        )  # fmt: skip
        for side, colour, mark in (("buy", _BUY, "triangle-up"), ("sell", _SELL, "triangle-down")):
            _add_fills(figure, close[symbol], own[own["side"] == side], side, colour, mark, visible)
    buttons = [
        {
            "label": symbol,
            "method": "update",
            "args": [{"visible": [i // per_asset == j for i in range(per_asset * len(symbols))]}],
        }
        for j, symbol in enumerate(symbols)
    ]
    styled(figure, height=430)
    figure.update_layout(
        updatemenus=[
            {"buttons": buttons, "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
        ],
        hovermode="closest",
        margin={"t": 40},
    )
    figure.update_yaxes(title="price, adjusted (USD)")
    return figure


def cost_plot(curves: Mapping[str, CostCurve], names: list[str]) -> go.Figure:
    """Yearly return of every arm against multiples of its costs.

    Args:
        curves: by arm.
        names: of all arms, so that each keeps its colour.
    """
    figure = go.Figure()
    for name, curve in curves.items():
        figure.add_scatter(
            x=curve.table.index, y=curve.table["annual_return"], name=name, mode="lines+markers",
            line={"width": 1.8, "color": COLOURS[names.index(name) % len(COLOURS)]},
            hovertemplate="%{y:.1%}",
        )  # fmt: skip
    figure.update_xaxes(title="times the costs", ticksuffix="x")
    figure.update_yaxes(title="return (yearly)", tickformat=".0%")
    figure.add_hline(y=0, line_width=1, line_color=GREY)
    return styled(figure, height=340)


def _add_fills(
    figure: go.Figure,
    close: pd.Series,
    fills: pd.DataFrame,
    side: str,
    colour: str,
    mark: str,
    visible: bool,
) -> None:
    """Marks on the close of the session in which each order filled, larger for larger orders."""
    size = fills["weight"].abs().fillna(0.0).to_numpy()
    text = [
        f"{side} {100 * weight:.1f}% of equity<br>{shares:,.0f} shares at {price:,.2f}"
        for weight, shares, price in zip(size, fills["shares"], fills["price"], strict=True)
    ]
    figure.add_scatter(
        x=fills["filled_on"], y=close.reindex(fills["filled_on"]).to_numpy(),
        name=side, mode="markers", visible=visible, text=text,
        hovertemplate="%{x|%d %b %Y}<br>%{text}<extra></extra>",
        marker={
            "symbol": mark, "color": colour, "opacity": 0.8,
            "size": 5 + 60 * np.sqrt(np.minimum(size, 0.1)) / np.sqrt(10.0),
        },
    )  # fmt: skip


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two levels of equity, about half a dozen."""
    low, high = max(low, 1e-3), max(high, 2e-3)
    steps = [m * 10.0**e for e in range(-3, 5) for m in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)]
    near = [step for step in steps if 0.95 * low <= step <= 1.05 * high]
    return near[:: max(1, len(near) // 7)]
