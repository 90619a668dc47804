"""Geometric Brownian motion: returns that nothing predicts."""

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.synthetic.paths import (
    STEP_SHARES,
    Moves,
    bars_from_moves,
    correlated,
    session_dates,
)
from trading_rlhf.types import FloatArray

__all__ = ["gbm_market", "walk_bars"]


def gbm_market(
    generator: np.random.Generator,
    n_bars: int = 2520,
    n_assets: int = 20,
    *,
    drift: float = 0.06,
    volatility: float = 0.25,
    correlation: float = 0.3,
    bars_per_year: float = 252.0,
    dates: pd.DatetimeIndex | None = None,
) -> Bars:
    """Draw correlated geometric Brownian motions (Samuelson 1965; Black and Scholes 1973).

    dS / S = mu dt + sigma dW, so a log return over dt is normal with mean (mu - sigma**2 / 2) dt
    and variance sigma**2 dt. There is nothing to learn here: a policy that earns more than the
    drift on such a market has found a leak.

    Args:
        generator: the only source of randomness.
        n_bars: number of bars T.
        n_assets: number of assets N.
        drift: mu, expected simple return a year.
        volatility: sigma, a year.
        correlation: of the returns of any two assets.
        bars_per_year: 1 / dt.
        dates: dates of the bars; New York's sessions from 2000 on if None.

    Raises:
        DataError: a number is out of range.
    """
    index = session_dates(n_bars, n_assets, dates)
    if not (volatility > 0.0 and bars_per_year > 0.0 and np.isfinite(drift)):
        raise DataError(
            "volatility and bars_per_year must be positive and drift finite",
            f"{volatility:g}, {bars_per_year:g} and {drift:g}",
            "Use 0.25, 252 and 0.06.",
        )
    mean = np.full((n_bars, 1), (drift - volatility**2 / 2.0) / bars_per_year)
    scale = np.full((n_bars, 1), volatility / np.sqrt(bars_per_year))
    moves = walk_bars(generator, mean, scale, correlation, n_assets)
    return bars_from_moves(generator, moves, index)


def walk_bars(
    generator: np.random.Generator,
    mean: FloatArray,
    scale: FloatArray,
    correlation: float | FloatArray,
    n_assets: int,
) -> Moves:
    """Walk through each bar in steps of Brownian motion.

    Args:
        generator: the only source of randomness.
        mean: ``[T, 1]`` or ``[T, N]`` expected log return of each bar.
        scale: ``[T, 1]`` or ``[T, N]`` standard deviation of that log return.
        correlation: of any two assets, or ``[T, 1]`` of any two in each bar.
        n_assets: N.

    Returns:
        The moves of each bar; high and low are those of the 8 steps.
    """
    shape = (len(mean), n_assets)

    def step(share: float) -> FloatArray:
        z = correlated(generator, shape, correlation)
        z *= scale * np.sqrt(share)
        z += mean * share
        return z

    gap = step(float(STEP_SHARES[0]))
    body, up, down = (np.zeros(shape) for _ in range(3))
    for share in STEP_SHARES[1:]:
        body += step(float(share))
        np.maximum(up, body, out=up)
        np.minimum(down, body, out=down)
    return Moves(gap, up, down, body)
