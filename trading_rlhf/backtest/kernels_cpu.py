"""A backtest of many strategies in one pass over their targets: the law, compiled.

Thirty-two strategies run side by side, one in each lane of the vector registers, and the innermost
loops go over lanes. Positions are kept undivided, as a worth: the weight is ``worth *
lane[INVERSE]``, so that a position is read and written once a bar, with all sums that the coming
night needs. Equal to ``run_backtest``'s reference to rounding. Sums may be taken in any order;
nothing else is relaxed: NaN, infinity and ruin mean what they mean in the law.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["COLUMNS", "MarketTable", "fused_backtest"]

Array = npt.NDArray[Any]

LANES = 32
"""Strategies side by side: a whole number of vectors, and few enough for the first cache."""

ROUNDED = 1.0 + 1e-12
"""What exceeds the limit by rounding alone fits: weights are often scaled to just that limit."""

COLUMNS = (
    "equity", "mean", "spread", "downside", "drawdown", "turnover", "paid", "exposure", "hits",
    "exposed", "largest",
)  # fmt: skip
"""What is known of a strategy at the end: last equity; mean, sum of squared deviations and sum of
squared losses of returns; largest drawdown; sums of turnover, costs and exposure; bars with profit
and exposure, and with exposure; largest gross exposure wanted."""

# Rows of the state of strategies side by side. The first seven are sums over the assets of one bar,
# the last eleven are the columns of the result.
(
    TURN, COST, GAIN, NIGHT, GROSS, NET, WANTED,
    INVERSE, OVERNIGHT, UNIT, GROWTH, SPENT, PEAK,
    EQUITY, MEAN, SPREAD, DOWNSIDE, DRAWDOWN, TURNOVER, PAID, EXPOSURE, HITS, EXPOSED, LARGEST,
) = (row * LANES for row in range(24))  # fmt: skip
STATE = 24 * LANES
SUMMED = 7 * LANES
KEPT, OPENED, SHARE = TURN, COST, GAIN

FAST = {"reassoc", "contract", "nsz", "arcp"}
compiled = numba.njit(fastmath=FAST, error_model="numpy", cache=True)
compiled_parallel = numba.njit(fastmath=FAST, error_model="numpy", cache=True, parallel=True)


class MarketTable(NamedTuple):
    """A market and its costs as the passes read them; session s leads to the close of bar s.

    With orders sized at the close, rows 1 to 4 are per worth at the close of s-1, otherwise per
    worth at the fill.

    Attributes:
        assets: ``[T, 8, N]`` 0: whether orders fill (1 or 0). 1: gain from the fill to the close.
            2: worth at the close. 3: mean of the cost rates of buys and sells. 4: half of buys less
            sells. 5 and 6: gain of the coming night per worth, and charge per absolute worth.
            7: price relative overnight.
        lost: ``[T, N]`` what a delisting at s takes of a position.
        sessions: ``[T, 3]`` margin and cash interest of the night before s (fraction), and whether
            an asset is delisted at s (1 or 0).
    """

    assets: Array
    lost: Array
    sessions: Array


@compiled_parallel
def fused_backtest(
    table: MarketTable,
    targets: Array,
    at_fill: bool,
    max_gross: float,
    results: Array,
    equity: Array,
    weights: Array,
    traded: Array,
    nights: Array,
    costs: Array,
) -> None:
    """Run B strategies; what is written may be empty (``B = 0``) and is then left out.

    Args:
        table: market and costs.
        targets: ``[B, T, N]`` weights (fraction of equity), NaN holds.
        at_fill: targets are weights of the equity at the fill, not shares sized at the close.
        max_gross: limit of gross exposure of orders; infinite for none.
        results: written, ``[B, 11]``: ``COLUMNS``.
        equity: written, ``[B, T]``, as all of ``BacktestResult``.
        weights: written, ``[B, T, N]``.
        traded: written, ``[B, T, N]``.
        nights: written, ``[B, T]``: growth of equity from the close to the fill.
        costs: written, ``[B, T]``.
    """
    n_strategies, n_bars, n_assets = targets.shape
    for block in numba.prange((n_strategies + LANES - 1) // LANES):
        first = block * LANES
        many = min(LANES, n_strategies - first)
        lane, worth, after, wants = new_accounts(n_assets)
        bound = False
        for t in range(n_bars - 1):
            pass_night(lane, table.sessions[t + 1])
            gather(targets, first, many, t, lane, wants)
            bound = settle_and_trade(
                table, t + 1, at_fill, max_gross, bound, worth, wants, lane, after
            )
            close(lane, at_fill, 1.0 / (t + 1.0))
            worth, after = after, worth
            if len(equity):
                for j in range(many):
                    equity[first + j, t + 1] = lane[EQUITY + j]
            if len(weights):
                keep(worth, wants, lane, first, many, t, weights, traded, nights, costs)
        for j in range(many):
            for column in range(results.shape[1]):
                results[first + j, column] = lane[EQUITY + column * LANES + j]


@compiled
def new_accounts(n_assets: int) -> tuple[Array, Array, Array, Array]:
    """Accounts in cash: state; worth before and after a session, and wants, ``[N, 32]``."""
    lane, nothing = np.zeros(STATE), np.zeros((n_assets, LANES))
    lane[INVERSE : INVERSE + LANES] = 1.0
    lane[PEAK : PEAK + LANES] = 1.0
    lane[EQUITY : EQUITY + LANES] = 1.0
    return lane, nothing, nothing.copy(), nothing.copy()


@compiled
def pass_night(lane: Array, session: Array) -> None:
    """Growth of equity from the close to the fill: price moves, interest and borrow fees."""
    margin, interest = session[0], session[1]
    for j in range(LANES):
        cash = 1.0 - 0.5 * (lane[GROSS + j] + lane[NET + j]) * lane[INVERSE + j]
        earned = interest * max(cash, 0.0) - margin * max(-cash, 0.0)
        night = 1.0 + lane[NIGHT + j] * lane[INVERSE + j] + earned
        solvent = night > 0.0
        lane[OVERNIGHT + j] = night if solvent else 0.0
        lane[UNIT + j] = 1.0 / night if solvent else 0.0


@compiled
def gather(targets: Array, first: int, many: int, t: int, lane: Array, wants: Array) -> None:
    """Read a bar's targets into lanes; ruined accounts hold."""
    if many == LANES:
        for n in range(targets.shape[2]):
            for j in range(LANES):
                wants[n, j] = targets[first + j, t, n]
    else:
        for n in range(targets.shape[2]):
            for j in range(many):
                wants[n, j] = targets[first + j, t, n]
    for j in range(many):
        if lane[EQUITY + j] == 0.0:
            wants[:, j] = np.nan


@compiled
def settle_and_trade(
    table: MarketTable, session: int, at_fill: bool, max_gross: float, bound: bool, worth: Array,
    wants: Array, lane: Array, after: Array,
) -> bool:  # fmt: skip
    """Trade within the limit; whether it bound decides in which order the next session tries."""
    if bound:
        want(worth, wants, lane)
        bound = settle(worth, wants, lane, max_gross)
        trade(table, session, at_fill, worth, wants, lane, after)
        return bound
    # Trading tells what is wanted, so where everything fits one pass is enough.
    trade(table, session, at_fill, worth, wants, lane, after)
    bound = settle(worth, wants, lane, max_gross)
    if bound:
        trade(table, session, at_fill, worth, wants, lane, after)
    return bound


@compiled
def want(worth: Array, wants: Array, lane: Array) -> None:
    """Gross exposure that is wanted."""
    for j in range(LANES):
        lane[WANTED + j] = 0.0
    for n in range(worth.shape[0]):
        for j in range(LANES):
            wanted, held = wants[n, j], worth[n, j] * lane[INVERSE + j]
            lane[WANTED + j] += abs(held if wanted != wanted else wanted)


@compiled
def trade(
    table: MarketTable, session: int, at_fill: bool, worth: Array, wants: Array, lane: Array,
    after: Array,
) -> None:  # fmt: skip
    """Fill what is wanted and mark to the close, without touching the accounts' worth before."""
    lane[:SUMMED] = 0.0
    if table.sessions[session, 2] > 0.0:
        delist(worth, lane, table.lost[session])
    if at_fill:
        trade_weights(worth, wants, lane, table.assets[session], after)
    else:
        trade_shares(worth, wants, lane, table.assets[session], after)


@compiled
def settle(worth: Array, wants: Array, lane: Array, max_gross: float) -> bool:
    """Scale what opens positions to the room there is, in lanes that wanted too much; if any."""
    over = 0.0
    for j in range(LANES):
        wanted = lane[WANTED + j]
        over += 1.0 if wanted > max_gross * ROUNDED else 0.0
        lane[LARGEST + j] = max(lane[LARGEST + j], wanted)
    if over == 0.0:
        return False
    # The sums of the first attempt are done with; their rows serve.
    for j in range(LANES):
        lane[KEPT + j] = 0.0
        lane[OPENED + j] = 0.0
    for n in range(worth.shape[0]):
        for j in range(LANES):
            held, wanted = worth[n, j] * lane[INVERSE + j], wants[n, j]
            wanted = held if wanted != wanted else wanted
            reduced = min(max(wanted, min(held, 0.0)), max(held, 0.0))
            lane[KEPT + j] += abs(reduced)
            lane[OPENED + j] += abs(wanted - reduced)
    for j in range(LANES):
        kept, opened, wanted = lane[KEPT + j], lane[OPENED + j], lane[WANTED + j]
        share = min(max(max_gross - kept, 0.0) / max(opened, 1e-12), 1.0)
        lane[SHARE + j] = share if wanted > max_gross * ROUNDED else 1.0
    for n in range(worth.shape[0]):
        for j in range(LANES):
            held, wanted, share = worth[n, j] * lane[INVERSE + j], wants[n, j], lane[SHARE + j]
            reduced = min(max(wanted, min(held, 0.0)), max(held, 0.0))
            settled = reduced + (wanted - reduced) * share
            # NaN stays NaN and holds; what fits is not touched by rounding.
            wants[n, j] = settled if share < 1.0 else wanted
    return True


@compiled
def delist(worth: Array, lane: Array, lost: Array) -> None:
    """Charge what delistings take of positions; the worth itself ends with the session."""
    for n in range(worth.shape[0]):
        if lost[n] > 0.0:
            for j in range(LANES):
                lane[COST + j] += abs(worth[n, j]) * lane[INVERSE + j] * lost[n]


@compiled
def trade_shares(worth: Array, wants: Array, lane: Array, assets: Array, after: Array) -> None:
    """Fill orders sized at the close and mark to the next close."""
    for n in range(worth.shape[0]):
        fills, gain, kept = assets[0, n], assets[1, n], assets[2, n]
        rate, skew = assets[3, n], assets[4, n]
        night, charge = assets[5, n], assets[6, n]
        for j in range(LANES):
            wanted, held = wants[n, j], worth[n, j] * lane[INVERSE + j]
            change = 0.0 if wanted != wanted else wanted - held
            position = held + fills * change
            left = position * kept
            after[n, j] = left
            lane[WANTED + j] += abs(held + change)
            lane[TURN + j] += abs(change)
            lane[COST + j] += rate * abs(change) + skew * change
            lane[GAIN + j] += position * gain
            lane[NIGHT + j] += left * night - abs(left) * charge
            lane[GROSS + j] += abs(left)
            lane[NET + j] += left


@compiled
def trade_weights(worth: Array, wants: Array, lane: Array, assets: Array, after: Array) -> None:
    """Reach weights of the equity at the fill and mark to the next close."""
    for j in range(LANES):
        lane[COST + j] *= lane[UNIT + j]
    for n in range(worth.shape[0]):
        fills, gain, kept = assets[0, n], assets[1, n], assets[2, n]
        rate, skew = assets[3, n], assets[4, n]
        night, charge, opens = assets[5, n], assets[6, n], assets[7, n]
        for j in range(LANES):
            wanted, held, unit = wants[n, j], worth[n, j] * lane[INVERSE + j], lane[UNIT + j]
            at_fill = held * opens * unit
            change = 0.0 if wanted != wanted else wanted - held
            filled = 0.0 if wanted != wanted else wanted - at_fill
            filled = fills * filled if unit > 0.0 else 0.0
            position = at_fill + filled
            left = position * kept
            after[n, j] = left
            lane[WANTED + j] += abs(held + change)
            lane[TURN + j] += abs(change)
            lane[COST + j] += rate * abs(filled) + skew * filled
            lane[GAIN + j] += position * gain
            lane[NIGHT + j] += left * night - abs(left) * charge
            lane[GROSS + j] += abs(left)
            lane[NET + j] += left


@compiled
def close(lane: Array, at_fill: bool, share: float) -> None:
    """Close the books of a session: equity and everything that is measured."""
    for j in range(LANES):
        night, inverse, equity = lane[OVERNIGHT + j], lane[UNIT + j], lane[EQUITY + j]
        # Costs and gain are per equity at the close before, or already at the fill.
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
        lane[TURNOVER + j] += lane[TURN + j]
        lane[SPENT + j] = cost
        lane[PAID + j] += cost
        lane[EXPOSURE + j] += gross
        lane[EXPOSED + j] += exposed
        lane[HITS + j] += exposed if back > 0.0 else 0.0


@compiled
def keep(
    worth: Array, wants: Array, lane: Array, first: int, many: int, t: int,
    weights: Array, traded: Array, nights: Array, costs: Array,
) -> None:  # fmt: skip
    """Write what the session did."""
    for j in range(many):
        b = first + j
        nights[b, t + 1] = lane[OVERNIGHT + j]
        costs[b, t + 1] = lane[SPENT + j]
        for n in range(worth.shape[0]):
            wanted = wants[n, j]
            traded[b, t, n] = 0.0 if wanted != wanted else wanted - weights[b, t, n]
            weights[b, t + 1, n] = worth[n, j] * lane[INVERSE + j]
