"""Stochastic volatility with jumps: returns have fat tails and quiet and wild times."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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

__all__ = ["HestonMarket", "HestonModel", "heston_market"]


@dataclass(frozen=True)
class HestonModel:
    """Parameters, per year.

    Attributes:
        drift: mu, expected simple return.
        mean_variance: theta, to which the variance returns.
        reversion: kappa, speed at which it does.
        variance_volatility: xi.
        leverage: rho, correlation of a price with its own variance.
        correlation: of the diffusive returns of any two assets.
        jumps: lambda, expected number of jumps.
        jump_mean: of a jump's log size.
        jump_volatility: standard deviation of a jump's log size.
    """

    drift: float = 0.06
    mean_variance: float = 0.0625
    reversion: float = 5.0
    variance_volatility: float = 0.5
    leverage: float = -0.6
    correlation: float = 0.3
    jumps: float = 4.0
    jump_mean: float = -0.01
    jump_volatility: float = 0.05

    def __post_init__(self) -> None:
        """Check.

        Raises:
            DataError: a parameter is out of range.
        """
        positive = (self.mean_variance, self.reversion, self.variance_volatility)
        if not (min(positive) > 0.0 and min(self.jumps, self.jump_volatility) >= 0.0):
            raise DataError(
                "variance, reversion and its volatility must be positive, jumps not negative",
                str(self),
                "Correct the parameter.",
            )
        if not (-1.0 <= self.leverage <= 1.0 and 0.0 <= self.correlation <= 1.0):
            raise DataError(
                "leverage must lie in -1..1 and correlation in 0..1",
                f"{self.leverage:g} and {self.correlation:g}",
                "Use -0.6 and 0.3.",
            )


@dataclass(frozen=True, eq=False)
class HestonMarket:
    """Bars with what drove them.

    Attributes:
        bars: T bars of N assets with open, high, low, close and volume.
        variance: ``[T, N]`` variance a year at each close.
        jumps: ``[T, N]`` number of jumps within each bar.
    """

    bars: Bars
    variance: FloatArray
    jumps: npt.NDArray[np.int64]


def heston_market(
    generator: np.random.Generator,
    n_bars: int = 2520,
    n_assets: int = 20,
    model: HestonModel | None = None,
    *,
    bars_per_year: float = 252.0,
    dates: pd.DatetimeIndex | None = None,
) -> HestonMarket:
    """Draw prices with stochastic variance (Heston 1993) and lognormal jumps (Bates 1996).

    x is the log price, N counts jumps of log size J ~ normal(jump_mean, jump_volatility**2):

        dx = (mu - lambda * (E[exp J] - 1) - v / 2) dt + sqrt(v) dW + J dN
        dv = kappa (theta - v) dt + xi sqrt(v) dZ,   corr(dW, dZ) = rho

    It is stepped by the full truncation scheme of Lord, Koekkoek and van Dijk (2010), A comparison
    of biased simulation schemes for stochastic volatility models: v may turn negative, but drift
    and diffusion use max(v, 0). The first variance is drawn from its stationary gamma law.

    Args:
        generator: the only source of randomness.
        n_bars: number of bars T.
        n_assets: number of assets N.
        model: parameters; the defaults if None.
        bars_per_year: bars in the year of the parameters.
        dates: dates of the bars; New York's sessions from 2000 on if None.

    Raises:
        DataError: a number is out of range.
    """
    index = session_dates(n_bars, n_assets, dates)
    if not bars_per_year > 0.0:
        raise DataError("bars_per_year must be positive", f"{bars_per_year:g}", "Use 252.")
    model = model or HestonModel()
    shape = (n_bars, n_assets)
    moves = Moves(*(np.zeros(shape) for _ in range(4)))
    variance, jumps = np.empty(shape), np.zeros(shape, dtype=np.int64)
    half = model.variance_volatility**2 / (2.0 * model.reversion)
    v = generator.gamma(model.mean_variance / half, half, n_assets)
    for t in range(n_bars):
        path, v, jumps[t] = _bar(generator, model, v, STEP_SHARES / bars_per_year)
        moves.gap[t], moves.body[t] = path[0], path[-1] - path[0]
        moves.up[t], moves.down[t] = path.max(axis=0) - path[0], path.min(axis=0) - path[0]
        variance[t] = np.maximum(v, 0.0)
    bars = bars_from_moves(generator, moves, index)
    for array in (variance, jumps):
        array.setflags(write=False)
    return HestonMarket(bars, variance, jumps)


def _bar(
    generator: np.random.Generator, model: HestonModel, v: FloatArray, dt: FloatArray
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Step through one bar.

    Returns:
        ``[S, N]`` log price after each step (from the close before), ``[N]`` variance after the
        last one, ``[N]`` jumps.
    """
    shape = (len(dt), len(v))
    z_price = correlated(generator, shape, model.correlation)
    z_variance = model.leverage * z_price
    z_variance += np.sqrt(1.0 - model.leverage**2) * generator.standard_normal(shape)
    jumps = generator.poisson(model.jumps * dt[:, None], shape)
    moves = model.jump_mean * jumps
    moves += model.jump_volatility * np.sqrt(jumps) * generator.standard_normal(shape)
    expected_jump = np.exp(model.jump_mean + model.jump_volatility**2 / 2.0) - 1.0
    drift = model.drift - model.jumps * expected_jump
    for step, time in enumerate(dt):
        positive = np.maximum(v, 0.0)
        root = np.sqrt(positive * time)
        moves[step] += (drift - positive / 2.0) * time + root * z_price[step]
        v = (
            v
            + model.reversion * (model.mean_variance - positive) * time
            + model.variance_volatility * root * z_variance[step]
        )
    return np.cumsum(moves, axis=0), v, jumps.sum(axis=0)
