"""A backtest of many strategies in one pass over their targets: the law, compiled.

Eight strategies run side by side, one in each lane of a register (``backtest.vectors``), so that
nothing is summed across lanes and any number of assets fits. Targets are turned into lanes a few
bars at a time, while the next are on their way from memory. Positions are kept undivided, as a
worth: the weight is worth over equity, so that a position is read and written once a bar, with all
sums that the coming night needs. Equal to ``run_backtest``'s reference to rounding. Sums may be
taken in any order; nothing else is relaxed: NaN, infinity and ruin mean what they mean in the law.
"""

from typing import NamedTuple

import numba

from trading_rlhf.backtest.kernels_accounts import (
    EQUITY,
    INVERSE,
    LARGEST,
    OVERNIGHT,
    SPENT,
    Array,
    close,
    columns,
    compiled_parallel,
    lines,
    merged,
    new_accounts,
    pass_night,
    rows,
    uncounted,
)
from trading_rlhf.backtest.kernels_fill import fill
from trading_rlhf.backtest.kernels_orders import ROUNDED, UNBOUND, hold, settle
from trading_rlhf.backtest.vectors import (
    LANES,
    Eight,
    above,
    any_above,
    fetch_to_read,
    if_nan,
    load,
    spread,
    store,
)

__all__ = ["COLUMNS", "MarketTable", "fused_backtest", "trade_own"]

CHUNK = 8
"""Bars whose targets are turned into lanes at once: few enough for the first cache."""
TILE = 256
"""Numbers of one strategy that may be turned at once, where a bar is not more."""
AHEAD = 32
"""Bars by which targets are sent for early; a processor does not foresee so many rows at once."""

COLUMNS = (
    "equity", "mean", "spread", "downside", "drawdown", "turnover", "paid", "exposure", "hits",
    "exposed", "largest",
)  # fmt: skip
"""What is known of a strategy at the end: last equity; mean, sum of squared deviations and sum of
squared losses of returns; largest drawdown; sums of fills, costs and exposure; bars with profit
and exposure, and with exposure; largest gross exposure wanted."""


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
        targets: ``[B, T, N]`` weights (fraction of equity) in C order, NaN holds.
        at_fill: targets are weights of the equity at the fill, not shares sized at the close.
        max_gross: limit of gross exposure of orders; infinite for none.
        results: written, ``[B, 11]``: ``COLUMNS``.
        equity: written, ``[B, T]``, as all of ``BacktestResult``.
        weights: written, ``[B, T, N]``.
        traded: written, ``[B, T, N]``.
        nights: written, ``[B, T]``: growth of equity from the close to the fill.
        costs: written, ``[B, T]``.
    """
    n_strategies, _, n_assets = targets.shape
    chunk = max(min(CHUNK, TILE // n_assets), 1)
    for block in numba.prange((n_strategies + LANES - 1) // LANES):
        first = block * LANES
        many = min(LANES, n_strategies - first)
        state, worth = new_accounts(n_assets)
        run_block(
            table.assets, table.lost, table.sessions, targets, first, many, at_fill, max_gross,
            chunk, state, worth, lines((chunk * n_assets + LANES) * LANES), equity, weights, traded,
            nights, costs,
        )  # fmt: skip
        for j in range(many):
            for column in range(results.shape[1]):
                results[first + j, column] = state[EQUITY + column * LANES + j]


@uncounted
def run_block(
    assets: Array, lost: Array, sessions: Array, targets: Array, first: int, many: int,
    at_fill: bool, max_gross: float, chunk: int, state: Array, worth: Array, tile: Array,
    equity: Array, weights: Array, traded: Array, nights: Array, costs: Array,
) -> None:  # fmt: skip
    """Run the strategies from the first on, so many, through all bars: as ``fused_backtest``."""
    _, n_bars, n_assets = targets.shape
    stride, bound = n_bars * n_assets, False
    for t in range(n_bars - 1):
        bar, old = t % chunk, t % 2 * n_assets * LANES
        row = first * stride + t * n_assets
        if bar == 0:
            columns(targets, row, stride, many, min(chunk, n_bars - 1 - t) * n_assets, tile, 0)
        for j in range(many):
            for n in range(0, n_assets, LANES):
                fetch_to_read(targets, row + j * stride + AHEAD * n_assets + n)
        at = bar * n_assets * LANES
        pass_night(state, sessions, t + 1)
        bound = trade(assets, lost, sessions, t + 1, at_fill, max_gross, bound, tile, at, worth,
                      old, state)  # fmt: skip
        if len(traded):
            keep_orders(tile, at, worth, old, state, traded, row, stride, many)
        close(state, at_fill, 1.0 / (t + 1.0))
        if len(equity):
            for j in range(many):
                equity[first + j, t + 1] = state[EQUITY + j]
        if len(weights):
            keep_accounts(tile, at, worth, n_assets * LANES - old, state, first, many, t, weights,
                          nights, costs)  # fmt: skip


@merged
def trade(
    assets: Array, lost: Array, sessions: Array, session: int, at_fill: bool, max_gross: float,
    bound: bool, wants: Array, at: int, worth: Array, old: int, state: Array,
) -> bool:  # fmt: skip
    """Trade what is wanted, within the limit, and mark to the close; whether the limit bound.

    Trading tells what is wanted, so where everything fits one pass is enough. Where the limit bound
    in the session before, what is wanted is settled first.
    """
    n_assets, gone = assets.shape[2], sessions[session, 2] > 0.0
    if any_above(spread(1e-300), load(state, EQUITY)):
        hold(wants, at, n_assets, load(state, EQUITY))
    if not bound:
        wanted = fill(assets, lost, gone, session, at_fill, wants, at, worth, old, state)
        note_largest(state, wanted)
        if not any_above(wanted, spread(max_gross * ROUNDED)):
            return False
    return bool(
        trade_settled(assets, lost, gone, session, at_fill, max_gross, wants, at, worth, old, state)
    )


@uncounted
def trade_settled(
    assets: Array, lost: Array, gone: bool, session: int, at_fill: bool, max_gross: float,
    wants: Array, at: int, worth: Array, old: int, state: Array,
) -> bool:  # fmt: skip
    """Settle what is wanted, then trade it; whether the limit bound."""
    inverse = load(state, INVERSE)
    share, wanted = settle(wants, at, worth, old, assets.shape[2], inverse, max_gross)
    note_largest(state, wanted)
    fill(assets, lost, gone, session, at_fill, wants, at, worth, old, state)
    return bool(any_above(spread(UNBOUND), share))


@merged
def note_largest(state: Array, wanted: Eight) -> None:
    """Remember the largest gross exposure wanted."""
    largest = load(state, LARGEST)
    store(state, LARGEST, above(wanted, largest, wanted, largest))


@uncounted
def trade_own(
    assets: Array, lost: Array, sessions: Array, session: int, max_gross: float, state: Array,
    worth: Array, old: int, wants: Array,
) -> None:  # fmt: skip
    """Trade what stands in ``wants``, sized at the close, within the limit; NaN holds."""
    trade(assets, lost, sessions, session, False, max_gross, True, wants, 0, worth, old, state)


@uncounted
def keep_orders(
    wants: Array, at: int, worth: Array, old: int, state: Array, traded: Array, row: int,
    stride: int, many: int,
) -> None:  # fmt: skip
    """Write what was ordered; it takes the place of what was wanted."""
    n_assets, zero, inverse = traded.shape[2], spread(0.0), load(state, INVERSE)
    for i in range(0, n_assets * LANES, LANES):
        want, held = load(wants, at + i), load(worth, old + i) * inverse
        store(wants, at + i, if_nan(want, zero, want - held))
    rows(wants, at, traded, row, stride, many, n_assets)


@uncounted
def keep_accounts(
    tile: Array, at: int, worth: Array, new: int, state: Array, first: int, many: int, t: int,
    weights: Array, nights: Array, costs: Array,
) -> None:  # fmt: skip
    """Write what the session left; weights take the place of what was wanted."""
    _, n_bars, n_assets = weights.shape
    inverse, stride = load(state, INVERSE), n_bars * n_assets
    for i in range(0, n_assets * LANES, LANES):
        store(tile, at + i, load(worth, new + i) * inverse)
    rows(tile, at, weights, first * stride + (t + 1) * n_assets, stride, many, n_assets)
    for j in range(many):
        nights[first + j, t + 1] = state[OVERNIGHT + j]
        costs[first + j, t + 1] = state[SPENT + j]
