"""A backtest of many strategies in one pass over their targets: the law, compiled.

Thirty-two strategies run side by side. Within a bar each strategy trades its assets four at a time
(``backtest.vectors``), and what is left of them are seven sums; equity and measures then follow
from the sums of all at once. Positions are kept undivided, as a worth: the weight is
``worth * lane[INVERSE]``, so that a position is read and written once a bar, with all sums that
the coming night needs. Equal to ``run_backtest``'s reference to rounding. Sums may be taken in any
order; nothing else is relaxed: NaN, infinity and ruin mean what they mean in the law.
"""

from typing import NamedTuple

import numba
import numpy as np

from trading_rlhf.backtest.kernels_accounts import (
    BOUND,
    EQUITY,
    FAST,
    INVERSE,
    LANES,
    LARGEST,
    OVERNIGHT,
    OWN,
    SPENT,
    WANTED,
    Array,
    close,
    compiled,
    compiled_parallel,
    new_accounts,
    pass_night,
    uncounted,
)
from trading_rlhf.backtest.kernels_fill import add_up, fill
from trading_rlhf.backtest.vectors import padded

__all__ = ["COLUMNS", "FAST", "ROUNDED", "Array", "MarketTable", "compiled", "compiled_parallel",
           "fused_backtest", "padded_table", "trade_own"]  # fmt: skip

ROUNDED = 1.0 + 1e-12
"""What exceeds the limit by rounding alone fits: weights are often scaled to just that limit."""

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


def padded_table(table: MarketTable) -> MarketTable:
    """The table with assets that do nothing, up to whole vectors."""
    n_bars, n_assets = table.lost.shape
    width = padded(n_assets)
    if width == n_assets:
        return table
    assets, lost = np.zeros((n_bars, 8, width)), np.zeros((n_bars, width))
    assets[..., :n_assets], lost[:, :n_assets] = table.assets, table.lost
    return MarketTable(assets, lost, table.sessions)


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
        table: market and costs, from ``padded_table``.
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
    for block in numba.prange((n_strategies + LANES - 1) // LANES):
        first = block * LANES
        many = min(LANES, n_strategies - first)
        lane, worth, wants = new_accounts(n_assets)
        run_block(
            table.assets, table.lost, table.sessions, targets, first, many, at_fill, max_gross,
            lane, worth, wants, equity, weights, traded, nights, costs,
        )  # fmt: skip
        for j in range(many):
            for column in range(results.shape[1]):
                results[first + j, column] = lane[EQUITY + column * LANES + j]


@uncounted
def run_block(
    assets: Array, lost: Array, sessions: Array, targets: Array, first: int, many: int,
    at_fill: bool, max_gross: float, lane: Array, worth: Array, wants: Array, equity: Array,
    weights: Array, traded: Array, nights: Array, costs: Array,
) -> None:  # fmt: skip
    """Run the strategies from the first on, so many, through all bars: as ``fused_backtest``."""
    for t in range(targets.shape[1] - 1):
        was = t % 2
        pass_night(lane, sessions, t + 1, many)
        trade(assets, lost, sessions, t + 1, at_fill, max_gross, targets, first, many, lane, worth,
              wants, was)  # fmt: skip
        close(lane, at_fill, 1.0 / (t + 1.0), many)
        if len(equity):
            for j in range(many):
                equity[first + j, t + 1] = lane[EQUITY + j]
        if len(weights):
            keep(lane, worth, wants, 1 - was, targets, first, many, t, weights, traded, nights,
                 costs)  # fmt: skip


@uncounted
def trade(
    assets: Array, lost: Array, sessions: Array, session: int, at_fill: bool, max_gross: float,
    targets: Array, first: int, many: int, lane: Array, worth: Array, wants: Array, was: int,
) -> None:  # fmt: skip
    """Trade what is wanted, within the limit, and mark to the close.

    Trading tells what is wanted, so where everything fits one pass is enough. Accounts in which
    the limit bound settle before they trade next time.
    """
    _, n_bars, n_assets = targets.shape
    bar, gone = session - 1, sessions[session, 2] > 0.0
    own = mark_own(lane, many)
    if own > 0.0:
        prepare(targets, first, many, bar, 1.0, max_gross, lane, worth, wants, was)
    if own < many:
        start, stride = (first * n_bars + bar) * n_assets, n_bars * n_assets
        fill(assets, lost, gone, session, at_fill, targets, start, stride, 0.0, many, lane, worth,
             was)  # fmt: skip
    width = wants.shape[1]
    if own > 0.0:
        fill(assets, lost, gone, session, at_fill, wants, 0, width, 1.0, many, lane, worth, was)
    add_up(lane, many)
    if mark_over(lane, max_gross * ROUNDED, many) > 0.0:
        prepare(targets, first, many, bar, 2.0, max_gross, lane, worth, wants, was)
        fill(assets, lost, gone, session, at_fill, wants, 0, width, 2.0, many, lane, worth, was)
        add_up(lane, many)


@uncounted
def trade_own(
    assets: Array, lost: Array, sessions: Array, session: int, many: int, n_assets: int,
    max_gross: float, lane: Array, worth: Array, wants: Array, was: int,
) -> None:  # fmt: skip
    """Trade what stands in ``wants``, sized at the close, within the limit; NaN holds."""
    gone = sessions[session, 2] > 0.0
    for j in range(many):
        lane[OWN + j] = 1.0
        settle(lane, worth, wants, was, j, n_assets, max_gross)
    width = wants.shape[1]
    fill(assets, lost, gone, session, False, wants, 0, width, 1.0, many, lane, worth, was)
    add_up(lane, many)


@uncounted
def mark_own(lane: Array, many: int) -> float:
    """Mark accounts that are ruined or were bound; how many."""
    marked = 0.0
    for j in range(many):
        own = 1.0 if lane[EQUITY + j] == 0.0 or lane[BOUND + j] > 0.0 else 0.0
        lane[OWN + j] = own
        marked += own
    return marked


@uncounted
def mark_over(lane: Array, most: float, many: int) -> float:
    """Mark accounts that wanted too much and traded it; how many."""
    marked = 0.0
    for j in range(many):
        wanted, own = lane[WANTED + j], lane[OWN + j]
        over = 1.0 if wanted > most and own == 0.0 else 0.0
        lane[LARGEST + j] = max(lane[LARGEST + j], wanted)
        lane[OWN + j] = own + 2.0 * over
        marked += over
    return marked


@uncounted
def prepare(
    targets: Array, first: int, many: int, bar: int, own: float, max_gross: float, lane: Array,
    worth: Array, wants: Array, was: int,
) -> None:  # fmt: skip
    """Give marked accounts a copy of their targets, settled; the ruined hold."""
    for j in range(many):
        if lane[OWN + j] == own:
            ruined = lane[EQUITY + j] == 0.0
            for n in range(targets.shape[2]):
                wants[j, n] = np.nan if ruined else targets[first + j, bar, n]
            bound = settle(lane, worth, wants, was, j, targets.shape[2], max_gross)
            lane[BOUND + j] = 1.0 if bound else 0.0


@uncounted
def settle(
    lane: Array, worth: Array, wants: Array, was: int, j: int, n_assets: int, max_gross: float
) -> bool:
    """Scale what opens positions of an account to the room there is, if it wants too much."""
    inverse, total, kept, opened = lane[INVERSE + j], 0.0, 0.0, 0.0
    for n in range(n_assets):
        held, wanted = worth[was, j, n] * inverse, wants[j, n]
        wanted = held if wanted != wanted else wanted
        reduced = min(max(wanted, min(held, 0.0)), max(held, 0.0))
        total += abs(wanted)
        kept += abs(reduced)
        opened += abs(wanted - reduced)
    lane[LARGEST + j] = max(lane[LARGEST + j], total)
    if not total > max_gross * ROUNDED:
        return False
    share = min(max(max_gross - kept, 0.0) / max(opened, 1e-12), 1.0)
    # What fits is not touched by rounding.
    if share < 1.0:
        for n in range(n_assets):
            held, wanted = worth[was, j, n] * inverse, wants[j, n]
            reduced = min(max(wanted, min(held, 0.0)), max(held, 0.0))
            settled = reduced + (wanted - reduced) * share
            # NaN stays NaN and holds.
            wants[j, n] = wanted if wanted != wanted else settled
    return True


@uncounted
def keep(
    lane: Array, worth: Array, wants: Array, now: int, targets: Array, first: int, many: int,
    t: int, weights: Array, traded: Array, nights: Array, costs: Array,
) -> None:  # fmt: skip
    """Write what the session did."""
    for j in range(many):
        b, own = first + j, lane[OWN + j] > 0.0
        nights[b, t + 1] = lane[OVERNIGHT + j]
        costs[b, t + 1] = lane[SPENT + j]
        for n in range(targets.shape[2]):
            wanted = wants[j, n] if own else np.float64(targets[b, t, n])
            traded[b, t, n] = 0.0 if wanted != wanted else wanted - weights[b, t, n]
            weights[b, t + 1, n] = worth[now, j, n] * lane[INVERSE + j]
