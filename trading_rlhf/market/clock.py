"""When a session's data is known and when the next trade can fill (New York Stock Exchange)."""

from datetime import UTC, date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd

from trading_rlhf.errors import DataError

__all__ = ["session_close", "session_open", "next_session", "trading_sessions"]

_NEW_YORK = ZoneInfo("America/New_York")
_FIRST, _LAST = "1970-01-02", "2099-12-31"


def session_close(day: date) -> datetime:
    """Return 16:00 New York of that day, in UTC.

    An early close is not modelled: on such days data counts as known three hours later than it was.
    """
    return datetime.combine(_session_date(day), time(16), _NEW_YORK).astimezone(UTC)


def session_open(day: date) -> datetime:
    """Return 09:30 New York of that day, in UTC."""
    return datetime.combine(_session_date(day), time(9, 30), _NEW_YORK).astimezone(UTC)


def next_session(day: date) -> pd.Timestamp:
    """Return the first XNYS session after ``day`` (time-zone naive, midnight).

    Raises:
        DataError: the day lies outside 1970 to 2099.
    """
    sessions = _calendar()
    stamp = pd.Timestamp(_session_date(day))
    position = int(sessions.searchsorted(stamp, side="right"))
    if stamp < sessions[0] or position == len(sessions):
        raise DataError(
            f"a session must lie between {_FIRST} and {_LAST}", str(stamp.date()), "Check the date."
        )
    return sessions[position]


def trading_sessions(start: date, end: date) -> pd.DatetimeIndex:
    """Return the XNYS sessions from ``start`` to ``end``, both included (time-zone naive)."""
    sessions = _calendar()
    first, last = pd.Timestamp(_session_date(start)), pd.Timestamp(_session_date(end))
    return sessions[(sessions >= first) & (sessions <= last)]


def _session_date(day: date) -> date:
    """Return the New York date of a bar; a naive bar is already dated by its session."""
    if isinstance(day, datetime):
        return (day if day.tzinfo is None else day.astimezone(_NEW_YORK)).date()
    return day


@cache
def _calendar() -> pd.DatetimeIndex:
    calendar = exchange_calendars.get_calendar("XNYS", start=_FIRST, end=_LAST)
    return pd.DatetimeIndex(calendar.sessions)
