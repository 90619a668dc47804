"""Orders filled and marked to the close, compiled: eight strategies side by side, by asset."""

from typing import TypeAlias

from trading_rlhf.backtest.kernels_accounts import (
    COST,
    GAIN,
    GROSS,
    INVERSE,
    NET,
    NIGHT,
    TURN,
    UNIT,
    WANTED,
    Array,
    inlined,
    merged,
)
from trading_rlhf.backtest.kernels_orders import delisted
from trading_rlhf.backtest.vectors import LANES, Eight, above, if_nan, load, size, spread, store

__all__ = ["fill"]

Sums: TypeAlias = tuple[Eight, Eight, Eight, Eight, Eight, Eight, Eight]
"""Costs, what buys cost more, gain, gain and charge of the coming night, gross and net worth."""


@merged
def fill(
    assets: Array, lost: Array, gone: bool, session: int, at_fill: bool, wants: Array, at: int,
    worth: Array, old: int, state: Array,
) -> Eight:  # fmt: skip
    """Fill what is wanted and mark to the close, without touching the worth before.

    Args:
        assets: as in the table.
        lost: as in the table.
        gone: whether an asset is delisted in the session.
        session: which.
        at_fill: as in ``fused_backtest``.
        wants: weights wanted, ``[N * 8]`` from ``at`` on; NaN holds.
        at: where they begin.
        worth: before and after, in turn.
        old: where that before the session begins.
        state: the accounts; the sums of the session are written.

    Returns:
        The gross exposure wanted.
    """
    if at_fill:
        fill_weights(assets, lost, gone, session, wants, at, worth, old, state)
    else:
        fill_shares(assets, lost, gone, session, wants, at, worth, old, state)
    return load(state, WANTED)


@merged
def fill_shares(
    assets: Array, lost: Array, gone: bool, session: int, wants: Array, at: int, worth: Array,
    old: int, state: Array,
) -> None:  # fmt: skip
    """Fill orders sized at the close."""
    n_assets, zero, inverse = assets.shape[2], spread(0.0), load(state, INVERSE)
    new = n_assets * LANES - old
    turn, total, taken = zero, zero, zero
    if gone:
        taken = delisted(lost, session, worth, old, inverse)
    sums = (taken, zero, zero, zero, zero, zero, zero)
    for n in range(n_assets):
        held, want = load(worth, old + n * LANES) * inverse, load(wants, at + n * LANES)
        want = if_nan(want, held, want)
        filled = spread(assets[session, 0, n]) * (want - held)
        total = total + size(want)
        turn = turn + spread(assets[session, 7, n]) * size(filled)
        sums = mark(assets, session, n, filled, held + filled, worth, new, sums)
    leave(state, turn, total, sums)


@merged
def fill_weights(
    assets: Array, lost: Array, gone: bool, session: int, wants: Array, at: int, worth: Array,
    old: int, state: Array,
) -> None:  # fmt: skip
    """Reach weights of the equity at the fill."""
    n_assets, zero = assets.shape[2], spread(0.0)
    inverse, unit = load(state, INVERSE), load(state, UNIT)
    solvent = above(unit, zero, spread(1.0), zero)
    new = n_assets * LANES - old
    turn, total, taken = zero, zero, zero
    if gone:
        taken = delisted(lost, session, worth, old, inverse) * unit
    sums = (taken, zero, zero, zero, zero, zero, zero)
    for n in range(n_assets):
        held, want = load(worth, old + n * LANES) * inverse, load(wants, at + n * LANES)
        drifted = held * spread(assets[session, 7, n]) * unit
        change = if_nan(want, drifted, want) - drifted
        filled = spread(assets[session, 0, n]) * solvent * change
        total = total + size(if_nan(want, held, want))
        turn = turn + size(filled)
        sums = mark(assets, session, n, filled, drifted + filled, worth, new, sums)
    leave(state, turn, total, sums)


@inlined
def mark(
    assets: Array, session: int, n: int, filled: Eight, position: Eight, worth: Array, new: int,
    sums: Sums,
) -> Sums:  # fmt: skip
    """Mark a position to the close, and add what it costs and earns to the sums."""
    # Costs and the night in two sums each, which need not wait for one another.
    cost, skew, gain, night, charge, gross, net = sums
    left = spread(assets[session, 2, n]) * position
    store(worth, new + n * LANES, left)
    return (
        cost + spread(assets[session, 3, n]) * size(filled),
        skew + spread(assets[session, 4, n]) * filled,
        gain + spread(assets[session, 1, n]) * position,
        night + spread(assets[session, 5, n]) * left,
        charge + spread(assets[session, 6, n]) * size(left),
        gross + size(left),
        net + left,
    )


@merged
def leave(state: Array, turn: Eight, total: Eight, sums: Sums) -> None:
    """Leave the sums of the session."""
    cost, skew, gain, night, charge, gross, net = sums
    store(state, TURN, turn)
    store(state, COST, cost + skew)
    store(state, GAIN, gain)
    store(state, NIGHT, night - charge)
    store(state, GROSS, gross)
    store(state, NET, net)
    store(state, WANTED, total)
