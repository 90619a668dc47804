"""Accounts of eight strategies side by side, compiled: their state, a night, the books' closing."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from trading_rlhf.backtest.vectors import (
    FAST,
    LANES,
    above,
    columns_of,
    load,
    rows_of,
    spread,
    store,
)

__all__ = [
    "Array", "close", "columns", "compiled", "compiled_parallel", "inlined", "lines", "merged",
    "new_accounts", "pass_night", "rows", "start_accounts", "uncounted",
]  # fmt: skip

Array = npt.NDArray[Any]

# Rows of the state of strategies side by side. The first seven are sums over the assets of one bar,
# the eleven from EQUITY on are the columns of the result.
(
    TURN, COST, GAIN, NIGHT, GROSS, NET, WANTED,
    INVERSE, OVERNIGHT, UNIT, SPENT, PEAK,
    EQUITY, MEAN, SPREAD, DOWNSIDE, DRAWDOWN, TURNOVER, PAID, EXPOSURE, HITS, EXPOSED, LARGEST,
) = (row * LANES for row in range(23))  # fmt: skip
STATE = 23 * LANES

compiled = numba.njit(fastmath=FAST, error_model="numpy", cache=True)
compiled_parallel = numba.njit(fastmath=FAST, error_model="numpy", cache=True, parallel=True)
# Counting references to arrays at every call costs as much as half the work on a bar. What neither
# makes nor returns arrays need not.
_Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
uncounted: _Decorator = numba.njit(  # type: ignore[call-overload]
    fastmath=FAST, error_model="numpy", cache=True, _nrt=False
)
# Handing a dozen arrays on takes a third of the time of a session of twenty assets.
merged: _Decorator = numba.njit(  # type: ignore[call-overload]
    fastmath=FAST, error_model="numpy", cache=True, _nrt=False, forceinline=True
)
# Passing rows on counts references to each of them as well.
inlined = numba.njit(fastmath=FAST, error_model="numpy", inline="always")


@compiled
def lines(numbers: int) -> Array:
    """Zeros that begin on a line of the cache, where a register is read at once."""
    room = np.zeros(numbers + LANES)
    first = -room.ctypes.data % (8 * LANES) // 8
    return room[first : first + numbers]


@compiled
def new_accounts(n_assets: int) -> tuple[Array, Array]:
    """Accounts in cash.

    Returns:
        The state; and worth of positions before and after a session in turn, ``[2 * N * 8]``.
    """
    state, worth = lines(STATE), lines(2 * n_assets * LANES)
    start_accounts(state)
    return state, worth


@uncounted
def start_accounts(state: Array) -> None:
    """Begin with cash alone."""
    for row in (INVERSE, PEAK, EQUITY):
        store(state, row, spread(1.0))


@uncounted
def columns(
    source: Array, at: int, stride: int, many: int, length: int, tile: Array, to: int
) -> None:
    """Read rows of some strategies into lanes."""
    for k in range(0, length, LANES):
        columns_of(source, at + k, stride, many, length - k, tile, to + k * LANES)


@uncounted
def rows(tile: Array, to: int, goal: Array, at: int, stride: int, many: int, length: int) -> None:
    """Write lanes into rows of some strategies."""
    for k in range(0, length, LANES):
        rows_of(tile, to + k * LANES, goal, at + k, stride, many, length - k)


@uncounted
def pass_night(state: Array, sessions: Array, session: int) -> None:
    """Growth of equity from the close to the fill: price moves, interest and borrow fees."""
    zero, one = spread(0.0), spread(1.0)
    margin, interest = spread(sessions[session, 0]), spread(sessions[session, 1])
    inverse = load(state, INVERSE)
    cash = one - spread(0.5) * (load(state, GROSS) + load(state, NET)) * inverse
    earned = above(cash, zero, interest, margin) * cash
    night = one + load(state, NIGHT) * inverse + earned
    store(state, OVERNIGHT, above(night, zero, night, zero))
    store(state, UNIT, above(night, zero, one / night, zero))


@uncounted
def close(state: Array, at_fill: bool, share: float) -> None:
    """Close the books of a session: equity and everything that is measured."""
    zero, one = spread(0.0), spread(1.0)
    night, inverse, equity = load(state, OVERNIGHT), load(state, UNIT), load(state, EQUITY)
    # Trades, costs and gain are per equity at the close before, or already at the fill.
    unit = one if at_fill else inverse
    cost = load(state, COST) * unit
    day = one + load(state, GAIN) * unit - cost
    solvent = above(day, zero, inverse, zero)
    growth = above(equity, zero, above(solvent, zero, night * day, zero), one)
    inverse = above(solvent, zero, unit / day, zero)
    back = growth - one
    equity = equity * growth
    peak = load(state, PEAK)
    peak = above(equity, peak, equity, peak)
    mean = load(state, MEAN)
    away = back - mean
    mean = mean + away * spread(share)
    loss = above(zero, back, back, zero)
    gross = load(state, GROSS) * inverse
    exposed = above(gross, spread(1e-9), one, zero)
    fall, deepest = one - equity / peak, load(state, DRAWDOWN)
    store(state, INVERSE, inverse)
    store(state, EQUITY, equity)
    store(state, PEAK, peak)
    store(state, DRAWDOWN, above(fall, deepest, fall, deepest))
    store(state, MEAN, mean)
    store(state, SPREAD, load(state, SPREAD) + away * (back - mean))
    store(state, DOWNSIDE, load(state, DOWNSIDE) + loss * loss)
    store(state, TURNOVER, load(state, TURNOVER) + load(state, TURN) * unit)
    store(state, SPENT, cost)
    store(state, PAID, load(state, PAID) + cost)
    store(state, EXPOSURE, load(state, EXPOSURE) + gross)
    store(state, EXPOSED, load(state, EXPOSED) + exposed)
    store(state, HITS, load(state, HITS) + above(back, zero, exposed, zero))
