"""Regime switching: calm and turbulent times that no price announces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.synthetic.gbm import walk_bars
from trading_rlhf.market.synthetic.paths import bars_from_moves, session_dates

__all__ = ["CALM_AND_TURBULENT", "Regime", "RegimeMarket", "regime_market"]


@dataclass(frozen=True)
class Regime:
    """What holds while a regime lasts.

    Attributes:
        drift: expected simple return a year.
        volatility: a year.
        correlation: of the returns of any two assets.
        duration: expected number of bars that it lasts, more than one.
    """

    drift: float
    volatility: float
    correlation: float
    duration: float

    def __post_init__(self) -> None:
        """Check.

        Raises:
            DataError: a number is out of range.
        """
        if not (self.volatility > 0.0 and self.duration > 1.0 and 0.0 <= self.correlation <= 1.0):
            raise DataError(
                "a regime needs volatility above 0, duration above 1 and correlation in 0..1",
                str(self),
                "Correct the regime.",
            )


CALM_AND_TURBULENT: Final = (
    Regime(drift=0.12, volatility=0.16, correlation=0.25, duration=200.0),
    Regime(drift=-0.15, volatility=0.40, correlation=0.6, duration=50.0),
)


@dataclass(frozen=True, eq=False)
class RegimeMarket:
    """Bars with the regime that drove them.

    Attributes:
        bars: T bars of N assets with open, high, low, close and volume.
        regimes: ``[T]`` index of the regime in which each bar was made.
    """

    bars: Bars
    regimes: npt.NDArray[np.int64]


def regime_market(
    generator: np.random.Generator,
    n_bars: int = 2520,
    n_assets: int = 20,
    regimes: Sequence[Regime] = CALM_AND_TURBULENT,
    *,
    bars_per_year: float = 252.0,
    dates: pd.DatetimeIndex | None = None,
) -> RegimeMarket:
    """Draw a market whose drift and volatility follow a hidden Markov chain (Hamilton 1989).

    The chain stays in regime i with probability 1 - 1 / duration_i, else moves to one of the others
    with equal chance; the first regime is drawn from the chain's stationary law. Within a bar of
    regime i prices are geometric Brownian motions with drift, volatility and correlation of i. That
    correlations rise when markets fall is Ang and Bekaert's (2002) finding.

    Args:
        generator: the only source of randomness.
        n_bars: number of bars T.
        n_assets: number of assets N.
        regimes: two or more; calm and turbulent if not given.
        bars_per_year: bars in the year of the parameters.
        dates: dates of the bars; New York's sessions from 2000 on if None.

    Raises:
        DataError: a number is out of range, or there are fewer than two regimes.
    """
    index = session_dates(n_bars, n_assets, dates)
    if len(regimes) < 2 or not bars_per_year > 0.0:
        raise DataError(
            "there must be two regimes or more, and bars_per_year positive",
            f"{len(regimes)} regimes, {bars_per_year:g} bars per year",
            "Add a regime.",
        )
    path = _chain(generator, n_bars, np.array([regime.duration for regime in regimes]))
    drift, volatility, correlation = (
        np.array([getattr(regime, name) for regime in regimes])[path][:, None]
        for name in ("drift", "volatility", "correlation")
    )
    mean = (drift - volatility**2 / 2.0) / bars_per_year
    moves = walk_bars(generator, mean, volatility / np.sqrt(bars_per_year), correlation, n_assets)
    path.setflags(write=False)
    return RegimeMarket(bars_from_moves(generator, moves, index), path)


def _chain(
    generator: np.random.Generator, n_bars: int, durations: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return ``[T]`` the states of the Markov chain."""
    others = len(durations) - 1
    # Every regime is entered equally often, so its share of time is its share of duration.
    state = int(generator.choice(len(durations), p=durations / durations.sum()))
    leaves = generator.random(n_bars)
    which = generator.integers(1, others + 1, n_bars)
    path = np.empty(n_bars, dtype=np.int64)
    for t in range(n_bars):
        path[t] = state
        if leaves[t] < 1.0 / durations[state]:
            state = int((state + which[t]) % (others + 1))
    return path
