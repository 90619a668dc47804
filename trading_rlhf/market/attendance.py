"""Which bars there should be by the exchange's calendar, and which there are."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.market.bars import Bars
from trading_rlhf.market.clock import session_dates, session_hours, trading_sessions
from trading_rlhf.market.findings import Findings, found
from trading_rlhf.types import BoolArray

__all__ = ["missing_and_extra", "expected_times"]

_Rows: TypeAlias = npt.NDArray[np.intp]


def missing_and_extra(bars: Bars, sessions: pd.DatetimeIndex | None = None) -> list[Findings]:
    """Compare bars with the calendar.

    Returns:
        gap (sessions without a bar between an asset's first and last bar) and off_calendar (bars on
        no session); within a day also missing_bars (a session with some bars and not all) and
        outside_hours (bars that start at or after the close, or end before the open).
    """
    if bars.dates.tz is None:
        expected = sessions
        if expected is None:
            expected = trading_sessions(bars.dates[0], bars.dates[-1])
        there, alive = _present(bars, bars.dates, expected)
        strange = ~bars.dates.isin(expected)
        return [_runs(bars, expected, alive & ~there, "gap"), _extra(bars, strange, "off_calendar")]
    days = session_dates(bars.dates)
    hours = session_hours(days[0], days[-1])
    off = ~days.isin(hours.index)
    expected = expected_times(bars, hours)
    there, alive = _present(bars, bars.dates, expected)
    missing = alive & ~there
    places = hours.index.get_indexer(session_dates(expected))
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    whole = np.logical_and.reduceat(missing | ~alive, starts, axis=0)
    whole &= np.logical_or.reduceat(missing, starts, axis=0)
    some = missing & ~whole[np.searchsorted(starts, np.arange(len(expected)), "right") - 1]
    gaps = pd.DatetimeIndex(hours.index[places[starts]])
    return [
        _runs(bars, gaps, whole, "gap"),
        _runs(bars, expected, some, "missing_bars"),
        _extra(bars, off, "off_calendar"),
        _extra(bars, _outside(bars, days, hours) & ~off, "outside_hours"),
    ]


def expected_times(bars: Bars, hours: pd.DataFrame) -> pd.DatetimeIndex:
    """Return the starts (UTC) of all bars within the given sessions, in steps of the interval.

    Hourly bars may be labelled 09:30, 10:30 or 10:00, 11:00: the most common one decides.
    """
    step = bars.interval.value // 1000
    days = session_dates(bars.dates)
    place = hours.index.get_indexer(days)
    opens = pd.DatetimeIndex(hours["open"]).as_unit("us").asi8
    closes = pd.DatetimeIndex(hours["close"]).as_unit("us").asi8
    since = (bars.dates.asi8 - opens[place])[place >= 0]
    offset = 0
    if since.size:
        values, counts = np.unique(since % step, return_counts=True)
        offset = int(values[counts.argmax()])
    # An offset grid starts with the bar that contains the open.
    first = opens + offset - (step if offset else 0)
    counts = -(-(closes - first) // step)
    starts = np.repeat(first, counts)
    within = np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
    return pd.DatetimeIndex((starts + within * step).astype("datetime64[us]")).tz_localize("UTC")


def _present(
    bars: Bars, dates: pd.DatetimeIndex, expected: pd.DatetimeIndex
) -> tuple[BoolArray, BoolArray]:
    """Return ``[E, N]`` where an expected bar is there, and where the asset lived at all."""
    place = dates.get_indexer(expected.as_unit("us"))
    there = bars.tradable[place] & (place >= 0)[:, None]
    first, last = bars.lifetimes.T
    times = expected.as_unit("us").asi8[:, None]
    alive = (times >= dates.asi8[first]) & (times <= dates.asi8[last]) & (last >= first)
    return there, alive


def _runs(bars: Bars, dates: pd.DatetimeIndex, flags: BoolArray, rule: str) -> Findings:
    """One finding per unbroken run of flags of an asset; its value is the length."""
    edges = np.diff(np.pad(flags.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    columns, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    return found(bars, starts, columns, rule, (stops - starts).astype(float).tolist(), dates=dates)


def _extra(bars: Bars, strange: BoolArray, rule: str) -> Findings:
    """One finding per asset with bars in strange rows: the first, and how many."""
    rows = np.flatnonzero(strange)
    here = bars.tradable[rows]
    columns = np.flatnonzero(here.any(axis=0))
    first = rows[here[:, columns].argmax(axis=0)] if rows.size else rows
    return found(bars, first, columns, rule, here[:, columns].sum(axis=0).astype(float).tolist())


def _outside(bars: Bars, days: pd.DatetimeIndex, hours: pd.DataFrame) -> BoolArray:
    place = hours.index.get_indexer(days)
    opens = pd.DatetimeIndex(hours["open"]).as_unit("us").asi8[place]
    closes = pd.DatetimeIndex(hours["close"]).as_unit("us").asi8[place]
    start = bars.dates.asi8
    step = bars.interval.value // 1000
    return np.asarray((place >= 0) & ((start >= closes) | (start + step <= opens)))
