"""Measures of an equity curve; 252 bars a year, per-period returns."""

import math

import torch
from torch import Tensor

__all__ = ["BARS_PER_YEAR", "sharpe_ratio", "max_drawdown", "annual_return", "annual_volatility"]

BARS_PER_YEAR = 252.0


def annual_return(equity: Tensor, bars_per_year: float = BARS_PER_YEAR) -> Tensor:
    """Compound yearly return of ``[..., T]`` equity (fraction a year)."""
    years = (equity.shape[-1] - 1) / bars_per_year
    return (equity[..., -1] / equity[..., 0]) ** (1.0 / years) - 1.0


def annual_volatility(returns: Tensor, bars_per_year: float = BARS_PER_YEAR) -> Tensor:
    """Standard deviation (n - 1) of ``[..., T]`` per-bar returns (fraction a root-year)."""
    return returns.std(-1) * math.sqrt(bars_per_year)


def sharpe_ratio(returns: Tensor, bars_per_year: float = BARS_PER_YEAR) -> Tensor:
    """Yearly Sharpe ratio of ``[..., T]`` per-bar returns, cash at zero; 0 where nothing moved."""
    deviation = returns.std(-1)
    moved = deviation > 0
    ratio = returns.mean(-1) / torch.where(moved, deviation, torch.ones_like(deviation))
    return torch.where(moved, ratio * math.sqrt(bars_per_year), ratio * 0.0)


def max_drawdown(equity: Tensor) -> Tensor:
    """Largest loss from a running peak of ``[..., T]`` equity (fraction of the peak, positive)."""
    peak = equity.cummax(-1).values
    return (1.0 - equity / peak).amax(-1)
