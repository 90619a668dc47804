"""What simulated markets share: their sessions, and bars out of moves of the log price."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.clock import trading_sessions
from trading_rlhf.types import FloatArray

__all__ = ["Moves", "STEP_SHARES", "bars_from_moves", "correlated", "session_dates"]

STEP_SHARES: Final = np.array([0.2, *[0.1] * 8])
"""Share of a bar's time in each step of its path: the time before the open, then 8 steps."""

_FIRST_PRICE = 100.0
_SHARES_A_BAR = 1e6
_VOLUME_MEMORY = 0.9


@dataclass(frozen=True, eq=False)
class Moves:
    """Moves of the log price, each ``[T, N]``.

    Attributes:
        gap: from the close before to the open.
        up: from the open to the high, zero or more.
        down: from the open to the low, zero or less.
        body: from the open to the close.
    """

    gap: FloatArray
    up: FloatArray
    down: FloatArray
    body: FloatArray


def session_dates(
    n_bars: int, n_assets: int, dates: pd.DatetimeIndex | None = None
) -> pd.DatetimeIndex:
    """Return ``n_bars`` sessions from 2000 on, or the given dates.

    Raises:
        DataError: fewer than two bars, no asset, more bars than the calendar has, or another number
            of dates.
    """
    if dates is not None and len(dates) != n_bars:
        raise DataError("there must be one date a bar", f"{len(dates)}", f"Pass {n_bars}.")
    sessions = trading_sessions(pd.Timestamp("2000-01-03"), pd.Timestamp("2099-12-31"))
    most = len(sessions) if dates is None else n_bars
    if not 2 <= n_bars <= most or n_assets < 1:
        raise DataError(
            f"a simulated market has 2 to {len(sessions)} bars and at least one asset",
            f"{n_bars} bars and {n_assets} assets",
            "Choose within that range.",
        )
    return sessions[:n_bars] if dates is None else dates


def correlated(
    generator: np.random.Generator, shape: tuple[int, ...], correlation: float | FloatArray
) -> FloatArray:
    """Draw ``[..., N]`` standard normals; any two assets of a row have the same correlation.

    z = sqrt(rho) * common + sqrt(1 - rho) * own, where rho is one number or ``[..., 1]``.

    Raises:
        DataError: the correlation is not within 0 and 1.
    """
    rho = np.asarray(correlation)
    if not ((rho >= 0.0) & (rho <= 1.0)).all():
        raise DataError("correlation must lie in 0..1", f"{correlation}", "Use 0.3.")
    z = generator.standard_normal(shape)
    z *= np.sqrt(1.0 - rho)
    z += np.sqrt(rho) * generator.standard_normal((*shape[:-1], 1))
    return z


def bars_from_moves(generator: np.random.Generator, moves: Moves, dates: pd.DatetimeIndex) -> Bars:
    """Return bars that start near 100 USD and follow the moves.

    Volume is lognormal around a level of each asset, remembers the day before and rises with the
    day's range, as it does in markets (Karpoff 1987, The relation between price changes and trading
    volume).
    """
    n_assets = moves.gap.shape[1]
    close = _FIRST_PRICE * np.exp(np.cumsum(moves.gap + moves.body, axis=0))
    before = np.vstack([np.full((1, n_assets), _FIRST_PRICE), close[:-1]])
    open_ = before * np.exp(moves.gap)
    # The path from open to close is rounded on the way, so the extremes are taken once more.
    high = np.maximum(open_ * np.exp(moves.up), np.maximum(open_, close))
    low = np.minimum(open_ * np.exp(moves.down), np.minimum(open_, close))
    return Bars(
        dates=dates,
        symbols=[f"S{i:0{len(str(n_assets - 1))}d}" for i in range(n_assets)],
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=_volume(generator, moves.up - moves.down),
    )


def _volume(generator: np.random.Generator, width: FloatArray) -> FloatArray:
    """Return ``[T, N]`` whole shares, at least one."""
    level = np.log(_SHARES_A_BAR) + generator.standard_normal(width.shape[1])
    own = 0.25 * generator.standard_normal(width.shape)
    own += 0.4 * (width / width.mean(axis=0) - 1.0)
    memory = np.zeros(width.shape[1])
    for t in range(len(own)):
        memory = own[t] = _VOLUME_MEMORY * memory + own[t]
    shares: FloatArray = np.round(np.exp(level + np.clip(own, -5.0, 5.0)))
    return np.maximum(shares, 1.0)
