"""Measures in plain words, and their values as a reader expects them."""

import math

import pandas as pd

__all__ = [
    "LABELS",
    "arm_table",
    "date_range",
    "label",
    "measure_text",
    "percent",
    "signed_percent",
]

LABELS = {
    "total_return": "Total return",
    "annual_return": "Return (yearly)",
    "volatility": "Volatility (yearly)",
    "sharpe": "Sharpe (yearly)",
    "sortino": "Sortino (yearly)",
    "calmar": "Calmar (yearly)",
    "max_drawdown": "Max drawdown",
    "drawdown_length": "Longest drawdown (bars)",
    "cvar": "Mean loss of the worst 5% of bars",
    "alpha": "Alpha to equal weights (yearly)",
    "beta": "Beta to equal weights",
    "turnover": "Traded a bar (of equity)",
    "cost": "Cost of trading (yearly)",
    "exposure": "Average exposure",
    "hit_rate": "Bars with a profit, of those invested",
}
"""By the name in ``BacktestResult.measures``."""

_RATIOS = {"sharpe", "sortino", "calmar", "beta"}
_FINE = {"cost", "turnover", "cvar"}


def label(name: str) -> str:
    """A measure's name in plain words; unknown ones lose their underscores."""
    return LABELS.get(name, name.replace("_", " "))


def measure_text(name: str, value: float) -> str:
    """A measure's value: percent where it is a fraction, a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    if name in _RATIOS:
        return f"{value:.2f}"
    if name in ("drawdown_length", "bars"):
        return f"{value:,.0f}"
    return percent(value, 2 if name in _FINE else 1)


def percent(value: float, digits: int = 1) -> str:
    """A fraction as percent."""
    # Rounded first: what is too small to be shown is no minus zero.
    return f"{round(100 * value, digits) + 0.0:.{digits}f}%"


def signed_percent(value: float, digits: int = 1) -> str:
    """A fraction as percent with its sign."""
    return f"{round(100 * value, digits) + 0.0:+.{digits}f}%"


def arm_table(measures: pd.DataFrame) -> pd.DataFrame:
    """Measures as text: one row per measure in plain words, one column per arm.

    Args:
        measures: one row per arm, one column per measure.
    """
    ordered = [*(n for n in LABELS if n in measures), *(n for n in measures if n not in LABELS)]
    cells = {
        label(str(name)): [measure_text(str(name), float(value)) for value in measures[name]]
        for name in ordered
    }
    table = pd.DataFrame(cells, index=measures.index).T
    table.index.name = ""
    return table


def date_range(dates: pd.DatetimeIndex) -> str:
    """First to last date."""
    return f"{dates[0].date()} to {dates[-1].date()}"
