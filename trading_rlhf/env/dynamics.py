"""The simulated market as pure functions: what every environment, backtest and trainer steps."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, fill, mark, size_at_fill
from trading_rlhf.errors import DataError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["MarketTensors", "advance", "advance_to_weights"]


@dataclass(frozen=True)
class MarketTensors:
    """A market on a device: exogenous, shared by all episodes.

    Attributes:
        features: ``[T, N, F]`` float32, known at the close of t.
        overnight: ``[T, N]`` fill price of t over close of t-1, minus one (0 at t = 0).
        intraday: ``[T, N]`` close of t over fill price of t, minus one (0 for close-only bars).
        fillable: ``[T, N]`` whether an order can fill at t.
        days: ``[T]`` calendar days since the previous close.
    """

    features: Tensor
    overnight: Tensor
    intraday: Tensor
    fillable: Tensor
    days: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return int(self.overnight.shape[0]), int(self.overnight.shape[1])

    @classmethod
    def from_bars(
        cls,
        bars: Bars,
        features: np.ndarray,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> "MarketTensors":
        """Build from bars and features ``[T, N, F]``.

        A missing bar keeps the last price, moves nothing and fills nothing.

        Raises:
            DataError: features do not cover the bars or are not finite.
        """
        covers = features.ndim == 3 and features.shape[:2] == bars.shape
        if not covers or not np.isfinite(features).all():
            raise DataError(
                f"features must be finite and of shape [T, N, F] with T, N = {bars.shape}",
                f"shape {features.shape}",
                "Compute them from these bars with compute_features.",
            )
        close = _carry_forward(np.where(bars.tradable, bars.close, np.nan))
        price = np.where(bars.tradable, bars.fill_price, close)
        before = np.vstack([close[:1], close[:-1]])
        fillable = bars.fillable & np.isfinite(before)
        times = bars.dates.tz_localize(None).to_numpy()
        days = np.diff(times, prepend=times[:1])
        return cls(
            features=torch.tensor(features, dtype=torch.float32, device=device),
            overnight=torch.as_tensor(_relative(price, before), dtype=dtype, device=device),
            intraday=torch.as_tensor(_relative(close, price), dtype=dtype, device=device),
            fillable=torch.as_tensor(fillable, device=device),
            days=torch.as_tensor(days / np.timedelta64(1, "D"), dtype=dtype, device=device),
        )

    def to(self, dtype: torch.dtype) -> "MarketTensors":
        """Return the same market with prices in another precision (features stay float32)."""
        return MarketTensors(
            self.features,
            self.overnight.to(dtype),
            self.intraday.to(dtype),
            self.fillable,
            self.days.to(dtype),
        )


def _carry_forward(prices: FloatArray) -> FloatArray:
    """Fill gaps of ``[T, N]`` prices with the last known one; NaN before the first."""
    rows = np.where(np.isfinite(prices), np.arange(len(prices))[:, None], 0)
    return np.take_along_axis(prices, np.maximum.accumulate(rows, axis=0), axis=0)


def _relative(later: FloatArray, earlier: FloatArray) -> FloatArray:
    """Price relative minus one; 0 where either price is unknown."""
    known = np.isfinite(later) & np.isfinite(earlier)
    return np.where(known, np.divide(later, earlier, where=known, out=np.ones_like(later)) - 1, 0.0)


def advance(
    market: MarketTensors, t: Tensor, held: Tensor, change: Tensor, costs: CostModel
) -> tuple[Tensor, Tensor]:
    """Move accounts from the close of t to the close of t+1, filling settled orders on the way.

    Args:
        market: the market.
        t: ``[B]`` (or scalar) bar of the decision.
        held: ``[..., B, N]`` weights at the close of t (fraction of equity).
        change: ``[..., B, N]`` orders sized at that close (fraction of equity, signed).
        costs: the cost model.

    Returns:
        Weights ``[..., B, N]`` at the close of t+1 and growth ``[..., B]`` of equity since t.
    """
    return _fill_session(market, t + 1, held, costs, change=change)


def advance_to_weights(
    market: MarketTensors, t: Tensor, held: Tensor, target: Tensor, costs: CostModel
) -> tuple[Tensor, Tensor]:
    """Like ``advance``, but orders reach target weights of the equity at the fill.

    Kept for parity with engines whose targets are a percentage at the fill. NaN holds.

    Args:
        market: the market.
        t: ``[B]`` (or scalar) bar of the decision.
        held: ``[..., B, N]`` weights at the close of t (fraction of equity).
        target: ``[..., B, N]`` weights wanted at the fill (fraction of equity), NaN = hold.
        costs: the cost model.

    Returns:
        As ``advance``.
    """
    return _fill_session(market, t + 1, held, costs, target=target)


def _fill_session(
    market: MarketTensors,
    session: Tensor,
    held: Tensor,
    costs: CostModel,
    change: Tensor | None = None,
    target: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    overnight = market.overnight[session]
    carry = costs.accrual(held, market.days[session])
    at_fill, growth_overnight = mark(held, carry, overnight)
    if target is not None:
        hold = target.isnan() | (growth_overnight <= 0).unsqueeze(-1)
        wanted = torch.where(hold, at_fill, target)
    elif change is not None:
        wanted = size_at_fill(change, at_fill, 1.0 + overnight, growth_overnight)
    else:
        raise ValueError("either change or target")
    wanted = torch.where(market.fillable[session], wanted, at_fill)
    cost = fill(at_fill, wanted, costs)
    after, growth_intraday = mark(wanted, cost, market.intraday[session])
    return after, growth_overnight * growth_intraday
