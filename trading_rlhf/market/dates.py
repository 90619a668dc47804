"""Dates of bars as they are written, turned into sessions or UTC times."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import YEARS
from trading_rlhf.market.clock import NEW_YORK, session_close
from trading_rlhf.types import BoolArray

__all__ = ["read_dates", "sessions_or_times"]

_ZONE = r"[T ].*(?:Z|[+-]\d\d:?\d\d)$"
_OFFSET = r"\s*(?:Z|[+-]\d\d:?\d\d)$"


def read_dates(column: "pd.Series[Any]") -> tuple[npt.NDArray[np.intp], pd.DatetimeIndex, str]:
    """Read the dates of a long table.

    Returns:
        For each row the place of its date, the ascending dates (time-zone naive sessions, or UTC
        for bars within a day), and a sentence where sessions were read out of times ("" if not).

    Raises:
        DataError: a date that cannot be read, or some with a time zone and some without.
    """
    codes, given = pd.factorize(column)
    moments, written, bad = _read(pd.Series(given))
    wrong = codes < 0
    wrong[~wrong] = bad[codes[~wrong]]
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        cell = column.iloc[row]
        raise DataError(
            "every date must be written like 2009-03-02",
            f"{'' if cell is None or cell is pd.NaT else cell!r} in data row {row + 1}",
            "Correct the date.",
        )
    dates, note = sessions_or_times(moments, written)
    places, ascending = pd.factorize(dates, sort=True)
    return places[codes], pd.DatetimeIndex(ascending), note


def sessions_or_times(
    moments: pd.DatetimeIndex, written: pd.DatetimeIndex
) -> tuple[pd.DatetimeIndex, str]:
    """Return session dates where the times are those of daily bars, else the moments in UTC.

    Daily bars are stamped at midnight where they were written, at midnight in New York, or all at
    the close of their session. Midnight is never moved to the day before.

    Args:
        moments: unique times; naive where the source has no time zone.
        written: the same times as the clock on the wall showed them.
    """
    if moments.tz is None:
        return moments, ""
    if (written == written.normalize()).all():
        return written, "Times at midnight were read as the sessions of those days."
    here = moments.tz_convert(NEW_YORK).tz_localize(None)
    if (here == here.normalize()).all():
        return here, "Times at midnight in New York were read as the sessions of those days."
    utc = moments.tz_convert("UTC")
    days = here.normalize()
    if len(utc) > 1 and days.is_unique and here.hour.min() >= 13:
        closes = pd.DatetimeIndex([session_close(day) for day in days])
        if (utc == closes).all():
            return days, "Times at the close in New York were read as the sessions of those days."
    return utc, ""


def _read(given: "pd.Series[Any]") -> tuple[pd.DatetimeIndex, pd.DatetimeIndex, BoolArray]:
    """Return moments, what the wall clock showed, and which could not be read."""
    if pd.api.types.is_datetime64_any_dtype(given):
        index = pd.DatetimeIndex(given)
        return index, index.tz_localize(None), np.asarray(~index.year.isin(YEARS))
    text = given.astype(str).str.strip()
    zoned = text.str.contains(_ZONE)
    read = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    bad = ~read.dt.year.isin(YEARS).to_numpy()
    if zoned.any() and not (zoned | bad).all():
        raise DataError(
            "all dates or none must carry a time zone", "both kinds", "Write them in one way."
        )
    wall = pd.to_datetime(
        text.str.replace(_OFFSET, "", regex=True) if zoned.any() else text,
        format="ISO8601",
        errors="coerce",
    )
    written = pd.DatetimeIndex(wall.dt.tz_localize(None))
    return (pd.DatetimeIndex(read) if zoned.any() else written), written, np.asarray(bad)
