"""Tables of tested arms, as text."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from trading_rlhf.backtest.arm_statistics import ArmStatistics
from trading_rlhf.backtest.breakdown import REGIMES
from trading_rlhf.backtest.labels import measure_text, percent, signed_percent
from trading_rlhf.backtest.result import BacktestResult
from trading_rlhf.backtest.statistics import CostCurve, Interval, sharpe_standard_error

__all__ = [
    "Rows",
    "asset_shares",
    "cost_table",
    "luck_table",
    "regime_table",
    "pair_table",
    "trading_table",
    "year_table",
    "yearly_return",
]

Rows: TypeAlias = Mapping[str, Sequence[int]]
"""Strategies of a result by arm: one, or the draws of an arm whose figures are averaged."""

_CLEAR = 0.05
"""p values below, all pairs counted, are called a difference."""

_VERDICT = "Verdict"
_HEADLINES = {
    "log_growth": ("Log growth (yearly)", "more growth", "less growth"),
    "sharpe": ("Sharpe (yearly)", "better Sharpe", "worse Sharpe"),
    "max_drawdown": ("Max drawdown (less is better)", "less drawdown", "more drawdown"),
}
"""By figure: its name, and what a clear difference is called for good and for bad."""


def yearly_return(growth: Interval) -> str:
    """Yearly return with its interval, from that of yearly log growth."""
    value, low, high = (math.expm1(x) for x in (growth.value, growth.low, growth.high))
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def luck_table(
    names: Sequence[str], statistics: Sequence[ArmStatistics], bars_per_year: float
) -> pd.DataFrame:
    """Headlines with their 95% intervals, and what luck explains of them; one row per arm."""
    rows = {}
    for name, arm in zip(names, statistics, strict=True):
        luck, found = arm.luck, arm.intervals
        sharpe, drop = found["sharpe"], found["max_drawdown"]
        rows[name] = {
            "Return (yearly)": yearly_return(found["log_growth"]),
            "Sharpe (yearly)": f"{sharpe.value:.2f} ({sharpe.low:.2f} to {sharpe.high:.2f})",
            "Max drawdown": f"{percent(drop.value, 0)} ({percent(drop.low, 0)} to "
            f"{percent(drop.high, 0)})",
            "PSR": _share(luck.psr),
            "DSR": _share(luck.dsr),
            "Best of luck": "-" if luck.expected_max is None else f"{luck.expected_max:.2f}",
            "Years needed": _years(luck.bars_needed, bars_per_year),
        }
    return _named(rows, "arm")


def pair_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Differences between arms with their intervals and p values, one row per pair.

    Args:
        tests: from ``compare_arms``.
    """
    rows: dict[str, dict[str, str]] = {}
    for test in tests.to_dict(orient="records"):
        row = rows.setdefault(f"{test['first']} against {test['second']}", {})
        words, better, worse = _HEADLINES[test["figure"]]
        values = (test["difference"], test["low"], test["high"])
        value, low, high = (
            f"{x:+.2f}" if test["figure"] == "sharpe" else signed_percent(x) for x in values
        )
        p = f"{test['p_value']:.2f}"
        if test["figure"] == "log_growth":
            row |= {words: value, "95% interval": f"{low} to {high}", "p": p}
        else:
            row[words] = f"{value} (p {p})"
        if test["p_holm"] < _CLEAR:
            less_is_better = test["figure"] == "max_drawdown"
            good = (test["difference"] > 0) != less_is_better
            row[_VERDICT] = ", ".join(
                [*filter(None, [row.get(_VERDICT)]), better if good else worse]
            )
    table = _named(rows, "")
    if _VERDICT not in table:
        table[_VERDICT] = None
    return table[[c for c in table if c != _VERDICT] + [_VERDICT]].fillna("not distinguishable")


def trading_table(result: BacktestResult, rows: Rows) -> pd.DataFrame:
    """What the orders and trades of each arm were, one row per arm."""
    orders, trades, table = result.orders, result.trades, {}
    for name, own in rows.items():
        sent = orders[orders["strategy"].isin(own)]
        closed = trades[trades["strategy"].isin(own) & ~trades["open"]]
        won, lost = closed[closed["profit"] > 0], closed[closed["profit"] <= 0]
        table[name] = {
            "Orders": f"{len(sent) / len(own):,.0f}",
            "Mean order (of equity)": percent(_mean(sent["weight"].abs())),
            "Cost (USD)": f"{sent['cost'].sum() / len(own):,.0f}",
            "Closings": f"{len(closed) / len(own):,.0f}",
            "Won": percent(len(won) / len(closed), 0) if len(closed) else "-",
            "Mean gain (USD)": f"{_mean(won['profit']):,.0f}" if len(won) else "-",
            "Mean loss (USD)": f"{_mean(lost['profit']):,.0f}" if len(lost) else "-",
            "Bars since entry (median)": f"{closed['bars'].median():,.0f}" if len(closed) else "-",
        }
    return _named(table, "arm")


def year_table(result: BacktestResult, rows: Rows) -> pd.DataFrame:
    """Return of each calendar year, one row per year and one column per arm."""
    found = _by_arm(result.by_year()["total_return"].unstack(0), rows)
    table = found.map(lambda value: measure_text("total_return", value))
    table.index = table.index.map(str)
    table.index.name = "year"
    return table


def regime_table(result: BacktestResult, rows: Rows, bars_per_year: float) -> pd.DataFrame:
    """Sharpe ratio of each regime of volatility and its standard error, one column per arm."""
    split = result.by_regime()
    sharpe, bars = _by_arm(split["sharpe"].unstack(0), rows), split["bars"].unstack(0)[0]
    ordered = [name for name in REGIMES if name in sharpe.index]
    table = {
        arm: [
            _with_error(float(sharpe[arm][name]), int(bars[name]), bars_per_year)
            for name in ordered
        ]
        for arm in rows
    }
    index = pd.Index([f"{name} ({bars[name]:,} bars)" for name in ordered], name="market")
    return pd.DataFrame(table, index=index)


def asset_shares(result: BacktestResult, rows: Rows) -> pd.DataFrame:
    """What each asset added to the total return, one row per asset and one column per arm."""
    contribution = result.by_asset()["contribution"]
    ordered = list(dict.fromkeys(contribution.index.get_level_values("asset")))
    found = _by_arm(contribution.unstack(0).loc[ordered], rows)
    table = found.map(signed_percent)
    table.loc["total"] = [signed_percent(value) for value in found.sum()]
    table.index.name = "asset"
    return table


def cost_table(curves: Mapping[str, CostCurve]) -> pd.DataFrame:
    """Yearly return at multiples of the costs and where it is gone, one row per arm."""
    rows = {}
    for name, curve in curves.items():
        points = curve.table["annual_return"]
        rows[name] = {
            **{f"{factor:g}x": percent(value) for factor, value in points.items()},
            "Break-even": curve.words,
        }
    return _named(rows, "arm")


def _by_arm(table: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """One column per arm from one per strategy; those of several draws are averaged."""
    return pd.DataFrame({name: table[list(own)].mean(axis=1) for name, own in rows.items()})


def _with_error(sharpe: float, bars: int, bars_per_year: float) -> str:
    if not math.isfinite(sharpe):
        return "-"
    return f"{sharpe:.2f} ± {sharpe_standard_error(sharpe, bars, bars_per_year):.2f}"


def _share(value: float | None) -> str:
    # Rounding must not lift a value over a threshold that it misses.
    return "-" if value is None else f"{math.floor(value * 100 + 1e-9) / 100:.2f}"


def _years(bars: float | None, bars_per_year: float) -> str:
    if bars is None:
        return "-"
    return "never" if math.isinf(bars) else f"{bars / bars_per_year:.1f}"


def _mean(values: "pd.Series[float]") -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _named(rows: dict[str, dict[str, str]], name: str) -> pd.DataFrame:
    table = pd.DataFrame(rows).T
    table.index.name = name
    return table
