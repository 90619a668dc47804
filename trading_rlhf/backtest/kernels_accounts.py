"""Accounts of strategies side by side, compiled: their state, a night, and the books' closing."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from trading_rlhf.backtest.vectors import WIDTH, padded

__all__ = ["FAST", "LANES", "Array", "close", "compiled", "compiled_parallel", "inlined",
           "new_accounts", "pass_night", "uncounted"]  # fmt: skip

Array = npt.NDArray[Any]

LANES = 32
"""Strategies side by side: whole vectors, and few enough for the first cache."""

# Rows of the state of strategies side by side. The first seven are sums over the assets of one bar,
# the eleven from EQUITY on are the columns of the result. OWN is 1 or 2 where an account reads its
# own copy of what is wanted, BOUND 1 where the limit bound in the session before.
(
    TURN, COST, GAIN, NIGHT, GROSS, NET, WANTED,
    INVERSE, OVERNIGHT, UNIT, GROWTH, SPENT, PEAK,
    EQUITY, MEAN, SPREAD, DOWNSIDE, DRAWDOWN, TURNOVER, PAID, EXPOSURE, HITS, EXPOSED, LARGEST,
    OWN, BOUND,
) = (row * LANES for row in range(26))  # fmt: skip
PARTS = 26 * LANES
"""Here the seven sums begin that are not yet added up, every one a vector."""
SUMMED = 7 * LANES
STATE = PARTS + SUMMED * WIDTH

FAST = {"reassoc", "contract", "nsz", "arcp"}
compiled = numba.njit(fastmath=FAST, error_model="numpy", cache=True)
compiled_parallel = numba.njit(fastmath=FAST, error_model="numpy", cache=True, parallel=True)
# Counting references to arrays at every call costs as much as half the work on a bar. What neither
# makes nor returns arrays need not.
_Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
uncounted: _Decorator = numba.njit(  # type: ignore[call-overload]
    fastmath=FAST, error_model="numpy", cache=True, _nrt=False
)
# Passing rows on counts references to each of them as well.
inlined = numba.njit(fastmath=FAST, error_model="numpy", inline="always")


@compiled
def new_accounts(n_assets: int) -> tuple[Array, Array, Array]:
    """Accounts in cash; P is the number of assets, rounded up to whole vectors.

    Returns:
        The state; worth of positions before and after a session in turn, ``[2, 32, P]``; and
        weights wanted where they are not the targets as given, ``[32, P]``.
    """
    lane, width = np.zeros(STATE), padded(n_assets)
    for row in (INVERSE, PEAK, EQUITY):
        lane[row : row + LANES] = 1.0
    return lane, np.zeros((2, LANES, width)), np.zeros((LANES, width))


@uncounted
def pass_night(lane: Array, sessions: Array, session: int, many: int) -> None:
    """Growth of equity from the close to the fill: price moves, interest and borrow fees."""
    margin, interest = sessions[session, 0], sessions[session, 1]
    for j in range(many):
        cash = 1.0 - 0.5 * (lane[GROSS + j] + lane[NET + j]) * lane[INVERSE + j]
        earned = interest * max(cash, 0.0) - margin * max(-cash, 0.0)
        night = 1.0 + lane[NIGHT + j] * lane[INVERSE + j] + earned
        solvent = night > 0.0
        lane[OVERNIGHT + j] = night if solvent else 0.0
        lane[UNIT + j] = 1.0 / night if solvent else 0.0


@uncounted
def close(lane: Array, at_fill: bool, share: float, many: int) -> None:
    """Close the books of a session: equity and everything that is measured."""
    for j in range(many):
        night, inverse, equity = lane[OVERNIGHT + j], lane[UNIT + j], lane[EQUITY + j]
        # Trades, costs and gain are per equity at the close before, or already at the fill.
        unit = 1.0 if at_fill else inverse
        cost = lane[COST + j] * unit
        day = 1.0 + lane[GAIN + j] * unit - cost
        solvent = min(day, inverse) > 0.0
        growth = night * day if solvent else 0.0
        inverse = unit / day if solvent else 0.0
        growth = growth if equity > 0.0 else 1.0
        back = growth - 1.0
        equity *= growth
        peak = max(lane[PEAK + j], equity)
        away = back - lane[MEAN + j]
        mean = lane[MEAN + j] + away * share
        loss = min(back, 0.0)
        gross = lane[GROSS + j] * inverse
        exposed = 1.0 if gross > 1e-9 else 0.0
        lane[GROWTH + j] = growth
        lane[INVERSE + j] = inverse
        lane[EQUITY + j] = equity
        lane[PEAK + j] = peak
        lane[DRAWDOWN + j] = max(lane[DRAWDOWN + j], 1.0 - equity / peak)
        lane[MEAN + j] = mean
        lane[SPREAD + j] += away * (back - mean)
        lane[DOWNSIDE + j] += loss * loss
        lane[TURNOVER + j] += lane[TURN + j] * unit
        lane[SPENT + j] = cost
        lane[PAID + j] += cost
        lane[EXPOSURE + j] += gross
        lane[EXPOSED + j] += exposed
        lane[HITS + j] += exposed if back > 0.0 else 0.0
