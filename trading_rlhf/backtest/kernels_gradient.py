"""The backtest's growth and its derivative, compiled: one pass forward, one pass back in time.

Strategies run side by side as in ``kernels_cpu``, whose passes run forward here too. Where the law
has a kink the derivative is the one torch takes: none for an order of size zero, both sides of
``clamp`` at its limit.
"""

import numba
import numpy as np

from trading_rlhf.backtest.kernels_cpu import (
    EXPOSURE,
    GROWTH,
    HITS,
    INVERSE,
    LANES,
    PAID,
    ROUNDED,
    TURNOVER,
    WANTED,
    Array,
    MarketTable,
    close,
    compiled,
    compiled_parallel,
    gather,
    new_accounts,
    pass_night,
    settle,
    settle_and_trade,
)  # fmt: skip

__all__ = ["backward_pass", "forward_pass"]

# Rows of the state that the way back uses for its own; the passes of the way there, which read
# targets and settle them, leave these alone.
SLOPE, PULL, CASH, SHRINK = PAID, EXPOSURE, HITS, TURNOVER

BARS = 8
"""Bars of slopes that are written at once."""


@compiled_parallel
def forward_pass(
    table: MarketTable, targets: Array, max_gross: float, growth: Array, held: Array
) -> None:
    """Growth of B strategies with orders sized at the close.

    Args:
        table: market and costs.
        targets: ``[B, T, N]`` weights (fraction of equity), NaN holds.
        max_gross: limit of gross exposure of orders.
        growth: written, ``[T-1, blocks * 32]``; 0 in the session of ruin, 1 after it.
        held: written, ``[blocks, T, N, 32]`` weights at the closes.
    """
    n_strategies, n_bars, n_assets = targets.shape
    for block in numba.prange(held.shape[0]):
        first = block * LANES
        many = min(LANES, n_strategies - first)
        lane, worth, after, wants = new_accounts(n_assets)
        bound = False
        for t in range(n_bars - 1):
            pass_night(lane, table.sessions[t + 1])
            gather(targets, first, many, t, lane, wants)
            bound = settle_and_trade(
                table, t + 1, False, max_gross, bound, worth, wants, lane, after
            )
            close(lane, False, 1.0)
            worth, after = after, worth
            weigh(worth, lane, held[block, t + 1], growth[t, first : first + LANES])


@compiled
def weigh(worth: Array, lane: Array, held: Array, growth: Array) -> None:
    """Write the weights of positions, and the growth that led to them."""
    for j in range(LANES):
        growth[j] = lane[GROWTH + j]
    for n in range(worth.shape[0]):
        for j in range(LANES):
            held[n, j] = worth[n, j] * lane[INVERSE + j]


@compiled_parallel
def backward_pass(
    table: MarketTable, targets: Array, max_gross: float, held: Array, slopes: Array,
    shrinks: Array, gradient: Array,
) -> None:  # fmt: skip
    """Derivative of a sum over slope times growth by the targets.

    Args:
        table: as forward.
        targets: as forward.
        max_gross: as forward.
        held: as written forward.
        slopes: ``[T-1, blocks * 32]`` derivative by growth; 0 from ruin on.
        shrinks: ``[T-1, blocks * 32]`` one over growth; 0 from ruin on.
        gradient: written, ``[B, T, N]``; the last bar's is left alone.
    """
    n_strategies, n_bars, n_assets = targets.shape
    for block in numba.prange(held.shape[0]):
        first = block * LANES
        many = min(LANES, n_strategies - first)
        lane, _, pull, wants = new_accounts(n_assets)
        orders = np.zeros((BARS, n_assets, LANES))
        for t in range(n_bars - 2, -1, -1):
            order = orders[t % BARS]
            gather(targets, first, many, t, lane, wants)
            for j in range(LANES):
                lane[SLOPE + j] = slopes[t, first + j]
                lane[SHRINK + j] = shrinks[t, first + j]
            before = held[block, t]
            look_back(before, held[block, t + 1], wants, pull, lane, table.sessions[t + 1])
            bound = settle(before, wants, lane, max_gross)
            undo_session(table, t, before, wants, pull, order, lane)
            if bound:
                gather(targets, first, many, t, lane, wants)
                undo_settlement(before, wants, pull, order, lane, max_gross)
            undo_change(wants, pull, order, lane)
            if t % BARS == 0:
                scatter(orders[: min(BARS, n_bars - 1 - t)], gradient, first, many, t)


@compiled
def scatter(orders: Array, gradient: Array, first: int, many: int, t: int) -> None:
    """Write the slopes of some bars; row by row, because jumping between rows misses the cache."""
    for j in range(many):
        for bar in range(orders.shape[0]):
            for n in range(orders.shape[1]):
                gradient[first + j, t + bar, n] = orders[bar, n, j]


@compiled
def look_back(
    held: Array, after: Array, wants: Array, pull: Array, lane: Array, session: Array
) -> None:
    """Slope of growth itself: what it earns, less what it takes from the weights after it."""
    margin, interest = session[0], session[1]
    for j in range(LANES):
        lane[PULL + j] = 0.0
        lane[CASH + j] = 1.0
        lane[WANTED + j] = 0.0
    for n in range(held.shape[0]):
        for j in range(LANES):
            has, wanted = held[n, j], wants[n, j]
            lane[PULL + j] += pull[n, j] * after[n, j]
            lane[CASH + j] -= max(has, 0.0)
            lane[WANTED + j] += abs(has if wanted != wanted else wanted)
    for j in range(LANES):
        cash = lane[CASH + j]
        earned = interest if cash >= 0.0 else 0.0
        lane[CASH + j] = earned + (margin if cash <= 0.0 else 0.0)
        lane[SLOPE + j] -= lane[PULL + j] * lane[SHRINK + j]


@compiled
def undo_session(
    table: MarketTable, t: int, held: Array, wants: Array, pull: Array, order: Array, lane: Array
) -> None:
    """From slopes by weights after the session to slopes by weights before it and by orders."""
    assets, lost = table.assets[t + 1], table.lost[t + 1]
    for n in range(held.shape[0]):
        fills, gain, kept = assets[0, n], assets[1, n], assets[2, n]
        buying, selling = assets[3, n] + assets[4, n], assets[4, n] - assets[3, n]
        # What the coming night means for a long and a short position, and for the first of a short.
        night, charge, loss = table.assets[t, 5, n], table.assets[t, 6, n], lost[n]
        if_long, if_short, if_none = night - charge - loss, night + charge + loss, night + charge
        for j in range(LANES):
            has, wanted, slope = held[n, j], wants[n, j], lane[SLOPE + j]
            change = 0.0 if wanted != wanted else wanted - has
            position = slope * gain + pull[n, j] * kept * lane[SHRINK + j]
            paid = (buying if change > 0.0 else 0.0) + (selling if change < 0.0 else 0.0)
            order[n, j] = fills * position - slope * paid
            accrued = if_short if has < 0.0 else if_none
            accrued = if_long if has > 0.0 else accrued
            accrued -= lane[CASH + j] if has >= 0.0 else 0.0
            pull[n, j] = position + slope * accrued


@compiled
def undo_settlement(
    held: Array, asked: Array, pull: Array, order: Array, lane: Array, max_gross: float
) -> None:
    """From slopes by settled orders to slopes by wanted ones, in lanes that wanted too much."""
    kept, opened, scaled = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    for n in range(held.shape[0]):
        for j in range(LANES):
            has, wanted = held[n, j], asked[n, j]
            wanted = has if wanted != wanted else wanted
            reduced = min(max(wanted, min(has, 0.0)), max(has, 0.0))
            kept[j] += abs(reduced)
            opened[j] += abs(wanted - reduced)
            scaled[j] += order[n, j] * (wanted - reduced)
    for j in range(LANES):
        if lane[WANTED + j] > max_gross * ROUNDED:
            settle_back(
                held, asked, pull, order, j, max_gross - kept[j], max(opened[j], 1e-12), scaled[j]
            )


@compiled
def settle_back(
    held: Array, asked: Array, pull: Array, order: Array, j: int, room: float, opened: float,
    scaled: float,
) -> None:  # fmt: skip
    """One lane of ``undo_settlement``; ``scaled`` is the slope by the share that settles."""
    share = min(max(room, 0.0) / opened, 1.0)
    by_room = scaled / opened if room >= 0.0 else 0.0
    by_opened = -scaled * share / opened if opened > 1e-12 else 0.0
    for n in range(held.shape[0]):
        has, wanted = held[n, j], asked[n, j]
        wanted = has if wanted != wanted else wanted
        change = wanted - has
        reduced = min(max(wanted, min(has, 0.0)), max(has, 0.0))
        settled = order[n, j]
        by_reduced = settled - by_room * np.sign(reduced)
        by_open = settled * share + by_opened * np.sign(wanted - reduced)
        pull[n, j] += by_reduced - settled
        # Which of the change and the position limits what is closed; in a tie, half of each.
        limits = 0.5 + 0.5 * np.sign(abs(has) - abs(change)) if change * has < 0.0 else 2.0
        closed = by_reduced - by_open if limits < 2.0 else 0.0
        order[n, j] = by_open + closed * min(limits, 1.0)
        pull[n, j] -= closed * (1.0 - min(limits, 1.0))


@compiled
def undo_change(asked: Array, pull: Array, order: Array, lane: Array) -> None:
    """From slopes by orders to slopes by targets; holds and the ruined have none."""
    for n in range(asked.shape[0]):
        for j in range(LANES):
            wanted, live = asked[n, j], lane[SHRINK + j] > 0.0
            slope = 0.0 if wanted != wanted else order[n, j]
            order[n, j] = slope if live else 0.0
            rest = pull[n, j] - slope
            pull[n, j] = rest if live else 0.0
