"""When a bar's data is known and when the next trade can fill (New York Stock Exchange).

A daily bar is labelled by its session. A bar within a day is labelled by its start, as Yahoo does:
the hourly bar of 09:30 is known at 10:30, and the one of 15:30 at the close.
"""

from datetime import UTC, date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars

__all__ = [
    "bar_close",
    "bar_end",
    "bar_open",
    "session_close",
    "session_open",
    "next_session",
    "trading_sessions",
    "session_hours",
    "session_dates",
    "NEW_YORK",
]

NEW_YORK = ZoneInfo("America/New_York")
_FIRST, _LAST = "1970-01-02", "2099-12-31"
_OPEN, _CLOSE = time(9, 30), time(16)


def bar_close(bars: Bars, t: int) -> datetime:
    """Return when bar t is complete and its data known, in UTC.

    A bar within a day ends after its length, and before that where its session closes or the next
    bar starts.

    Raises:
        DataError: t is not one of the bars.
    """
    start = _label(bars, t)
    if start.tzinfo is None:
        return session_close(start)
    end = bar_end(start, bars.interval)
    following = t + 1 < len(bars.dates)
    return min(end, bars.dates[t + 1].to_pydatetime()) if following else end


def bar_open(bars: Bars, t: int) -> datetime:
    """Return when bar t starts and an order fills at its open, in UTC.

    Close-only data has no open: there an order fills at ``bar_close``.

    Raises:
        DataError: t is not one of the bars.
    """
    start = _label(bars, t)
    return session_open(start) if start.tzinfo is None else start.to_pydatetime()


def bar_end(start: pd.Timestamp, length: pd.Timedelta) -> datetime:
    """Return when a bar that starts then (UTC) ends: after its length, or with its session."""
    closes = session_close(start)
    end = (start + length).to_pydatetime()
    return min(end, closes) if start < closes else end


def session_close(day: date) -> datetime:
    """Return when that day's session closes, in UTC.

    16:00 in New York, earlier on the exchange's early closes (13:00 after Thanksgiving). A day
    without a session counts as one that closes at 16:00.
    """
    session = _session_date(day)
    early = _early_closes().get(session)
    return early or datetime.combine(session, _CLOSE, NEW_YORK).astimezone(UTC)


def session_open(day: date) -> datetime:
    """Return 09:30 New York of that day, in UTC."""
    return datetime.combine(_session_date(day), _OPEN, NEW_YORK).astimezone(UTC)


def next_session(day: date) -> pd.Timestamp:
    """Return the first XNYS session after ``day`` (time-zone naive, midnight).

    Raises:
        DataError: the day lies outside 1970 to 2099.
    """
    sessions = _calendar().index
    stamp = pd.Timestamp(_session_date(day))
    position = int(sessions.searchsorted(stamp, side="right"))
    if stamp < sessions[0] or position == len(sessions):
        raise DataError(
            f"a session must lie between {_FIRST} and {_LAST}", str(stamp.date()), "Check the date."
        )
    return pd.Timestamp(sessions[position])


def trading_sessions(start: date, end: date) -> pd.DatetimeIndex:
    """Return the XNYS sessions from ``start`` to ``end``, both included (time-zone naive)."""
    return session_hours(start, end).index  # type: ignore[return-value]


def session_hours(start: date, end: date) -> pd.DataFrame:
    """Return the columns ``open`` and ``close`` (UTC) of the sessions in a range, by session."""
    first, last = pd.Timestamp(_session_date(start)), pd.Timestamp(_session_date(end))
    calendar = _calendar()
    return calendar[(calendar.index >= first) & (calendar.index <= last)]


def session_dates(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return the New York date of each bar (time-zone naive); daily bars already carry it."""
    if dates.tz is None:
        return dates
    return dates.tz_convert(NEW_YORK).tz_localize(None).normalize()


def _label(bars: Bars, t: int) -> pd.Timestamp:
    if not 0 <= t < len(bars.dates):
        raise DataError(f"t must lie in 0..{len(bars.dates) - 1}", str(t), "Choose a bar.")
    return bars.dates[t]


def _session_date(day: date) -> date:
    """Return the New York date of a bar; a naive bar is already dated by its session."""
    if isinstance(day, datetime):
        return (day if day.tzinfo is None else day.astimezone(NEW_YORK)).date()
    return day


@cache
def _calendar() -> pd.DataFrame:
    calendar = exchange_calendars.get_calendar("XNYS", start=_FIRST, end=_LAST)
    return pd.DataFrame(calendar.schedule[["open", "close"]])


@cache
def _early_closes() -> dict[date, datetime]:
    """Closes before 16:00 New York, by session."""
    closes = _calendar()["close"].dt.tz_convert(NEW_YORK)
    early = closes[np.asarray(closes.dt.hour < _CLOSE.hour)]
    return {
        session.date(): close.astimezone(UTC).to_pydatetime() for session, close in early.items()
    }
