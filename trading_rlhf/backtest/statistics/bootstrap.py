"""Intervals and paired tests by the stationary bootstrap.

Politis and Romano (1994), "The stationary bootstrap", Journal of the American Statistical
Association 89 (428): bars are drawn in blocks of random length, which keeps serial correlation
and clustered volatility.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import BARS_PER_YEAR, max_drawdown, sharpe_ratio
from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray

__all__ = [
    "Interval",
    "PairedTest",
    "Statistic",
    "block_length",
    "bootstrap_intervals",
    "headlines",
    "log_growth",
    "paired_test",
    "stationary_rows",
    "worst_drawdown",
]

Statistic: TypeAlias = Callable[[Tensor], Tensor]
"""Takes ``[..., T]`` per-bar returns to ``[...]`` values."""

_FEWEST_BARS = 20
_DRAWS_AT_ONCE = 250
_LEAST_GROWTH = 1e-12


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap percentile interval.

    Attributes:
        value: the figure of the curve itself.
        low: lower bound.
        high: upper bound.
        confidence: share of resampled figures between the bounds.
        block: mean block length (bars).
    """

    value: float
    low: float
    high: float
    confidence: float
    block: float


@dataclass(frozen=True)
class PairedTest:
    """Whether one arm beats another over the same bars.

    Attributes:
        difference: figure of the first less figure of the second.
        low: lower bound of its percentile interval.
        high: upper bound.
        p_greater: p value against "the first is not better" (one-sided).
        p_two_sided: p value against "they are equal".
        confidence: of the interval.
        block: mean block length (bars).
    """

    difference: float
    low: float
    high: float
    p_greater: float
    p_two_sided: float
    confidence: float
    block: float


def log_growth(returns: Tensor) -> Tensor:
    """Mean log growth a bar of ``[..., T]`` returns; a lost bar counts as 1e-12."""
    return (1.0 + returns).clamp(min=_LEAST_GROWTH).log().mean(-1)


def worst_drawdown(returns: Tensor) -> Tensor:
    """Largest drawdown of the curve that ``[..., T]`` returns compound to from 1 (fraction)."""
    curve = (1.0 + returns).clamp(min=0.0).cumprod(-1)
    return max_drawdown(torch.cat([torch.ones_like(curve[..., :1]), curve], -1))


def headlines(bars_per_year: float = BARS_PER_YEAR) -> dict[str, Statistic]:
    """Figures that a report heads with: yearly log growth, yearly Sharpe ratio, drawdown."""
    return {
        "log_growth": lambda returns: log_growth(returns) * bars_per_year,
        "sharpe": lambda returns: sharpe_ratio(returns, bars_per_year),
        "max_drawdown": worst_drawdown,
    }


def block_length(returns: FloatArray) -> float:
    """Mean block length for the stationary bootstrap by the automatic rule (bars, at least 1).

    Politis and White (2004), "Automatic block-length selection for the dependent bootstrap", with
    the correction of Patton, Politis and White (2009); tuning as in arch 8.0.

    Args:
        returns: ``[T]``.
    """
    centred = np.asarray(returns, dtype=np.float64)
    centred = centred - centred.mean()
    bars = len(centred)
    if not np.ptp(returns) > 0:
        return 1.0
    run = max(5, int(math.log10(bars)))
    most = math.ceil(math.sqrt(bars)) + run
    most = min(most, bars - 2)
    lags = range(most + 1)
    products = np.array([centred[lag:] @ centred[: bars - lag] for lag in lags])
    small = np.abs(products) < 2 * math.sqrt(math.log10(bars) / bars) * _norms(centred, lags)
    quiet = [lag - run for lag in range(run, most + 1) if small[lag - run : lag].all()]
    bandwidth = min(2 * max(quiet[0], 1), most) if quiet else most
    lag = np.arange(1, bandwidth + 1)
    # Flat-top window: 1 up to half of the bandwidth, then down to 0.
    weight = np.minimum(1.0, 2.0 * (1.0 - lag / bandwidth))
    covariance = products / bars
    slope = 2.0 * (weight * lag * covariance[1 : bandwidth + 1]).sum()
    long_run = covariance[0] + 2.0 * (weight * covariance[1 : bandwidth + 1]).sum()
    if long_run == 0.0:
        return 1.0
    length = (slope**2 / long_run**2 * bars) ** (1 / 3)
    return float(min(max(length, 1.0), math.ceil(min(3 * math.sqrt(bars), bars / 3))))


def stationary_rows(bars: int, draws: int, block: float, generator: torch.Generator) -> Tensor:
    """Rows of resampled histories: blocks of geometric length that wrap around the end.

    Args:
        bars: number of bars T.
        draws: number of histories.
        block: mean block length (bars), at least 1.
        generator: source of randomness; the result is on its device.

    Returns:
        ``[draws, T]`` int64 bar numbers.
    """
    shape, device = (draws, bars), generator.device
    starts = torch.rand(shape, generator=generator, device=device) < 1.0 / block
    starts[:, 0] = True
    first = torch.randint(bars, shape, generator=generator, device=device)
    bar = torch.arange(bars, device=device)
    begun = torch.where(starts, bar, 0).cummax(-1).values
    return (first.gather(-1, begun) + bar - begun) % bars


def bootstrap_intervals(
    returns: Tensor,
    generator: torch.Generator,
    *,
    statistics: Mapping[str, Statistic] | None = None,
    draws: int = 1000,
    confidence: float = 0.95,
    block: float | None = None,
) -> dict[str, Interval]:
    """Percentile intervals of the figures of one curve, or of the mean figures of several draws.

    Args:
        returns: ``[T]`` per-bar returns, on the generator's device; or ``[D, T]`` of D draws of one
            arm over the same bars, which each history draws anew, too.
        generator: source of randomness.
        statistics: figures by name; None is ``headlines``.
        draws: number of resampled histories.
        confidence: share of them between the bounds.
        block: mean block length (bars); None is ``block_length``.

    Raises:
        AccountingError: returns are too few or not finite, or an argument is out of range.
    """
    _check(returns, draws, confidence, block)
    statistics = headlines() if statistics is None else statistics
    length = block if block is not None else block_length(_mean_curve(returns).numpy())
    found: dict[str, list[Tensor]] = {name: [] for name in statistics}
    curves = returns if returns.ndim == 2 else returns[None]
    for rows in _chunks(curves.shape[-1], draws, length, generator):
        chosen = _chosen(len(curves), len(rows), generator)
        for name, statistic in statistics.items():
            found[name].append(_mean_figure(curves[:, rows], statistic, chosen))
    intervals = {}
    for name, statistic in statistics.items():
        low, high = _bounds(torch.cat(found[name]), confidence)
        value = float(statistic(curves).mean())
        intervals[name] = Interval(value, low, high, confidence, length)
    return intervals


def paired_test(
    first: Tensor,
    second: Tensor,
    generator: torch.Generator,
    *,
    statistic: Statistic = log_growth,
    draws: int = 1000,
    confidence: float = 0.95,
    block: float | None = None,
) -> PairedTest:
    """Compare two arms over the same bars: each history draws the same bars for both.

    The p values compare the difference with resampled differences less the difference itself,
    which stand for a world where the arms are equal (Politis and Romano 1994, section 4); the
    count starts at 1, so none is 0.

    Args:
        first: ``[T]`` per-bar returns, on the generator's device; or ``[D, T]`` of D draws of one
            arm, whose figures are averaged and which each history draws anew, too.
        second: returns of the other arm, in the same way.
        generator: source of randomness.
        statistic: what is compared; more is better for ``p_greater``.
        draws: number of resampled histories.
        confidence: of the interval.
        block: mean block length (bars); None is the rule's for the difference of the returns.

    Raises:
        AccountingError: the arms differ in length, are too short or not finite, or an argument is
            out of range.
    """
    if first.shape[-1:] != second.shape[-1:]:
        raise AccountingError(
            "paired arms need the same bars",
            f"shapes {tuple(first.shape)} and {tuple(second.shape)}",
            "Run both over the same period.",
        )
    for returns in (first, second):
        _check(returns, draws, confidence, block)
    between = _mean_curve(first) - _mean_curve(second)
    length = block if block is not None else block_length(between.numpy())
    arms = [returns if returns.ndim == 2 else returns[None] for returns in (first, second)]
    parts = []
    for rows in _chunks(len(between), draws, length, generator):
        values = [
            _mean_figure(arm[:, rows], statistic, _chosen(len(arm), len(rows), generator))
            for arm in arms
        ]
        parts.append(values[0] - values[1])
    resampled = torch.cat(parts)
    difference = float(statistic(arms[0]).mean() - statistic(arms[1]).mean())
    noise = resampled - difference
    low, high = _bounds(resampled, confidence)
    return PairedTest(
        difference,
        low,
        high,
        p_greater=_p_value(noise >= difference),
        p_two_sided=_p_value(noise.abs() >= abs(difference)),
        confidence=confidence,
        block=length,
    )


def _mean_curve(returns: Tensor) -> Tensor:
    """``[T]`` float64 on the processor: the mean over the draws, where there are several."""
    return (returns if returns.ndim == 1 else returns.mean(0)).double().cpu()


def _chosen(n_curves: int, draws: int, generator: torch.Generator) -> Tensor | None:
    """Draws ``[D, draws]`` of an arm with replacement; None where it has one."""
    if n_curves == 1:
        return None
    shape = (n_curves, draws)
    return torch.randint(n_curves, shape, generator=generator, device=generator.device)


def _mean_figure(resampled: Tensor, statistic: Statistic, chosen: Tensor | None) -> Tensor:
    """Figures ``[draws]`` of resampled histories ``[D, draws, T]``, averaged over chosen draws."""
    values = statistic(resampled)
    return values[0] if chosen is None else values.gather(0, chosen).mean(0)


def _norms(centred: FloatArray, lags: range) -> FloatArray:
    """Root of the two sums of squares that scale each lag's product to a correlation."""
    squares = np.concatenate([[0.0], np.cumsum(centred**2)])
    total, bars = squares[-1], len(centred)
    late = np.array([total - squares[lag + 1] for lag in lags])
    early = np.array([squares[bars - lag - 1] for lag in lags])
    norms: FloatArray = np.sqrt(late * early)
    return norms


def _chunks(bars: int, draws: int, block: float, generator: torch.Generator) -> Iterator[Tensor]:
    for begin in range(0, draws, _DRAWS_AT_ONCE):
        yield stationary_rows(bars, min(_DRAWS_AT_ONCE, draws - begin), block, generator)


def _bounds(values: Tensor, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    levels = torch.tensor([tail, 1.0 - tail], dtype=values.dtype, device=values.device)
    low, high = values.quantile(levels).tolist()
    return low, high


def _p_value(as_extreme: Tensor) -> float:
    return (1 + int(as_extreme.sum())) / (1 + len(as_extreme))


def _check(returns: Tensor, draws: int, confidence: float, block: float | None) -> None:
    if returns.ndim not in (1, 2) or not len(returns) or returns.shape[-1] < _FEWEST_BARS:
        raise AccountingError(
            f"a bootstrap needs one curve, or draws of one arm, of at least {_FEWEST_BARS} returns",
            f"shape {tuple(returns.shape)}",
            "Use a longer period.",
        )
    if not bool(torch.isfinite(returns).all()):
        raise AccountingError(
            "returns must be finite", "NaN or an infinite number", "Cut the curve to its own bars."
        )
    if draws < 1 or not 0.0 < confidence < 1.0 or (block is not None and not block >= 1.0):
        raise AccountingError(
            "draws and block must be at least 1 and confidence between 0 and 1",
            f"draws {draws}, block {block}, confidence {confidence:g}",
            "Use 1000 draws and a confidence of 0.95.",
        )
