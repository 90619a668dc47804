"""The price chart of one item: what was known at the close of t, and nothing later."""

import math

import numpy as np
import pandas as pd

from trading_rlhf.market import PriceHistory
from trading_rlhf.proposals import Proposal
from trading_rlhf.services.review_mask import Mask
from trading_rlhf.services.review_views import Chart
from trading_rlhf.types import FloatArray

__all__ = ["CHART_BARS", "MEAN_BARS", "price_chart", "yearly_volatility", "share_of_volume"]

CHART_BARS = 121  # the decision bar and 120 before it
MEAN_BARS = 20


def price_chart(proposal: Proposal, history: PriceHistory, mask: Mask) -> Chart:
    """Draw up the series of one item.

    Args:
        proposal: the item; its close and entry are in the prices of t.
        history: bars up to t, ``CHART_BARS + MEAN_BARS - 1`` of them where there are so many.
        mask: how the item may be shown.
    """
    bars = min(CHART_BARS, len(history.close))
    dates = history.dates[-bars:]
    x = tuple(range(1 - bars, 1))
    ticks, tick_labels = _steps(x) if mask.hidden else _months(x, dates)
    candles = not (history.open is None or history.high is None or history.low is None)
    entry = proposal.entry_price
    return Chart(
        x=x,
        x_range=(x[0] - 1.0, 0.16 * bars + 1),
        labels=_bars_before(x) if mask.hidden else tuple(f"{day:%a %d %b %Y}" for day in dates),
        ticks=ticks,
        tick_labels=tick_labels,
        open=_shown(history.open, mask, bars) if candles else None,
        high=_shown(history.high, mask, bars) if candles else None,
        low=_shown(history.low, mask, bars) if candles else None,
        close=_prices(history.close, mask, bars),
        volume=_volume(history.volume, mask, bars),
        mean=_prices(_trailing_mean(history.close), mask, bars),
        entry=None if entry is None else round(entry * mask.scale, 2),
        last=round(proposal.price * mask.scale, 2),
        last_label="100" if mask.hidden else f"{proposal.price:,.2f}",
        last_above=entry is None or entry <= proposal.price,
        up=proposal.change > 0,
        price_title="100 = price at the decision" if mask.hidden else "USD",
        volume_title="volume / 20-day mean" if mask.hidden else "volume, shares",
        price_format=",.2~f",
        volume_format="~g" if mask.hidden else "~s",
        fill_label=f"fills<br>at next<br>{'open' if candles else 'close'}",
    )


def yearly_volatility(history: PriceHistory) -> float | None:
    """Return the yearly volatility of the last 20 returns; None with fewer bars."""
    closes = history.close[-MEAN_BARS - 1 :]
    if len(closes) <= MEAN_BARS:
        return None
    return float(np.diff(np.log(closes)).std(ddof=1) * math.sqrt(history.bars_per_year))


def share_of_volume(proposal: Proposal, history: PriceHistory) -> float | None:
    """Return the trade as a fraction of a usual day's volume (mean of 20 days), if known."""
    if history.volume is None or not history.volume.any():
        return None
    usual = float(history.volume[-MEAN_BARS:].mean())
    return abs(proposal.shares) / usual if usual > 0 else None


def _trailing_mean(values: FloatArray) -> FloatArray:
    return pd.Series(values).rolling(MEAN_BARS).mean().to_numpy()


def _volume(volume: FloatArray | None, mask: Mask, bars: int) -> tuple[float | None, ...] | None:
    if volume is None:
        return None
    if not mask.hidden:
        return _plain(volume[-bars:], 0)
    # The number of shares would tell the company; how busy a day was does not.
    usual = _trailing_mean(volume)
    ratio = np.divide(volume, usual, out=np.full(len(volume), np.nan), where=usual > 0)
    return _plain(ratio[-bars:], 2)


def _shown(values: FloatArray | None, mask: Mask, bars: int) -> tuple[float | None, ...] | None:
    return None if values is None else _prices(values, mask, bars)


def _prices(values: FloatArray, mask: Mask, bars: int) -> tuple[float | None, ...]:
    return _plain(values[-bars:] * mask.scale, 2)


def _plain(values: FloatArray, digits: int) -> tuple[float | None, ...]:
    return tuple(round(float(v), digits) if math.isfinite(v) else None for v in values)


def _bars_before(x: tuple[int, ...]) -> tuple[str, ...]:
    return tuple("the decision" if bar == 0 else f"{-bar} bars before" for bar in x)


def _steps(x: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    ticks = tuple(bar for bar in x if bar % 20 == 0)
    return ticks, tuple("decision" if bar == 0 else f"{bar}" for bar in ticks)


def _months(x: tuple[int, ...], dates: pd.DatetimeIndex) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Label the first bar of each month, with the year at the first label and in January."""
    starts = [i for i in range(1, len(dates)) if dates[i].month != dates[i - 1].month]
    labels = [
        f"{dates[i]:%b %Y}" if place == 0 or dates[i].month == 1 else f"{dates[i]:%b}"
        for place, i in enumerate(starts)
    ]
    return tuple(x[i] for i in starts), tuple(labels)
