"""The two axes of a panel of bars, dates and symbols, and what they must be."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError

__all__ = ["checked_dates", "checked_symbols", "day_of", "YEARS"]

YEARS: Final = range(1800, 2200)
_FIRST, _END = (
    pd.Timestamp(f"{y}-01-01").as_unit("us").value // 1000 for y in (YEARS.start, YEARS.stop)
)
_DAY = 86_400_000_000


def checked_dates(dates: pd.DatetimeIndex | Sequence[str]) -> pd.DatetimeIndex:
    """Return ascending dates: sessions without a time zone, or UTC times within a day.

    Raises:
        DataError: they are not, or there are none.
    """
    try:
        index = pd.DatetimeIndex(pd.Index(dates)).as_unit("us")
    except (ValueError, TypeError) as error:
        raise DataError("dates must be dates", str(error), "Pass a pandas DatetimeIndex.") from None
    if len(index) == 0:
        raise DataError("bars must cover at least one date", "none", "Pass more data.")
    if index.hasnans:
        raise DataError("every bar must have a date", "a missing date", "Fill it in.")
    times = index.asi8
    if not ((times >= _FIRST) & (times < _END)).all():
        raise DataError("dates must lie between 1800 and 2199", "another year", "Correct them.")
    if index.tz is not None and str(index.tz) != "UTC":
        raise DataError("dates must be naive or UTC", str(index.tz), "Use dates.tz_convert('UTC').")
    if index.tz is None and (times % _DAY).any():
        raise DataError(
            "bars within a day must carry a time zone",
            str(index[times % _DAY != 0][0]),
            "Use dates.tz_localize(...).tz_convert('UTC').",
        )
    late = np.flatnonzero(np.diff(times) <= 0)
    if late.size:
        first, second = index[late[0]], index[late[0] + 1]
        what = "each date may occur once" if first == second else "dates must ascend"
        raise DataError(
            what, f"{day_of(second)} after {day_of(first)}", "Sort and deduplicate them."
        )
    return pd.DatetimeIndex(times.view("M8[us]")).tz_localize(index.tz)


def checked_symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return unique names.

    Raises:
        DataError: they are not, or there are none.
    """
    names = tuple(symbols)
    if isinstance(symbols, str) or not names or not all(isinstance(n, str) and n for n in names):
        raise DataError(
            "symbols must be a list of names", repr(symbols)[:80], "Pass ('AAPL', 'IBM')."
        )
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError("each symbol may occur once", ", ".join(repeated), "Drop the repeats.")
    return names


def day_of(date: pd.Timestamp) -> str:
    """Write a session as its day and a time within a day in full."""
    return date.isoformat() if date.tzinfo else f"{date:%Y-%m-%d}"
