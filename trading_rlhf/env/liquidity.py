"""Prices in USD and volumes of a market, for the cost rules that count in USD."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.market import SESSIONS_PER_YEAR, Bars, carry_forward
from trading_rlhf.types import FloatArray

__all__ = ["Liquidity"]


@dataclass(frozen=True)
class Liquidity:
    """What the USD rules need, as traded; row t is known at the close of t, but for the fill's own.

    Attributes:
        fill_price: ``[T, N]`` price at which orders fill in bar t (USD a share; 1 where unknown).
        close: ``[T, N]`` last known price at the close of t, in shares of t (USD a share; 1 where
            unknown).
        volume: ``[T, N]`` traded in bar t, at its fill price (USD; 0 where nothing was).
        daily_volume: ``[T, N]`` mean over ``lookback`` bars up to t of close times shares traded,
            for a day (USD); 0 where that or the volatility is unknown: nothing fills there.
        volatility: ``[T, N]`` standard deviation (n - 1) of the returns of ``lookback`` bars up to
            t, for a day.
        lookback: bars.
        has_volume: whether the bars came with volumes.
    """

    fill_price: Tensor
    close: Tensor
    volume: Tensor
    daily_volume: Tensor
    volatility: Tensor
    lookback: int
    has_volume: bool = True

    @classmethod
    def from_bars(cls, bars: Bars, lookback: int, device: str, dtype: torch.dtype) -> "Liquidity":
        """Build from prices as traded and volumes in the shares of their day."""
        raw_fill = bars.fill_price * bars.raw_close / bars.close
        later = np.vstack([np.cumprod(bars.split[::-1], axis=0)[::-1][1:], np.ones(bars.shape[1])])
        shares = np.zeros(bars.shape) if bars.volume is None else bars.volume / later
        shares = np.where(bars.tradable, shares, 0.0)
        units = np.cumprod(bars.split, axis=0)
        close = carry_forward(np.where(bars.tradable, bars.raw_close * units, np.nan)) / units
        a_day = bars.bars_per_year / SESSIONS_PER_YEAR
        traded = np.where(bars.tradable, shares * bars.raw_close, np.nan)
        daily_volume = _trailing_mean(traded, lookback) * a_day
        volatility = _trailing_deviation(_returns(bars), lookback) * a_day**0.5
        known = (daily_volume > 0) & np.isfinite(volatility)

        def tensor(values: FloatArray, missing: float) -> Tensor:
            filled = np.where(np.isfinite(values), values, missing)
            return torch.as_tensor(filled, dtype=dtype, device=device)

        return cls(
            fill_price=tensor(np.where(bars.tradable, raw_fill, np.nan), 1.0),
            close=tensor(close, 1.0),
            volume=tensor(np.where(bars.tradable, shares * raw_fill, 0.0), 0.0),
            daily_volume=tensor(np.where(known, daily_volume, 0.0), 0.0),
            volatility=tensor(np.where(known, volatility, 0.0), 0.0),
            lookback=lookback,
            has_volume=bars.volume is not None,
        )

    def to(self, dtype: torch.dtype) -> "Liquidity":
        """Return the same in another precision."""
        return Liquidity(
            self.fill_price.to(dtype),
            self.close.to(dtype),
            self.volume.to(dtype),
            self.daily_volume.to(dtype),
            self.volatility.to(dtype),
            self.lookback,
            self.has_volume,
        )


def _returns(bars: Bars) -> FloatArray:
    """Adjusted returns of bars that trade since the last bar that did; NaN elsewhere."""
    close = carry_forward(np.where(bars.tradable, bars.close, np.nan))
    moves = np.full(bars.shape, np.nan)
    moves[1:] = close[1:] / close[:-1] - 1.0
    return np.where(bars.tradable, moves, np.nan)


def _trailing_sum(values: FloatArray, bars: int) -> FloatArray:
    """Sum over the last ``bars`` rows; adding them up each time cancels nothing."""
    total = values.copy()
    for lag in range(1, min(bars, len(values))):
        total[lag:] += values[:-lag]
    return total


def _trailing_mean(values: FloatArray, bars: int) -> FloatArray:
    """Mean of the known values among the last ``bars`` rows; NaN where none is."""
    known = np.isfinite(values)
    count = _trailing_sum(known.astype(np.float64), bars)
    total = _trailing_sum(np.where(known, values, 0.0), bars)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _trailing_deviation(values: FloatArray, bars: int) -> FloatArray:
    """Standard deviation (n - 1) of the known values among the last ``bars`` rows; else NaN."""
    mean = _trailing_mean(values, bars)
    squares, count = np.zeros_like(values), np.zeros_like(values)
    for lag in range(min(bars, len(values))):
        known = np.isfinite(values[: len(values) - lag])
        away = np.where(known, values[: len(values) - lag], 0.0) - mean[lag:]
        squares[lag:] += np.where(known, away, 0.0) ** 2
        count[lag:] += known
    variance = np.divide(squares, count - 1, out=np.full_like(mean, np.nan), where=count > 1)
    return np.sqrt(variance)
