"""New histories from a real one, for training on more than the one that happened."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import PRICE_NAMES, Bars
from trading_rlhf.market.clock import trading_sessions
from trading_rlhf.types import FloatArray

__all__ = ["bootstrap_bars"]

_NEW_YORK = "America/New_York"
_IndexArray = npt.NDArray[np.int64]


def bootstrap_bars(
    bars: Bars, generator: np.random.Generator, n_bars: int | None = None, block: float = 60.0
) -> Bars:
    """Resample whole cross-sections in blocks (stationary bootstrap, Politis and Romano 1994).

    A block starts at a random bar and goes on with probability 1 - 1 / block at each, so that its
    expected length is ``block`` bars; after the last bar comes the first again. All assets of a bar
    are drawn together, with their returns, gaps, ranges, missing bars and USD volume: prices are
    chained by the drawn returns from close to close, and each drawn bar is its original with prices
    times k and volume divided by k. Bars within a day are drawn by whole sessions, so that gaps
    over night stay over night.

    Only the given bars are used: pass the training period, ``bars.window(start, stop)``, or what
    is drawn tells of the test period. An asset that lists late is missing wherever an earlier bar
    is drawn: pass a period in which the assets live. Splits and dividends are in the adjusted
    returns; the new bars have none.

    Args:
        bars: T bars of N assets.
        generator: the only source of randomness.
        n_bars: number of new bars; T if None.
        block: expected length of a block in bars, one or more.

    Returns:
        ``n_bars`` bars of the same assets, dated by New York's sessions from the first date on.

    Raises:
        DataError: fewer than two bars (or sessions), a number out of range, or more bars than the
            calendar has sessions for.
    """
    n_bars = len(bars.dates) if n_bars is None else n_bars
    starts = _session_starts(bars.dates)
    if len(starts) < 3 or n_bars < 1 or not block >= 1.0:
        raise DataError(
            "a bootstrap needs two sessions or more, one bar to draw or more and blocks of one bar "
            "or more",
            f"{len(starts) - 1} sessions, {n_bars} bars to draw and blocks of {block:g}",
            "Use more bars or correct the number.",
        )
    bars_a_session = len(bars.dates) / (len(starts) - 1)
    # A session has at least one bar, so as many sessions as bars are always enough.
    most = n_bars if bars_a_session == 1.0 else int(n_bars / np.diff(starts).min()) + 1
    sessions = _draw(generator, len(starts) - 1, most, max(1.0, block / bars_a_session))
    lengths = np.diff(starts)[sessions]
    place = np.repeat(np.arange(most), lengths)
    within = np.arange(len(place)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = (starts[sessions][place] + within)[:n_bars]
    return _rebuilt(bars, rows, _new_dates(bars.dates, rows, place[:n_bars]))


def _session_starts(dates: pd.DatetimeIndex) -> _IndexArray:
    """Return the first row of each session, and the number of rows at the end."""
    if dates.tz is None:
        return np.arange(len(dates) + 1)
    days = dates.tz_convert(_NEW_YORK).normalize()
    new = np.flatnonzero(days[1:] != days[:-1]) + 1
    return np.array([0, *new, len(dates)], dtype=np.int64)


def _draw(
    generator: np.random.Generator, n_sessions: int, n_drawn: int, block: float
) -> _IndexArray:
    """Draw sessions in blocks; the first session has no close before it and is left out."""
    usable = n_sessions - 1
    begins = generator.random(n_drawn) < 1.0 / block
    begins[0] = True
    firsts = generator.integers(0, usable, n_drawn)
    at = np.maximum.accumulate(np.where(begins, np.arange(n_drawn), 0))
    return np.asarray((firsts[at] + np.arange(n_drawn) - at) % usable + 1)


def _rebuilt(bars: Bars, rows: _IndexArray, dates: pd.DatetimeIndex) -> Bars:
    """Chain the returns of the drawn rows from each asset's first close on."""
    close = pd.DataFrame(bars.close)
    before = close.ffill().shift().to_numpy()
    growth = np.nan_to_num(bars.close / before, nan=1.0)[rows]
    first = close.bfill().iloc[0].fillna(1.0).to_numpy()
    level = first * np.cumprod(growth, axis=0)
    scale = level / bars.close[rows]

    def scaled(array: FloatArray | None) -> FloatArray | None:
        return None if array is None else array[rows] * scale

    arrays: dict[str, Any] = {name: scaled(getattr(bars, name)) for name in PRICE_NAMES}
    volume = None if bars.volume is None else bars.volume[rows] / scale
    return Bars(dates, bars.symbols, **arrays, volume=volume, tradable=bars.tradable[rows])


def _new_dates(
    dates: pd.DatetimeIndex, rows: _IndexArray, place: npt.NDArray[np.intp]
) -> pd.DatetimeIndex:
    """Date each drawn row by its new session, within a day at its old New York time."""
    local = dates if dates.tz is None else dates.tz_convert(_NEW_YORK)
    first = local[0].tz_localize(None).normalize()
    sessions = trading_sessions(first, pd.Timestamp("2099-12-31"))
    needed = int(place[-1]) + 1
    if needed > len(sessions):
        raise DataError(
            f"the calendar has {len(sessions)} sessions from {first:%Y-%m-%d} on",
            f"{needed} sessions to date",
            "Draw fewer bars.",
        )
    days = sessions[place]
    if dates.tz is None:
        return days
    times = (local.tz_localize(None) - local.tz_localize(None).normalize())[rows]
    return (days + times).tz_localize(_NEW_YORK).tz_convert("UTC")
