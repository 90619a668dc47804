"""A market with planted edges: the drift of every return is known."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.clock import trading_sessions
from trading_rlhf.types import FloatArray

__all__ = ["PlantedMarket", "planted_market", "COMMON_NOISE", "OWN_NOISE"]

COMMON_NOISE: Final = 0.5
OWN_NOISE: Final = 0.85

_PERSISTENCE = np.array([0.97, 0.9, 0.98, 0.95, 0.5])
_FIRST_PRICE = 100.0


@dataclass(frozen=True, eq=False)
class PlantedMarket:
    """Bars made from known drift.

    Attributes:
        bars: T bars of N assets with open and close; an open is the close before.
        features: ``[T, N, 5]`` autoregressive, each with mean 0 and standard deviation 1, known at
            the close of t: momentum, value, volatility and two that say nothing.
        drift: ``[T, N]`` expected simple return into bar t.
        volatility: ``[T, N]`` scale of the noise of the return into bar t. The covariance of two
            returns is ``v_i * v_j * COMMON_NOISE**2``, plus ``v_i**2 * OWN_NOISE**2`` if i is j.
    """

    bars: Bars
    features: npt.NDArray[np.float32]
    drift: FloatArray
    volatility: FloatArray


def planted_market(
    generator: np.random.Generator, n_bars: int = 6000, n_assets: int = 20
) -> PlantedMarket:
    """Draw a market whose features persist and drive its drift.

    The return into bar t depends on the features of t. A trade decided on the features of t fills
    at the open of t+1 and earns the return into t+1, which they predict because they persist.

    Args:
        generator: the only source of randomness.
        n_bars: number of bars T.
        n_assets: number of assets N.

    Raises:
        DataError: fewer than two bars, no asset, or more bars than the calendar has.
    """
    sessions = trading_sessions(pd.Timestamp("2000-01-03"), pd.Timestamp("2099-12-31"))
    if not 2 <= n_bars <= len(sessions) or n_assets < 1:
        raise DataError(
            f"a planted market has 2 to {len(sessions)} bars and at least one asset",
            f"{n_bars} bars and {n_assets} assets",
            "Choose within that range.",
        )
    features = _autoregressive(generator, n_bars, n_assets).astype(np.float32)
    momentum, value, calm = (features[..., i].astype(np.float64) for i in range(3))
    volatility = 0.015 * np.exp(0.4 * calm)
    drift = 0.0010 * momentum + 0.0008 * value + 0.0003
    noise = OWN_NOISE * generator.standard_normal((n_bars, n_assets))
    noise += COMMON_NOISE * generator.standard_normal((n_bars, 1))
    returns = np.clip(drift + volatility * noise, -0.3, 0.3)
    close = _FIRST_PRICE * np.cumprod(1.0 + returns, axis=0)
    bars = Bars(
        dates=sessions[:n_bars],
        symbols=[f"P{i:02d}" for i in range(n_assets)],
        open=np.vstack([np.full((1, n_assets), _FIRST_PRICE), close[:-1]]),
        high=None,
        low=None,
        close=close,
        volume=None,
    )
    for array in (features, drift, volatility):
        array.setflags(write=False)
    return PlantedMarket(bars, features, drift, volatility)


def _autoregressive(generator: np.random.Generator, n_bars: int, n_assets: int) -> FloatArray:
    """Return ``[T, N, 5]`` first-order autoregressions, stationary from the first bar."""
    values = generator.standard_normal((n_bars, n_assets, len(_PERSISTENCE)))
    scale = np.sqrt(1.0 - _PERSISTENCE**2)
    for t in range(1, n_bars):
        values[t] = _PERSISTENCE * values[t - 1] + scale * values[t]
    return values
