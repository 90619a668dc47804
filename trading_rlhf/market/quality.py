"""Findings about bars: what a quant should look at before trusting them. Nothing is repaired."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from trading_rlhf.market.bars import PRICE_NAMES, YEARS, Bars
from trading_rlhf.market.clock import trading_sessions
from trading_rlhf.market.sources import read_table
from trading_rlhf.market.tables import bars_from_table, named_columns
from trading_rlhf.types import BoolArray

__all__ = ["QualityReport", "check_bars", "check_file", "check_table", "long_schema"]

JUMP: Final = 0.5
STALE: Final = 5

_Finding: TypeAlias = tuple[str, str, str, object, str]
_COLUMNS = ["symbol", "date", "rule", "value", "action"]
_NULL_RULES = {"date": "not_a_date", "symbol": "no_symbol"}


@dataclass(frozen=True, eq=False)
class QualityReport:
    """What was found.

    Attributes:
        findings: one row per finding with symbol, date, rule, value and action. Actions: "refused"
            (``read_bars`` refuses the file), "quarantined" (kept, but look before using it) and
            "reported".
    """

    findings: pd.DataFrame

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return self.findings.empty

    @property
    def refused(self) -> bool:
        """Whether the bars cannot be used at all."""
        return bool((self.findings["action"] == "refused").any())

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by rule."""
        return {str(rule): int(n) for rule, n in self.findings["rule"].value_counts().items()}


def check_file(path: str | Path) -> QualityReport:
    """Check a file of bars: first that its rows are possible, then that they are plausible.

    Raises:
        DataError: the file cannot be read as a table or lacks a column.
    """
    table = read_table(path)
    report = check_table(table)
    return report if report.refused else check_bars(bars_from_table(table))


def check_table(table: pd.DataFrame) -> QualityReport:
    """List every impossible row of a long table; ``read_bars`` would name only the first.

    Rules: not_a_date, no_symbol, missing (no number), not_positive, negative, high_below_low,
    open_outside_range, close_outside_range, repeated, unsorted.

    Raises:
        DataError: a needed column is missing.
    """
    given = named_columns(table).reset_index(drop=True)
    if "tradable" in given:
        words = given["tradable"].astype(str).str.strip().str.lower()
        given = given[words != "false"].reset_index(drop=True)
    dates = pd.to_datetime(given["date"].astype(str), format="ISO8601", errors="coerce", utc=True)
    dates = dates.where(dates.dt.year.isin(YEARS))
    symbols = given["symbol"].astype(str).str.strip().replace("", None)
    names = [n for n in (*PRICE_NAMES, "volume", "raw_close") if n in given]
    numbers = {name: pd.to_numeric(given[name], errors="coerce").astype(float) for name in names}
    read = pd.DataFrame({"date": dates, "symbol": symbols, **numbers})
    try:
        long_schema(names).validate(read, lazy=True)
    except pa.errors.SchemaErrors as error:
        return _report(list(_refusals(error.failure_cases, given)))
    return _report([])


def long_schema(names: list[str]) -> pa.DataFrameSchema:
    """Return the schema of a long table with the given columns of numbers."""
    positive = pa.Check(lambda x: (x > 0.0) & (x < np.inf), error="not_positive")
    not_negative = pa.Check(lambda x: (x >= 0.0) & (x < np.inf), error="negative")
    columns = {n: pa.Column(float, not_negative if n == "volume" else positive) for n in names}
    checks = [pa.Check(_in_order, error="unsorted", ignore_na=False)]
    if {"high", "low"} <= set(names):
        # Asked in the negative, so that a missing number is reported once, as missing.
        checks.append(pa.Check(lambda t: ~_above(t["low"], t["high"]), error="high_below_low"))
        for name in ("open", "close"):
            checks.append(
                pa.Check(
                    lambda t, n=name: ~(_above(t[n], t["high"]) | _above(t["low"], t[n])),
                    error=f"{name}_outside_range",
                )
            )
    return pa.DataFrameSchema(
        {"date": pa.Column(), "symbol": pa.Column(str), **columns},
        checks=checks,
        unique=["date", "symbol"],
        report_duplicates="exclude_first",
    )


def check_bars(bars: Bars, sessions: pd.DatetimeIndex | None = None) -> QualityReport:
    """Look for bars that are possible but deserve a look.

    Rules: jump (a close-to-close return beyond 50% without a split: quarantined, since it may be
    real), zero_volume, stale (5 or more equal closes; value: how many), gap (sessions without a
    bar between an asset's first and last; value: how many) and off_calendar (bars on no session).

    Args:
        bars: the bars.
        sessions: days on which there should be bars; New York's if None. Bars within a day are not
            compared with a calendar.
    """
    findings: list[_Finding] = []
    for column in range(len(bars.symbols)):
        rows = np.flatnonzero(bars.tradable[:, column])
        if rows.size:
            findings += _jumps(bars, column, rows)
            findings += _zero_volumes(bars, column, rows)
            findings += _stale_runs(bars, column, rows)
            if bars.dates.tz is None:
                findings += _calendar_gaps(bars, column, rows, sessions)
    return _report(findings)


_Rows: TypeAlias = npt.NDArray[np.intp]


def _jumps(bars: Bars, column: int, rows: _Rows) -> Iterator[_Finding]:
    close = bars.close[rows, column]
    splits = np.cumsum(bars.split[:, column] != 1.0)[rows]
    moved = close[1:] / close[:-1] - 1.0
    for i in np.flatnonzero((np.abs(moved) > JUMP) & (splits[1:] == splits[:-1])):
        yield _finding(bars, column, rows[i + 1], "jump", float(moved[i]), "quarantined")


def _zero_volumes(bars: Bars, column: int, rows: _Rows) -> Iterator[_Finding]:
    if bars.volume is not None:
        for row in rows[bars.volume[rows, column] == 0.0]:
            yield _finding(bars, column, row, "zero_volume", 0.0)


def _stale_runs(bars: Bars, column: int, rows: _Rows) -> Iterator[_Finding]:
    for start, length in _runs(np.diff(bars.close[rows, column]) == 0.0):
        if length + 1 >= STALE:
            yield _finding(bars, column, rows[start], "stale", float(length + 1))


def _calendar_gaps(
    bars: Bars, column: int, rows: _Rows, sessions: pd.DatetimeIndex | None
) -> Iterator[_Finding]:
    dates = bars.dates[rows]
    if sessions is None:
        expected = trading_sessions(dates[0], dates[-1])
    else:
        expected = sessions[(sessions >= dates[0]) & (sessions <= dates[-1])]
    symbol = bars.symbols[column]
    for start, length in _runs(~expected.isin(dates)):
        yield symbol, f"{expected[start]:%Y-%m-%d}", "gap", float(length), "reported"
    strange = np.flatnonzero(~dates.isin(expected))
    if strange.size:
        yield _finding(bars, column, rows[strange[0]], "off_calendar", float(strange.size))


def _runs(flags: BoolArray) -> list[tuple[int, int]]:
    """Return start and length of each unbroken run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _finding(
    bars: Bars, column: int, row: int, rule: str, value: float, action: str = "reported"
) -> _Finding:
    day = bars.dates[row]
    text = f"{day:%Y-%m-%d}" if day.tzinfo is None else day.isoformat()
    return bars.symbols[column], text, rule, value, action


def _above(one: "pd.Series[float]", other: "pd.Series[float]") -> "pd.Series[bool]":
    """Whether one price exceeds the other by more than rounding."""
    return one > other * (1.0 + 1e-9)


def _in_order(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each row is not earlier than the row before it of the same symbol."""
    earlier = table.groupby("symbol")["date"].diff() < pd.Timedelta(0)
    return ~earlier


def _refusals(cases: pd.DataFrame, given: pd.DataFrame) -> Iterator[_Finding]:
    """Turn pandera's failure cases into one finding per row, column and rule."""
    seen: set[tuple[Any, ...]] = set()
    cases = cases.sort_values("index", kind="stable")
    for place, of, check, row in cases[["schema_context", "column", "check", "index"]].to_numpy():
        by_row, rule = place == "DataFrameSchema", str(check)
        column = "" if by_row else str(of)
        if rule == "multiple_fields_uniqueness":
            rule = "repeated"
        if rule == "not_nullable":
            rule = _NULL_RULES.get(column, "missing")
        if (row, column, rule) in seen:
            continue
        seen.add((row, column, rule))
        value = given["close" if by_row else column].iloc[row]
        shown = str(value) if by_row else f"{column} {value}".strip()
        yield (
            str(given["symbol"].iloc[row]),
            str(given["date"].iloc[row]).removesuffix(" 00:00:00"),
            rule,
            shown,
            "refused",
        )


def _report(findings: list[_Finding]) -> QualityReport:
    return QualityReport(pd.DataFrame(findings, columns=_COLUMNS))
