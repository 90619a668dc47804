"""Orders filled and marked to the close, compiled: the assets of a strategy four at a time."""

from typing import Any

from trading_rlhf.backtest.kernels_accounts import (
    COST,
    GAIN,
    GROSS,
    INVERSE,
    LANES,
    NET,
    NIGHT,
    OWN,
    PARTS,
    SUMMED,
    TURN,
    UNIT,
    WANTED,
    Array,
    inlined,
    uncounted,
)
from trading_rlhf.backtest.vectors import (
    WIDTH,
    fetch,
    load,
    load_first,
    size,
    spread,
    store,
    sum_rows,
    unless_nan,
)

__all__ = ["add_up", "fill"]

AHEAD = 8
"""Bars by which targets are sent for early; a processor does not foresee so many rows at once."""
LINE = 8
"""Numbers that come from memory together."""


@uncounted
def fill(
    assets: Array, lost: Array, gone: bool, session: int, at_fill: bool, wants: Array, start: int,
    stride: int, own: float, many: int, lane: Array, worth: Array, was: int,
) -> None:  # fmt: skip
    """Fill what is wanted and mark to the close, without touching the worth before.

    Args:
        assets: as in the table.
        lost: as in the table.
        gone: whether an asset is delisted in the session.
        session: which.
        at_fill: as in ``fused_backtest``.
        wants: weights wanted; an account's row begins at ``start + j * stride``.
        start: where the first account's row begins.
        stride: from one account's row to the next.
        own: only accounts that are so marked.
        many: accounts.
        lane: the state.
        worth: before and after, in turn.
        was: which of them is before the session.
    """
    if at_fill:
        fill_weights(assets, lost, gone, session, wants, start, stride, own, many, lane, worth, was)
    else:
        fill_shares(assets, lost, gone, session, wants, start, stride, own, many, lane, worth, was)


@uncounted
def fill_shares(
    assets: Array, lost: Array, gone: bool, session: int, wants: Array, start: int, stride: int,
    own: float, many: int, lane: Array, worth: Array, was: int,
) -> None:  # fmt: skip
    """Fill orders sized at the close."""
    n_assets, width = wants.shape[-1], assets.shape[2]
    for j in range(many):
        if lane[OWN + j] != own:
            continue
        before, after = (was * LANES + j) * width, ((1 - was) * LANES + j) * width
        inverse = spread(lane[INVERSE + j])
        for n in range(0, n_assets, LINE):
            fetch(wants, start + j * stride + AHEAD * n_assets + n)
        turn = cost = gain = night = gross = net = total = spread(0.0)
        if gone:
            cost = delisted(lost, session, worth, before) * inverse
        for n in range(0, n_assets, WIDTH):
            row = session * 8 * width + n
            held = load(worth, before + n) * inverse
            wanted = unless_nan(row_of(wants, start + j * stride + n, n_assets - n), held)
            filled = load(assets, row) * (wanted - held)
            position = held + filled
            left = load(assets, row + 2 * width) * position
            store(worth, after + n, left)
            total = total + size(wanted)
            turn = turn + load(assets, row + 7 * width) * size(filled)
            cost = cost + load(assets, row + 3 * width) * size(filled)
            cost = cost + load(assets, row + 4 * width) * filled
            gain = gain + load(assets, row + width) * position
            night = night + load(assets, row + 5 * width) * left
            night = night - load(assets, row + 6 * width) * size(left)
            gross = gross + size(left)
            net = net + left
        leave(lane, j, turn, cost, gain, night, gross, net, total)


@uncounted
def fill_weights(
    assets: Array, lost: Array, gone: bool, session: int, wants: Array, start: int, stride: int,
    own: float, many: int, lane: Array, worth: Array, was: int,
) -> None:  # fmt: skip
    """Reach weights of the equity at the fill."""
    n_assets, width = wants.shape[-1], assets.shape[2]
    for j in range(many):
        if lane[OWN + j] != own:
            continue
        before, after = (was * LANES + j) * width, ((1 - was) * LANES + j) * width
        inverse, unit = spread(lane[INVERSE + j]), spread(lane[UNIT + j])
        solvent = spread(1.0 if lane[UNIT + j] > 0.0 else 0.0)
        for n in range(0, n_assets, LINE):
            fetch(wants, start + j * stride + AHEAD * n_assets + n)
        turn = cost = gain = night = gross = net = total = spread(0.0)
        if gone:
            cost = delisted(lost, session, worth, before) * inverse * unit
        for n in range(0, n_assets, WIDTH):
            row = session * 8 * width + n
            held = load(worth, before + n) * inverse
            asked = row_of(wants, start + j * stride + n, n_assets - n)
            drifted = held * load(assets, row + 7 * width) * unit
            filled = load(assets, row) * solvent * (unless_nan(asked, drifted) - drifted)
            position = drifted + filled
            left = load(assets, row + 2 * width) * position
            store(worth, after + n, left)
            total = total + size(unless_nan(asked, held))
            turn = turn + size(filled)
            cost = cost + load(assets, row + 3 * width) * size(filled)
            cost = cost + load(assets, row + 4 * width) * filled
            gain = gain + load(assets, row + width) * position
            night = night + load(assets, row + 5 * width) * left
            night = night - load(assets, row + 6 * width) * size(left)
            gross = gross + size(left)
            net = net + left
        leave(lane, j, turn, cost, gain, night, gross, net, total)


@inlined
def row_of(array: Array, at: int, many: int) -> Any:
    """Four numbers, or as many as there are and zeros."""
    return load(array, at) if many >= WIDTH else load_first(array, at, many)


@uncounted
def delisted(lost: Array, session: int, worth: Array, before: int) -> Any:
    """What delistings take of positions; the worth itself ends with the session."""
    taken, width = spread(0.0), lost.shape[1]
    for n in range(0, width, WIDTH):
        taken = taken + size(load(worth, before + n)) * load(lost, session * width + n)
    return taken


@inlined
def leave(
    lane: Array, j: int, turn: Any, cost: Any, gain: Any, night: Any, gross: Any, net: Any,
    total: Any,
) -> None:  # fmt: skip
    """Leave an account's sums in four parts each; ``add_up`` does all accounts together."""
    at = PARTS + j * WIDTH
    store(lane, at + TURN * WIDTH, turn)
    store(lane, at + COST * WIDTH, cost)
    store(lane, at + GAIN * WIDTH, gain)
    store(lane, at + NIGHT * WIDTH, night)
    store(lane, at + GROSS * WIDTH, gross)
    store(lane, at + NET * WIDTH, net)
    store(lane, at + WANTED * WIDTH, total)


@uncounted
def add_up(lane: Array, many: int) -> None:
    """Add up the sums of the bar."""
    for row in range(0, SUMMED, LANES):
        for at in range(row, row + many, WIDTH):
            store(lane, at, sum_rows(lane, PARTS + at * WIDTH))
