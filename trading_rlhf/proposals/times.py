"""When an order fills, also where its bar does not exist yet."""

from datetime import datetime

import pandas as pd

from trading_rlhf.market import Bars, bar_close, bar_open, next_session, session_close, session_open

__all__ = ["fill_time"]


def fill_time(bars: Bars, t: int) -> datetime:
    """Return when orders fill at bar t, which may lie beyond the last bar (UTC).

    Args:
        bars: the bars; without an open, orders fill at the close.
        t: the bar; beyond the last one, bars follow by the calendar.
    """
    last = len(bars.dates) - 1
    if t <= last:
        return bar_open(bars, t) if bars.has_open else bar_close(bars, t)
    label = bars.dates[last]
    for _ in range(t - last):
        label = _next_label(bars, label)
    if label.tzinfo is None:
        return session_open(label) if bars.has_open else session_close(label)
    ends = min(label + bars.interval, pd.Timestamp(session_close(label)))
    return (label if bars.has_open else ends).to_pydatetime()


def _next_label(bars: Bars, label: pd.Timestamp) -> pd.Timestamp:
    """The bar after one that is the last: by session, or by the interval within it."""
    if label.tzinfo is None:
        return next_session(label)
    following = label + bars.interval
    if following < pd.Timestamp(session_close(label)):
        return following
    return pd.Timestamp(session_open(next_session(label)))
