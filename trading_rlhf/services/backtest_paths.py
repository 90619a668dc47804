"""Paths of combinatorial cross-validation, where they can be seen: a chapter of the backtest."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_rlhf.backtest import Plot, Section, Table, date_range
from trading_rlhf.backtest.labels import percent
from trading_rlhf.backtest.plots import COLOURS, GREY, line_plot
from trading_rlhf.config import FoldsConfig
from trading_rlhf.loop import EQUAL, HOLD, CrossValidated
from trading_rlhf.types import JsonDict

__all__ = ["paths_figures", "paths_section"]

_TITLE = "Cross-validation"
_MOST_POINTS = 1000


def paths_section(found: CrossValidated, folds: FoldsConfig) -> Section:
    """The chapter on the paths: their curves, and how their Sharpe ratios spread."""
    paths = found.figures
    hold = float(found.rules.sharpes[1])
    above = int((paths.sharpes > hold).sum())
    how = (
        f"The bars were cut into {folds.groups} groups; for each of the {found.splits} choices of "
        f"{folds.tested} to test, the base policy was trained on the others, {found.gap} bars left "
        f"out before a test and {2 * found.gap} after. The tests join to {len(paths.sharpes)} "
        f"paths over {date_range(found.dates)}, each traded by policies that were not trained on "
        "what they trade. They were trained on later bars, too: no path could have been earned."
    )
    spread = (
        f"Sharpe ratio over the paths: mean {paths.mean:.2f}, from {paths.sharpes.min():.2f} to "
        f"{paths.sharpes.max():.2f} (standard deviation {paths.spread:.2f}); {above} of "
        f"{len(paths.sharpes)} above {HOLD} ({hold:.2f}) on the same bars, "
        f"{percent(paths.losing, 0)} lost money."
    )
    return Section(
        _TITLE,
        [how, spread, _PBO],
        [
            Plot("", _plot(found), "Equity after all costs. Each tested group starts from cash."),
            Table("The paths", _table(found), _NOTE),
        ],
    )


def paths_figures(found: CrossValidated) -> JsonDict:
    """What was found, for machines."""
    return {
        "splits": found.splits,
        "gap": found.gap,
        "dates": [found.dates[0].isoformat(), found.dates[-1].isoformat()],
        "sharpes": found.figures.sharpes.tolist(),
        "mean": found.figures.mean,
        "spread": found.figures.spread,
        "losing": found.figures.losing,
        "total_returns": (found.figures.equity[:, -1] - 1.0).tolist(),
        "rules": dict(zip((EQUAL, HOLD), found.rules.sharpes.tolist(), strict=True)),
    }


def _plot(found: CrossValidated) -> go.Figure:
    paths = {f"path {number + 1}": curve for number, curve in enumerate(found.figures.equity)}
    rules = dict(zip((EQUAL, HOLD), found.rules.equity, strict=True))
    frame = pd.DataFrame({**paths, **rules}, index=found.dates)
    # More closes than the plot has room for would make the page heavy and show nothing more.
    step = max(1, len(frame) // _MOST_POINTS)
    drawn = frame.iloc[[*range(0, len(frame) - 1, step), len(frame) - 1]]
    figure = line_plot(drawn, "equity (log scale)", log=True)
    for number, line in enumerate(figure.data):
        own = line.name in paths
        line.line = {
            "width": 1.0 if own else 2.0,
            "color": COLOURS[0] if own else GREY,
            "dash": "dot" if line.name == EQUAL else "solid",
        }
        if own:
            line.legendgroup = "paths"
            line.showlegend = number == 0
    figure.data[0].name = f"{len(paths)} paths"
    return figure


def _table(found: CrossValidated) -> pd.DataFrame:
    both = [(f"path {n + 1}", found.figures, n) for n in range(len(found.figures.sharpes))]
    both += [(EQUAL, found.rules, 0), (HOLD, found.rules, 1)]
    rows = {
        name: {
            "Sharpe (yearly)": f"{figures.sharpes[row]:.2f}",
            "Total return": percent(figures.equity[row, -1] - 1.0, 0),
            "Max drawdown": percent(_drawdown(figures.equity[row]), 0),
        }
        for name, figures, row in both
    }
    return pd.DataFrame(rows).T.rename_axis("path")


def _drawdown(equity: np.ndarray) -> float:
    return float((1.0 - equity / np.maximum.accumulate(equity)).max())


_PBO = (
    "The paths are of one strategy on different trainings, so nothing was chosen among them and "
    "there is no probability of overfitting here: that is of sweeps, under 'Is it luck?'."
)
_NOTE = (
    "Paths share bars and trainings, so their spread is no interval: it says how much hangs on "
    "what was trained on. Every training counts as a trial."
)
