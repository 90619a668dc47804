"""Findings about bars: what a quant should look at before trusting them. Nothing is repaired."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.market.actions import ignored_dividends, split_days
from trading_rlhf.market.attendance import missing_and_extra
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.clock import bar_close
from trading_rlhf.market.findings import Findings, found, joined, no_findings, report_table
from trading_rlhf.market.layouts import LongTable, long_table
from trading_rlhf.market.sources import named_in_errors, read_table
from trading_rlhf.market.tables import bars_of
from trading_rlhf.types import BoolArray, Clock, FloatArray

__all__ = [
    "QualityReport",
    "check_bars",
    "check_file",
    "check_table",
    "done_about",
    "survivorship_note",
]

JUMP: Final = 0.5
STALE: Final = 5
_ENDED: Final = 10

_DONE: Final = {
    "refused": "refused: nothing is read until it is corrected",
    "quarantined": "quarantined: kept, may be real; look before using it",
    "unfinished": "quarantined: kept; decide nothing on it before it ends",
    "zero_volume": "kept; no order fills on it",
    "gap": "kept as missing; no order fills there",
    "missing_bars": "kept as missing; no order fills there",
    "off_calendar": "kept; no session of the exchange",
    "outside_hours": "kept; bars are labelled by their start",
    "reported": "kept as it is",
}

_Rows: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class QualityReport:
    """What was found.

    Attributes:
        findings: one row per finding with symbol, date, rule, value and action. Actions: "refused"
            (``read_bars`` refuses the file), "quarantined" (kept, but look before using it) and
            "reported"; ``done_about`` says what each means.
        notes: what was understood or done when the table was read, one sentence each.
        bars: what was checked; None where the table cannot be used.
    """

    findings: pd.DataFrame
    notes: tuple[str, ...] = ()
    bars: Bars | None = None

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


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells with a bar, asset by asset and then by date."""

    rows: _Rows
    columns: _Rows
    close: FloatArray
    same: BoolArray  # whether a cell follows one of the same asset; one entry less than cells


def check_file(path: str | Path, clock: Clock | None = None) -> QualityReport:
    """Check a file of bars: first that its rows are possible, then that they are plausible.

    Args:
        path: CSV or Parquet in a layout that ``read_bars`` reads.
        clock: the present, to find an unfinished last bar; None does not look for one.

    Raises:
        DataError: the file cannot be read as a table, lacks a column, or its meaning is ambiguous.
    """
    path = Path(path)
    table = read_table(path)
    with named_in_errors(path):
        return _check(table, path.stem, clock)


def check_table(table: pd.DataFrame) -> QualityReport:
    """List every impossible row of a table; ``read_bars`` would name only the first.

    Rules: not_a_date, no_symbol, missing (no number), not_positive, out_of_range (a price of no
    market), negative, high_below_low, open_outside_range, close_outside_range, repeated, unsorted,
    mixed_currencies.

    Raises:
        DataError: a needed column is missing.
    """
    return QualityReport(_impossible_rows(long_table(table)))


def check_bars(
    bars: Bars, sessions: pd.DatetimeIndex | None = None, clock: Clock | None = None
) -> QualityReport:
    """Look for bars that are possible but deserve a look.

    Refused: split_not_adjusted (close falls with a split as the close as traded does) and
    raw_close_adjusted (raw_close does not); value: the close's return.
    Quarantined: jump (a close-to-close return beyond 50% without a split), dividend_not_adjusted
    (close does not contain a dividend; value: its yield) and unfinished (the last bar's session or
    hour still goes on).
    Reported: zero_volume, stale (5 or more equal closes; value: how many), gap (sessions without a
    bar between an asset's first and last; value: how many), off_calendar (bars on no session) and,
    within a day, missing_bars and outside_hours (value: how many in a row, and in all).

    Args:
        bars: the bars.
        sessions: days on which there should be daily bars; New York's if None.
        clock: the present; None does not look for an unfinished bar.
    """
    cells = _cells(bars)
    rules: tuple[Callable[[Bars, _Cells], Findings], ...] = (
        _jumps,
        _events,
        _zero_volumes,
        _stale_runs,
    )
    pieces = [rule(bars, cells) for rule in rules]
    pieces += missing_and_extra(bars, sessions)
    if clock is not None and bar_close(bars, len(bars.dates) - 1) > clock():
        last = np.flatnonzero(bars.tradable[-1])
        value = [f"until {bar_close(bars, len(bars.dates) - 1):%Y-%m-%d %H:%M} UTC"] * len(last)
        rows = np.full(len(last), len(bars.dates) - 1)
        pieces.append(found(bars, rows, last, "unfinished", value, "quarantined"))
    return QualityReport(report_table(pieces), bars=bars)


def done_about(rule: str, action: str) -> str:
    """Say what was done about a finding."""
    return _DONE.get(rule) or _DONE[action]


def survivorship_note(bars: Bars, ended_after: int = _ENDED) -> str:
    """Say in one sentence which assets are survivors, which listed late and which ended early.

    Args:
        bars: the bars.
        ended_after: an asset without a bar in the last so many bars ended early; one without a bar
            in the first so many listed late.
    """
    first, last = bars.lifetimes.T
    never = last < first
    late = (first >= ended_after) & ~never
    early = (last < len(bars.dates) - ended_after) & ~never
    alive = int((~early & ~never).sum())
    parts = [
        f"{alive} of {len(bars.symbols)} assets trade to the last bar"
        + ("" if early.any() else ", chosen with that known, which flatters results"),
        _names(bars, late, first, "listed late"),
        _names(bars, early, last, "ended early"),
    ]
    return f"Survivorship: {'; '.join(parts)}."


def _names(bars: Bars, chosen: BoolArray, rows: _Rows, what: str) -> str:
    places = np.flatnonzero(chosen)
    if not places.size:
        return f"{what}: none"
    told = [f"{bars.symbols[i]} ({bars.dates[rows[i]]:%Y-%m-%d})" for i in places[:5]]
    rest = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return f"{what}: {', '.join(told)}{rest}"


def _check(table: pd.DataFrame, name: str, clock: Clock | None) -> QualityReport:
    long = long_table(table, name)
    findings = _impossible_rows(long)
    if not findings.empty:
        return QualityReport(findings, long.notes)
    bars, notes = bars_of(long, judge_splits=False)
    report = check_bars(bars, clock=clock)
    return QualityReport(report.findings, notes, None if report.refused else bars)


def _impossible_rows(long: LongTable) -> Findings:
    # Loaded here: pandera takes a second, and only a check of tables needs it.
    from trading_rlhf.market.schema import check_rows

    return check_rows(long.table)


def _cells(bars: Bars) -> _Cells:
    columns, rows = np.nonzero(bars.tradable.T)
    return _Cells(rows, columns, bars.close.T[columns, rows], columns[1:] == columns[:-1])


def _jumps(bars: Bars, cells: _Cells) -> Findings:
    moved = cells.close[1:] / cells.close[:-1] - 1.0
    far = np.flatnonzero(cells.same & (np.abs(moved) > JUMP))
    splits = np.cumsum(bars.split != 1.0, axis=0)
    before, after = cells.rows[far], cells.rows[far + 1]
    columns = cells.columns[far + 1]
    plain = splits[before, columns] == splits[after, columns]
    value = moved[far][plain].tolist()
    return found(bars, after[plain], columns[plain], "jump", value, "quarantined")


def _events(bars: Bars, cells: _Cells) -> Findings:  # noqa: ARG001 - one signature for all rules
    close = np.where(bars.tradable, bars.close, np.nan)
    rules = {"close": "split_not_adjusted", "raw_close": "raw_close_adjusted"}
    pieces = [no_findings()]
    for day in split_days(close, bars.raw_close, bars.split):
        if day.fault:
            at = np.array([day.row]), np.array([day.column])
            pieces.append(found(bars, *at, rules[day.fault], [day.moved], "refused"))
    ignored = ignored_dividends(close, bars.raw_close, bars.split, bars.dividend)
    rows, columns = (np.array([cell[i] for cell in ignored], dtype=np.intp) for i in (0, 1))
    value = [paid for _, _, paid in ignored]
    pieces.append(found(bars, rows, columns, "dividend_not_adjusted", value, "quarantined"))
    return joined(pieces)


def _zero_volumes(bars: Bars, cells: _Cells) -> Findings:
    if bars.volume is None:
        return no_findings()
    zero = bars.volume.T[cells.columns, cells.rows] == 0.0
    rows = cells.rows[zero]
    return found(bars, rows, cells.columns[zero], "zero_volume", [0.0] * len(rows))


def _stale_runs(bars: Bars, cells: _Cells) -> Findings:
    equal = cells.same & (np.diff(cells.close) == 0.0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    starts, counts = edges[::2], edges[1::2] - edges[::2] + 1
    long = counts >= STALE
    at = starts[long]
    return found(
        bars, cells.rows[at], cells.columns[at], "stale", counts[long].astype(float).tolist()
    )
