"""Orders within the limit of gross exposure, compiled: what opens positions shrinks to the room."""

import numpy as np

from trading_rlhf.backtest.kernels_accounts import Array, inlined, uncounted
from trading_rlhf.backtest.vectors import LANES, Eight, above, if_nan, load, size, spread, store

__all__ = ["ROUNDED", "UNBOUND", "delisted", "hold", "reduced", "settle", "settled"]

ROUNDED = 1.0 + 1e-12
"""What exceeds the limit by rounding alone fits: weights are often scaled to just that limit."""

UNBOUND = 2.0
"""The share of openings that settle where the limit of gross exposure does not bind."""


@uncounted
def hold(wants: Array, at: int, n_assets: int, alive: Eight) -> None:
    """Accounts that are not alive hold."""
    for i in range(at, at + n_assets * LANES, LANES):
        store(wants, i, above(alive, spread(0.0), load(wants, i), spread(np.nan)))


@uncounted
def delisted(lost: Array, session: int, worth: Array, old: int, inverse: Eight) -> Eight:
    """What delistings take of positions; the worth itself ends with the session."""
    taken = spread(0.0)
    for n in range(lost.shape[1]):
        held = load(worth, old + n * LANES) * inverse
        taken = taken + size(held) * spread(lost[session, n])
    return taken


@inlined
def reduced(want: Eight, held: Eight) -> Eight:
    """The position after what of an order reduces it: between nothing and what is held."""
    zero = spread(0.0)
    low, high = above(held, zero, zero, held), above(held, zero, held, zero)
    raised = above(want, low, want, low)
    return above(raised, high, high, raised)


@inlined
def settled(want: Eight, held: Eight, share: Eight) -> Eight:
    """What is wanted once openings are scaled; NaN stays and holds, what fits is not rounded."""
    kept = reduced(want, held)
    scaled = above(share, spread(1.0), want, kept + (want - kept) * share)
    return if_nan(want, want, scaled)


@uncounted
def settle(
    wants: Array, at: int, worth: Array, old: int, n_assets: int, inverse: Eight, max_gross: float
) -> tuple[Eight, Eight]:
    """Scale what opens positions to the room there is, in accounts that want too much.

    Args:
        wants: weights wanted ``[N * 8]`` from ``at`` on, changed; NaN holds.
        at: where they begin.
        worth: of positions.
        old: where it begins.
        n_assets: N.
        inverse: one over equity.
        max_gross: limit of gross exposure.

    Returns:
        The share of openings that fits, or ``UNBOUND``; and the gross exposure that was wanted.
    """
    zero, one, tiny = spread(0.0), spread(1.0), spread(1e-12)
    kept, opened, gross = zero, zero, zero
    for i in range(0, n_assets * LANES, LANES):
        want, held = load(wants, at + i), load(worth, old + i) * inverse
        want = if_nan(want, held, want)
        closed = reduced(want, held)
        gross = gross + size(want)
        kept = kept + size(closed)
        opened = opened + size(want - closed)
    left = spread(max_gross) - kept
    share = above(left, zero, left, zero) / above(opened, tiny, opened, tiny)
    share = above(share, one, one, share)
    share = above(gross, spread(max_gross * ROUNDED), share, spread(UNBOUND))
    for i in range(0, n_assets * LANES, LANES):
        want, held = load(wants, at + i), load(worth, old + i) * inverse
        store(wants, at + i, settled(want, held, share))
    return share, gross
