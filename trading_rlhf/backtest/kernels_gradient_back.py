"""The derivative of the growth of strategies, compiled: the way back in time.

A chunk of bars at a time, the weights held are found again from those at its first close, and the
slopes go back through them. Where the law has a kink the derivative is the one torch takes: none
for an order of size zero, both sides of ``clamp`` at its limit.
"""

import numba
import numpy as np
from numba.np.ufunc.parallel import get_thread_id

from trading_rlhf.backtest.kernels_accounts import (
    Array,
    columns,
    compiled_parallel,
    inlined,
    merged,
    rows,
    uncounted,
)
from trading_rlhf.backtest.kernels_cpu import MarketTable
from trading_rlhf.backtest.kernels_gradient import EARNED, start_accounts
from trading_rlhf.backtest.kernels_orders import UNBOUND, reduced, settled
from trading_rlhf.backtest.vectors import (
    LANES,
    Eight,
    above,
    any_above,
    at_least,
    fetch_to_read,
    if_nan,
    load,
    size,
    spread,
    store,
    stream_rows,
)

__all__ = ["backward_pass"]

# Rows of ``slope_rates``: whether orders fill; gain to the close and worth there, per position;
# what a buy and a sale pay; what the night means for long, short and no position.
FILLS, GAIN, WORTH, BUY, SELL, LONG, SHORT, NONE = range(8)


@compiled_parallel
def backward_pass(
    table: MarketTable, targets: Array, sizes: tuple[int, int, int, int], max_gross: float,
    growth: Array, shares: Array, rates: Array, slopes: Array, starts: Array, workspace: Array,
    gradient: Array,
) -> None:  # fmt: skip
    """Derivative of a sum over slope times growth by the targets.

    Args:
        table: as forward.
        targets: as forward.
        sizes: as forward.
        max_gross: as forward.
        growth: as written forward.
        shares: as written forward.
        rates: as written forward.
        slopes: ``[B * (T-1)]`` derivative by growth; what it is from ruin on does not matter.
        starts: as written forward.
        workspace: ``new_workspace``.
        gradient: written, ``[B * T * N]``; 0 from the close before ruin on, and at the last.
    """
    n_strategies, n_bars, n_assets, chunk = sizes
    last = n_bars - 1
    streams = gradient.ctypes.data % (8 * LANES) == 0 and n_bars * n_assets % LANES == 0
    assets, by_asset = table.assets, slope_rates(table.assets, table.lost)
    for block in numba.prange(len(starts)):
        room = workspace[get_thread_id()]  # type: ignore[no-untyped-call]
        wants, pulls, state, notes, held, ends = (
            room[0],
            room[1],
            room[2],
            room[3],
            room[4],
            room[5],
        )
        first, many = block * LANES, min(LANES, n_strategies - block * LANES)
        start_accounts(pulls, state, n_assets)
        find_ends(growth, first, many, last, ends)
        for piece in range(starts.shape[1] - 1, -1, -1):
            start = piece * chunk
            bars = min(chunk, last - start)
            at = (first * n_bars + start) * n_assets
            columns(targets, at, n_bars * n_assets, many, bars * n_assets, wants, 0)
            take_notes(
                growth, shares, rates, slopes, first * last + start, last, many, bars, notes,
                chunk, load(ends, 0) - spread(float(start)),
            )  # fmt: skip
            held[: n_assets * LANES] = starts[block, piece]
            for bar in range(bars - 1):
                redo_session(assets, start + bar + 1, wants, held, bar, notes, chunk)
            for bar in range(bars - 1, -1, -1):
                before = at - (chunk - bar) * n_assets
                for j in range(many):
                    for n in range(0, n_assets, LANES):
                        fetch_to_read(targets, before + j * n_bars * n_assets + n)
                undo_session(
                    by_asset, start + bar, wants, held, bar, notes, chunk, max_gross, pulls,
                    state,
                )  # fmt: skip
            write(wants, gradient, at, n_bars * n_assets, many, bars * n_assets, streams)
        for b in range(first, first + many):
            gradient[(b * n_bars + last) * n_assets : (b + 1) * n_bars * n_assets] = 0.0


@compiled_parallel
def slope_rates(assets: Array, lost: Array) -> Array:
    """What a session and the night before it mean for each asset's slopes, ``[T-1, 8, N]``."""
    n_bars, _, n_assets = assets.shape
    rates = np.empty((n_bars - 1, 8, n_assets))
    for t in numba.prange(n_bars - 1):
        for n in range(n_assets):
            half, skew = assets[t + 1, 3, n], assets[t + 1, 4, n]
            night, charge, loss = assets[t, 5, n], assets[t, 6, n], lost[t + 1, n]
            rates[t, FILLS, n] = assets[t + 1, 0, n]
            rates[t, GAIN, n] = assets[t + 1, 1, n]
            rates[t, WORTH, n] = assets[t + 1, 2, n]
            rates[t, BUY, n] = skew + half
            rates[t, SELL, n] = skew - half
            rates[t, LONG, n] = night - charge - loss
            rates[t, SHORT, n] = night + charge + loss
            # The first of a short pays its fee; nothing is lost of it.
            rates[t, NONE, n] = night + charge
    return rates


@uncounted
def write(
    tile: Array, goal: Array, at: int, stride: int, many: int, length: int, streams: bool
) -> None:
    """Write lanes into rows of some strategies, past the caches where rows lie on their lines."""
    whole = length // LANES * LANES if streams and many == LANES and at % LANES == 0 else 0
    for k in range(0, whole, LANES):
        stream_rows(tile, k * LANES, goal, at + k, stride)
    rows(tile, whole * LANES, goal, at + whole, stride, many, length - whole)


@uncounted
def find_ends(growth: Array, first: int, many: int, last: int, ends: Array) -> None:
    """The close before the session of ruin, or the last, by lane."""
    for j in range(LANES):
        ends[j] = last
    for j in range(many):
        for t in range(last):
            if growth[(first + j) * last + t] <= 0.0:
                ends[j] = t
                break


@uncounted
def take_notes(
    growth: Array, shares: Array, rates: Array, slopes: Array, at: int, last: int, many: int,
    bars: int, notes: Array, chunk: int, left: Eight,
) -> None:  # fmt: skip
    """A chunk's figures by lane; slopes and one over growth are 0 from ruin on."""
    columns(growth, at, last, many, bars, notes, 0)
    columns(shares, at, last, many, bars, notes, chunk * LANES)
    columns(rates, at, last, many, bars, notes, 2 * chunk * LANES)
    columns(slopes, at, last, many, bars, notes, 3 * chunk * LANES)
    zero, one = spread(0.0), spread(1.0)
    for bar in range(bars):
        now, slope = spread(float(bar)), (3 * chunk + bar) * LANES
        store(notes, bar * LANES, above(left, now, one / load(notes, bar * LANES), zero))
        store(notes, slope, above(left, now, load(notes, slope), zero))


@merged
def redo_session(
    assets: Array, session: int, wants: Array, held: Array, bar: int, notes: Array, chunk: int
) -> None:
    """Weights at the next close, from those at this one."""
    n_assets = assets.shape[2]
    shrink, share = load(notes, bar * LANES), load(notes, (chunk + bar) * LANES)
    bound = any_above(spread(UNBOUND), share)
    for n in range(n_assets):
        at = (bar * n_assets + n) * LANES
        want, has = load(wants, at), load(held, at)
        if bound:
            want = settled(want, has, share)
        change = if_nan(want, spread(0.0), want - has)
        left = (has + spread(assets[session, 0, n]) * change) * spread(assets[session, 2, n])
        store(held, at + n_assets * LANES, left * shrink)


@merged
def undo_session(
    rates: Array, t: int, wants: Array, held: Array, bar: int, notes: Array, chunk: int,
    max_gross: float, pulls: Array, state: Array,
) -> None:  # fmt: skip
    """From slopes by weights after the session to slopes by weights before it and by targets.

    The latter take the place of the targets.
    """
    n_assets = rates.shape[2]
    at, zero = bar * n_assets * LANES, spread(0.0)
    shrink, share = load(notes, bar * LANES), load(notes, (chunk + bar) * LANES)
    rate, slope = load(notes, (2 * chunk + bar) * LANES), load(notes, (3 * chunk + bar) * LANES)
    # What growth itself earns, less what it takes from the weights after it.
    slope = slope - load(state, EARNED) * shrink
    if any_above(spread(UNBOUND), share):
        earned = undo_bound(rates, t, wants, held, at, slope, shrink, rate, share, max_gross, pulls)
    else:
        earned = undo_free(rates, t, wants, held, at, slope, shrink, rate, pulls)
    store(state, EARNED, above(shrink, zero, earned, zero))
    if any_above(spread(1e-300), shrink):
        # Ruined lanes have no slopes, whatever is held in them.
        for i in range(0, n_assets * LANES, LANES):
            store(pulls, i, above(shrink, zero, load(pulls, i), zero))
            store(wants, at + i, above(shrink, zero, load(wants, at + i), zero))


@inlined
def slopes_of(
    rates: Array, t: int, n: int, change: Eight, has: Eight, pull: Eight, slope: Eight,
    shrink: Eight, rate: Eight,
) -> tuple[Eight, Eight]:  # fmt: skip
    """Slopes by an order that fills what it can, and by the weight held through it."""
    zero = spread(0.0)
    position = slope * spread(rates[t, GAIN, n]) + pull * (spread(rates[t, WORTH, n]) * shrink)
    selling = above(zero, change, spread(rates[t, SELL, n]), zero)
    paid = above(change, zero, spread(rates[t, BUY, n]), selling)
    order = spread(rates[t, FILLS, n]) * position - slope * paid
    accrued = above(zero, has, spread(rates[t, SHORT, n]), spread(rates[t, NONE, n]))
    accrued = above(has, zero, spread(rates[t, LONG, n]), accrued)
    accrued = accrued - at_least(has, zero, rate, zero)
    return order, position + slope * accrued


@merged
def undo_free(
    rates: Array, t: int, wants: Array, held: Array, at: int, slope: Eight,
    shrink: Eight, rate: Eight, pulls: Array,
) -> Eight:  # fmt: skip
    """A session in which everything fits; returns the slope by the growth that leads to it."""
    zero = spread(0.0)
    earned = zero
    for n in range(rates.shape[2]):
        want, has = load(wants, at + n * LANES), load(held, at + n * LANES)
        change, pull = if_nan(want, zero, want - has), load(pulls, n * LANES)
        order, pull = slopes_of(rates, t, n, change, has, pull, slope, shrink, rate)
        order = if_nan(want, zero, order)
        pull = pull - order
        store(wants, at + n * LANES, order)
        store(pulls, n * LANES, pull)
        earned = earned + pull * has
    return earned


@uncounted
def undo_bound(
    rates: Array, t: int, wants: Array, held: Array, at: int, slope: Eight,
    shrink: Eight, rate: Eight, share: Eight, max_gross: float, pulls: Array,
) -> Eight:  # fmt: skip
    """A session in which the limit binds in some lanes."""
    n_assets, zero, one, tiny = rates.shape[2], spread(0.0), spread(1.0), spread(1e-12)
    kept, opened, scaled = zero, zero, zero
    # The weights after this session are done with; slopes by settled orders take their place.
    orders = at + n_assets * LANES
    for n in range(n_assets):
        asked, has = load(wants, at + n * LANES), load(held, at + n * LANES)
        change, pull = settled(asked, has, share) - has, load(pulls, n * LANES)
        change = if_nan(asked, zero, change)
        order, pull = slopes_of(rates, t, n, change, has, pull, slope, shrink, rate)
        store(pulls, n * LANES, pull)
        store(held, orders + n * LANES, order)
        want = if_nan(asked, has, asked)
        closed = reduced(want, has)
        kept = kept + size(closed)
        opened = opened + size(want - closed)
        scaled = scaled + order * (want - closed)
    binds, opens = above(share, one, zero, one), above(opened, tiny, opened, tiny)
    share = above(share, one, one, share)
    by_room = above(kept, spread(max_gross), zero, scaled / opens) * binds
    by_opened = above(opened, tiny, scaled * share / opens, zero) * binds
    return undo_settlement(wants, held, at, orders, n_assets, pulls, share, by_room, by_opened)


@inlined
def sign(x: Eight) -> Eight:
    """Signs; 0 of 0."""
    zero = spread(0.0)
    return above(x, zero, spread(1.0), above(zero, x, spread(-1.0), zero))


@uncounted
def undo_settlement(
    wants: Array, held: Array, at: int, orders: int, n_assets: int, pulls: Array, share: Eight,
    by_room: Eight, by_opened: Eight,
) -> Eight:  # fmt: skip
    """From slopes by settled orders to slopes by wanted ones; the same where the limit is free."""
    zero, half = spread(0.0), spread(0.5)
    earned = zero
    for n in range(n_assets):
        asked, has = load(wants, at + n * LANES), load(held, at + n * LANES)
        by_settled = load(held, orders + n * LANES)
        want = if_nan(asked, has, asked)
        change, kept = want - has, reduced(want, has)
        by_kept = by_settled - by_room * sign(kept)
        by_open = by_settled * share - by_opened * sign(want - kept)
        # Which of the change and the position limits what is closed; in a tie, half of each.
        by_change = half + half * sign(size(has) - size(change))
        closed = above(zero, change * has, by_kept - by_open, zero)
        order = if_nan(asked, zero, by_open + closed * by_change)
        pull = load(pulls, n * LANES) + by_kept - by_settled
        pull = pull - closed * (spread(1.0) - by_change) - order
        store(wants, at + n * LANES, order)
        store(pulls, n * LANES, pull)
        earned = earned + pull * has
    return earned
