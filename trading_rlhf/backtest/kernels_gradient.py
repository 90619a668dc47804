"""The growth of strategies, compiled for a derivative: the way forward.

Eight strategies run side by side, one in each lane of a register, so that nothing is summed across
lanes and any number of assets fits. Only growth is kept, with the weights held every few bars: the
way back (``kernels_gradient_back``) finds the weights between again while they are in the cache,
which takes less time than to write and to read them.
"""

import numba
from numba.np.ufunc.parallel import get_thread_id

from trading_rlhf.backtest.kernels_accounts import (
    Array,
    columns,
    compiled_parallel,
    lines,
    merged,
    rows,
    uncounted,
)
from trading_rlhf.backtest.kernels_cpu import MarketTable
from trading_rlhf.backtest.kernels_orders import ROUNDED, UNBOUND, delisted, hold, settle
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
)

__all__ = ["EARNED", "forward_pass", "new_workspace", "start_accounts"]

# Rows of the state of strategies side by side: one over worth; gain of the coming night and worth
# of longs, per worth; whether solvent (1 or 0). On the way back: slope by the growth to come.
INVERSE, COMING, LONG, ALIVE, EARNED = (row * LANES for row in range(5))
STATE = 5 * LANES


def new_workspace(n_assets: int, chunk: int) -> Array:
    """Room for each thread: ``[threads, 6, numbers]``, on lines of the cache."""
    numbers = max((chunk + 1) * (n_assets + 8), 4 * (chunk + 8)) * LANES
    return lines(numba.get_num_threads() * 6 * numbers).reshape(-1, 6, numbers)


@compiled_parallel
def forward_pass(
    table: MarketTable, targets: Array, sizes: tuple[int, int, int, int], max_gross: float,
    growth: Array, shares: Array, rates: Array, starts: Array, workspace: Array,
) -> None:  # fmt: skip
    """Growth of B strategies with orders sized at the close.

    Args:
        table: market and costs.
        targets: ``[B * T * N]`` weights (fraction of equity), NaN holds.
        sizes: B, T, N, and the bars from one of ``starts`` to the next.
        max_gross: limit of gross exposure of orders; infinite for none.
        growth: written, ``[B * (T-1)]``; 0 in the session of ruin, 1 after it.
        shares: written, as growth: share of openings that settled, or ``UNBOUND``.
        rates: written, as growth: derivative of the night's interest by cash.
        starts: written, ``[blocks, chunks, N * 8]``: weights at the first close of each chunk.
        workspace: ``new_workspace``.
    """
    n_strategies, n_bars, n_assets, chunk = sizes
    last = n_bars - 1
    # Taking an array out of a tuple counts a reference, which every thread would do in every bar.
    assets, lost, sessions = table.assets, table.lost, table.sessions
    for block in numba.prange(len(starts)):
        room = workspace[get_thread_id()]  # type: ignore[no-untyped-call]
        wants, worth, state, notes = room[0], room[1], room[2], room[3]
        first, many = block * LANES, min(LANES, n_strategies - block * LANES)
        start_accounts(worth, state, 2 * n_assets)
        bound = False
        for start in range(0, last, chunk):
            bars = min(chunk, last - start)
            at = (first * n_bars + start) * n_assets
            columns(targets, at, n_bars * n_assets, many, bars * n_assets, wants, 0)
            old = start % 2 * n_assets * LANES
            inverse = load(state, INVERSE)
            for i in range(0, n_assets * LANES, LANES):
                store(starts[block, start // chunk], i, load(worth, old + i) * inverse)
            for bar in range(bars):
                following = at + (chunk + bar) * n_assets
                for j in range(many):
                    for n in range(0, n_assets, LANES):
                        fetch_to_read(targets, following + j * n_bars * n_assets + n)
                bound = pass_session(
                    assets, lost, sessions, start + bar + 1, max_gross, bound, wants,
                    bar * n_assets * LANES, worth, state, notes, bar, chunk,
                )  # fmt: skip
            at = first * last + start
            rows(notes, 0, growth, at, last, many, bars)
            rows(notes, chunk * LANES, shares, at, last, many, bars)
            rows(notes, 2 * chunk * LANES, rates, at, last, many, bars)


@uncounted
def start_accounts(worth: Array, state: Array, n_rows: int) -> None:
    """Accounts in cash."""
    worth[: n_rows * LANES] = 0.0
    state[:STATE] = 0.0
    store(state, INVERSE, spread(1.0))
    store(state, ALIVE, spread(1.0))


@merged
def pass_session(
    assets: Array, lost: Array, sessions: Array, session: int, max_gross: float, bound: bool,
    wants: Array, at: int, worth: Array, state: Array, notes: Array, bar: int, chunk: int,
) -> bool:  # fmt: skip
    """From one close to the next; returns whether the limit bound in any lane."""
    n_assets, zero, one = assets.shape[2], spread(0.0), spread(1.0)
    margin, interest = spread(sessions[session, 0]), spread(sessions[session, 1])
    inverse, alive = load(state, INVERSE), load(state, ALIVE)
    cash = one - load(state, LONG) * inverse
    night = one + load(state, COMING) * inverse + above(cash, zero, interest, margin) * cash
    if any_above(one, alive):
        hold(wants, at, n_assets, alive)
    old = (session - 1) % 2 * n_assets * LANES
    gone = zero
    if sessions[session, 2] > 0.0:
        gone = delisted(lost, session, worth, old, inverse)
    share, spent = spread(UNBOUND), gone
    # Trading tells what is wanted, so where everything fits one pass is enough.
    if not bound:
        spent, wanted = trade(assets, session, wants, at, worth, old, inverse, state, gone)
        bound = any_above(wanted, spread(max_gross * ROUNDED))
    if bound:
        share, _ = settle(wants, at, worth, old, n_assets, inverse, max_gross)
        bound = any_above(spread(UNBOUND), share)
        spent, wanted = trade(assets, session, wants, at, worth, old, inverse, state, gone)
    total = above(night, zero, night - spent, zero)
    solvent = above(total, zero, alive, zero)
    store(state, INVERSE, above(solvent, zero, one / total, zero))
    store(state, ALIVE, solvent)
    store(notes, bar * LANES, above(solvent, zero, total, one - alive))
    store(notes, (chunk + bar) * LANES, share)
    rate = at_least(cash, zero, interest, zero) + at_least(zero, cash, margin, zero)
    store(notes, (2 * chunk + bar) * LANES, rate)
    return bound


@merged
def trade(
    assets: Array, session: int, wants: Array, at: int, worth: Array, old: int, inverse: Eight,
    state: Array, gone: Eight,
) -> tuple[Eight, Eight]:  # fmt: skip
    """Fill and mark to the close; returns costs less gains, and the gross exposure wanted."""
    n_assets, zero = assets.shape[2], spread(0.0)
    new = n_assets * LANES - old
    spent, coming, long, gross = gone, zero, zero, zero
    for n in range(n_assets):
        want, has = load(wants, at + n * LANES), load(worth, old + n * LANES) * inverse
        change = if_nan(want, zero, want - has)
        position = has + spread(assets[session, 0, n]) * change
        left = position * spread(assets[session, 2, n])
        store(worth, new + n * LANES, left)
        gross = gross + size(has + change)
        paid = spread(assets[session, 3, n]) * size(change) + spread(assets[session, 4, n]) * change
        spent = spent + (paid - position * spread(assets[session, 1, n]))
        charge = size(left) * spread(assets[session, 6, n])
        coming = coming + (left * spread(assets[session, 5, n]) - charge)
        long = long + above(left, zero, left, zero)
    store(state, COMING, coming)
    store(state, LONG, long)
    return spent, gross
