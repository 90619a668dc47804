"""The moves of one session as the law needs them, and what a share of yesterday is today."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.errors import BrokerError
from trading_rlhf.market import Bars, bar_close, bar_open
from trading_rlhf.types import BoolArray, FloatArray

__all__ = [
    "SessionPrices",
    "decision_bar",
    "last_bars",
    "session_label",
    "session_prices",
    "share_ratio",
]

_NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True)
class SessionPrices:
    """Prices from the close of t-1 to the close of t; a missing bar moves and fills nothing.

    Attributes:
        session: date of t.
        fill_at: when orders fill.
        close_at: when the session closes.
        days: calendar days since the previous close.
        overnight: ``[N]`` fill price over the last close, minus one (adjusted prices).
        intraday: ``[N]`` close over fill price, minus one (adjusted prices).
        fillable: ``[N]`` whether an order can fill.
        raw_fill: ``[N]`` fill price as traded (USD), NaN without a bar.
        raw_close: ``[N]`` last close as traded (USD), NaN before the first.
        ratio: ``[N]`` shares at t per share at the last close: splits, and dividends reinvested.
    """

    session: str
    fill_at: datetime
    close_at: datetime
    days: float
    overnight: FloatArray
    intraday: FloatArray
    fillable: BoolArray
    raw_fill: FloatArray
    raw_close: FloatArray
    ratio: FloatArray


def session_prices(bars: Bars, t: int) -> SessionPrices:
    """Return the prices of bar t.

    Raises:
        BrokerError: t is the first bar, or outside the bars.
    """
    if not 0 < t < len(bars.dates):
        raise BrokerError(
            f"a session to settle must lie in 1..{len(bars.dates) - 1}",
            str(t),
            "Pass bars that start at least one session earlier.",
        )
    before, present = last_bars(bars, t - 1), bars.tradable[t]
    moved = present & (before >= 0)
    columns = np.arange(len(bars.symbols))
    previous = np.where(before >= 0, bars.close[before, columns], np.nan)
    close, fill = bars.close[t], bars.fill_price[t]
    fillable = moved if bars.volume is None else moved & (bars.volume[t] > 0)
    latest = np.where(present, t, before)
    raw_close = np.where(latest >= 0, bars.raw_close[latest, columns], np.nan)
    return SessionPrices(
        session=session_label(bars, t),
        fill_at=bar_open(bars, t) if bars.has_open else bar_close(bars, t),
        close_at=bar_close(bars, t),
        days=(bars.dates[t] - bars.dates[t - 1]) / pd.Timedelta(days=1),
        overnight=np.where(moved, fill / previous - 1.0, 0.0),
        intraday=np.where(moved, close / fill - 1.0, 0.0),
        fillable=np.asarray(fillable),
        raw_fill=np.where(present, fill * bars.raw_close[t] / close, np.nan),
        raw_close=raw_close,
        ratio=share_ratio(bars, before, latest),
    )


def last_bars(bars: Bars, t: int) -> npt.NDArray[np.intp]:
    """Return ``[N]`` the last bar at or before t at which each asset traded, -1 where none."""
    rows = np.arange(t + 1)[:, None]
    return np.asarray(np.where(bars.tradable[: t + 1], rows, -1).max(axis=0))


def share_ratio(
    bars: Bars, earlier: npt.NDArray[np.intp], later: npt.NDArray[np.intp]
) -> FloatArray:
    """Return ``[N]`` how many shares of the later bar a share of the earlier one became.

    Args:
        bars: the bars.
        earlier: ``[N]`` rows, -1 where unknown (ratio 1).
        later: ``[N]`` rows.
    """
    columns = np.arange(len(bars.symbols))
    factor_earlier = bars.close[earlier, columns] / bars.raw_close[earlier, columns]
    factor_later = bars.close[later, columns] / bars.raw_close[later, columns]
    return np.where(earlier >= 0, factor_later / factor_earlier, 1.0)


def decision_bar(bars: Bars, known_at: datetime) -> int:
    """Return the last bar that was known at a time, -1 where there is none."""
    if bars.dates.tz is None:
        moment = pd.Timestamp(known_at.astimezone(_NEW_YORK).date())
    else:
        moment = pd.Timestamp(known_at)
    t = int(bars.dates.searchsorted(moment, side="right")) - 1
    # A bar within a day is labelled by its start and known at its end.
    while bars.dates.tz is not None and t >= 0 and bar_close(bars, t) > known_at:
        t -= 1
    return t


def session_label(bars: Bars, t: int) -> str:
    """Return the date of bar t as text, its time within a day included."""
    date = bars.dates[t]
    return date.isoformat() if date.tzinfo else f"{date:%Y-%m-%d}"
