"""Measures of equity ``[..., T]`` and of per-bar returns; 252 bars a year unless told otherwise.

Definitions are skfolio's and quantstats' where those have them, cash earning nothing. Where a
ratio has nothing to divide by, the function says whether it is 0 or NaN.
"""

import math

import torch
from torch import Tensor

__all__ = [
    "BARS_PER_YEAR",
    "total_return",
    "annual_return",
    "annual_volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "drawdown",
    "max_drawdown",
    "drawdown_length",
    "conditional_value_at_risk",
    "beta",
    "alpha",
    "hit_rate",
    "per_bar_returns",
]

BARS_PER_YEAR = 252.0


def per_bar_returns(equity: Tensor) -> Tensor:
    """Returns ``[..., T - 1]`` of ``[..., T]`` equity; 0 once the equity is lost."""
    before = equity[..., :-1]
    alive = before > 0
    growth = equity[..., 1:] / torch.where(alive, before, torch.ones_like(before))
    return torch.where(alive, growth - 1.0, torch.zeros_like(before))


def total_return(equity: Tensor) -> Tensor:
    """Return of ``[..., T]`` equity from its first to its last bar (fraction)."""
    return equity[..., -1] / equity[..., 0] - 1.0


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


def sortino_ratio(returns: Tensor, bars_per_year: float = BARS_PER_YEAR) -> Tensor:
    """Yearly Sortino ratio of ``[..., T]`` per-bar returns; 0 where no bar lost.

    The downside deviation is the root mean square of losses over all bars, target zero (Sortino
    and Price 1994).
    """
    downside = returns.clamp(max=0.0).square().mean(-1).sqrt()
    lost = downside > 0
    ratio = returns.mean(-1) / torch.where(lost, downside, torch.ones_like(downside))
    return torch.where(lost, ratio * math.sqrt(bars_per_year), ratio * 0.0)


def calmar_ratio(equity: Tensor, bars_per_year: float = BARS_PER_YEAR) -> Tensor:
    """Compound yearly return over the largest drawdown (Young 1991); NaN without a drawdown."""
    worst = max_drawdown(equity)
    fell = worst > 0
    ratio = annual_return(equity, bars_per_year) / torch.where(fell, worst, torch.ones_like(worst))
    return torch.where(fell, ratio, torch.full_like(ratio, torch.nan))


def drawdown(equity: Tensor) -> Tensor:
    """Loss from the running peak at each bar of ``[..., T]`` equity (fraction, positive)."""
    return 1.0 - equity / equity.cummax(-1).values


def max_drawdown(equity: Tensor) -> Tensor:
    """Largest loss from a running peak of ``[..., T]`` equity (fraction of the peak, positive)."""
    return drawdown(equity).amax(-1)


def drawdown_length(equity: Tensor) -> Tensor:
    """Longest run of bars below an earlier peak of ``[..., T]`` equity (bars, int64).

    A peak that is not reached again by the last bar counts up to that bar.
    """
    bar = torch.arange(equity.shape[-1], device=equity.device)
    at_peak = equity >= equity.cummax(-1).values
    peak = torch.where(at_peak, bar, torch.zeros_like(bar)).cummax(-1).values
    return (bar - peak).amax(-1)


def conditional_value_at_risk(returns: Tensor, confidence: float = 0.95) -> Tensor:
    """Mean loss of the worst ``1 - confidence`` of ``[..., T]`` bars (fraction, a loss positive).

    The bar on the edge of the tail counts by the part of it inside (Rockafellar and Uryasev 2002,
    eq. 25), so the tail holds exactly its share of the bars.

    Args:
        returns: per-bar returns.
        confidence: at least 0, below 1.
    """
    bars = (1.0 - confidence) * returns.shape[-1]
    whole = max(0, math.ceil(bars) - 1)
    worst = returns.topk(whole + 1, -1, largest=False).values
    return -(worst[..., :whole].sum(-1) + worst[..., whole] * (bars - whole)) / bars


def beta(returns: Tensor, benchmark: Tensor) -> Tensor:
    """Slope of ``[..., T]`` returns on a benchmark's; 0 where the benchmark did not move."""
    centred = benchmark - benchmark.mean(-1, keepdim=True)
    variance = centred.square().sum(-1)
    # The rounded mean of equal numbers may differ from them, so the variance cannot tell.
    moved = benchmark.amax(-1) > benchmark.amin(-1)
    covariance = (returns * centred).sum(-1)
    slope = covariance / torch.where(moved, variance, torch.ones_like(variance))
    return torch.where(moved, slope, torch.zeros_like(slope))


def alpha(returns: Tensor, benchmark: Tensor, bars_per_year: float = BARS_PER_YEAR) -> Tensor:
    """Yearly mean return that ``beta`` times the benchmark leaves unexplained (Jensen 1968).

    Args:
        returns: ``[..., T]`` per-bar returns.
        benchmark: ``[T]`` or ``[..., T]`` returns over the same bars.
        bars_per_year: bars in a year; the mean is multiplied by it, not compounded.
    """
    explained = beta(returns, benchmark) * benchmark.mean(-1)
    return (returns.mean(-1) - explained) * bars_per_year


def hit_rate(returns: Tensor, exposed: Tensor | None = None) -> Tensor:
    """Share of bars with profit among the bars that counted; 0 where none did.

    Args:
        returns: ``[..., T]`` per-bar returns.
        exposed: ``[..., T]`` bool, bars with a position; None counts bars with profit or loss.
    """
    counted = returns != 0 if exposed is None else exposed
    hits = ((returns > 0) & counted).sum(-1).to(returns.dtype)
    return hits / counted.sum(-1).clamp(min=1)
