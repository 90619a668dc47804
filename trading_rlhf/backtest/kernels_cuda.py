"""A backtest of many strategies on a GPU: the law in Triton, time cut into chunks.

A program runs one block of strategies through one chunk of bars: strategies are rows of a tile,
assets its columns, and the weights stay in registers. What a chunk cannot know, the weights at its
start, comes from a few bars run before it; ``backtest.scan`` checks afterwards that they were
right. Money of a position is in the precision of the targets, equity and its moments in float64.
"""

from __future__ import annotations  # without triton they have no meaning

from typing import Any

from torch import Tensor

__all__ = ["SUMS", "interpreted", "scan_chunks"]

try:
    import triton  # type: ignore[import-untyped,import-not-found,unused-ignore]
    import triton.language as tl  # type: ignore[import-untyped,import-not-found,unused-ignore]
except ImportError:
    # There is none for Windows and macOS; `backtest.scan` says so before it calls.
    triton = tl = None

SUMS = (
    "equity", "peak", "low", "drawdown", "bars", "mean", "spread", "downside", "turnover", "paid",
    "exposure", "hits", "exposed", "largest",
)  # fmt: skip
"""What is known of a chunk at its end, equity being 1 at its start: last, highest and lowest
equity; largest drawdown; bars; mean, sum of squared deviations and sum of squared losses of
returns; sums of fills, costs and exposure; bars with profit and exposure, and with exposure;
largest gross exposure wanted."""


def _kernel(function: Any) -> Any:
    return function if triton is None else triton.jit(function)


def interpreted() -> bool:
    """Whether TRITON_INTERPRET was set when triton was loaded: the kernel runs on the processor."""
    return triton is not None and not isinstance(_scan, triton.JITFunction)


def scan_chunks(
    table: tuple[Tensor, Tensor, Tensor],
    targets: Tensor,
    rows: Tensor,
    begins: Tensor,
    held: Tensor,
    limit: Tensor,
    sums: Tensor,
    opening: Tensor,
    closing: Tensor,
    equity: Tensor | None,
    *,
    chunk: int,
    block: int,
    warps: int,
    at_fill: bool,
) -> None:
    """Run strategies through all chunks at once; all tensors contiguous and on one device.

    Args:
        table: ``[T, 8, N]``, ``[T, N]`` and ``[T, 3]``: a ``MarketTable`` like ``targets``.
        targets: ``[B, T, N]`` weights (fraction of equity), NaN holds.
        rows: ``[R]`` int64, the strategies to run.
        begins: ``[C]`` int32, the bar at whose close each chunk's run begins.
        held: ``[R, C, N]`` weights at those closes; strides may be 0.
        limit: ``[1]`` limit of gross exposure; infinite for none.
        sums: written, ``[R, C, 14]`` float64: ``SUMS``.
        opening: written, ``[R, C, N]`` weights at the start of each chunk.
        closing: written, ``[R, C, N]`` weights at its end.
        equity: written, ``[R, T]`` float64, 1 at the start of each chunk; None is left out.
        chunk: bars in a chunk.
        block: strategies in a program, a power of two.
        warps: warps in a program.
        at_fill: targets are weights of the equity at the fill, not shares sized at the close.
    """
    _, n_bars, n_assets = targets.shape
    assets, lost, sessions = table
    n_rows, n_chunks = sums.shape[:2]
    _scan[(triton.cdiv(n_rows, block), n_chunks)](
        assets, lost, sessions, targets, rows, begins, held, limit,
        sums, opening, closing, sums if equity is None else equity,
        n_rows, n_chunks, n_bars, chunk, held.stride(0), held.stride(1),
        ASSETS=n_assets, AT_FILL=at_fill, KEEP=equity is not None, WIDTH=len(SUMS), BLOCK=block,
        COLUMNS=triton.next_power_of_2(n_assets), num_warps=warps, enable_fp_fusion=True,
    )  # fmt: skip


@_kernel
def _night(
    held: tl.tensor,
    gross: tl.tensor,
    net: tl.tensor,
    night: tl.tensor,
    charge: tl.tensor,
    margin: tl.tensor,
    interest: tl.tensor,
) -> tl.tensor:
    """Return of equity from the close to the fill: price moves, interest and borrow fees."""
    cash = 1.0 - 0.5 * (gross + net)
    earned = interest * tl.maximum(cash, 0.0) - margin * tl.maximum(-cash, 0.0)
    return tl.sum(held * night - tl.abs(held) * charge, 1) + earned


@_kernel
def _settle(held: tl.tensor, wants: tl.tensor, wanted: tl.tensor, limit: tl.tensor) -> tl.tensor:
    """Scale what opens positions to the room there is, in rows that want too much."""
    target = tl.where(wants == wants, wants, held)
    nothing = held * 0.0
    least, most = tl.minimum(held, nothing), tl.maximum(held, nothing)
    reduced = tl.minimum(tl.maximum(target, least), most)
    room = tl.maximum(limit - tl.sum(tl.abs(reduced), 1), 0.0)
    share = room / tl.maximum(tl.sum(tl.abs(target - reduced), 1), 1e-12)
    share = tl.where(wanted > limit, tl.minimum(share, 1.0), 1.0)[:, None]
    settled = reduced + (target - reduced) * share
    # NaN holds still, and what fits is not touched by rounding.
    return tl.where((wants == wants) & (share < 1.0), settled, wants)


@_kernel
def _delist(held: tl.tensor, lost: tl.tensor, there: tl.tensor, gone: tl.tensor) -> tl.tensor:
    """What delistings take of positions; read only in sessions that have one."""
    cost = tl.sum(held * 0.0, 1)
    if gone > 0.0:
        cost = tl.sum(tl.abs(held) * tl.load(lost, mask=there, other=0.0), 1)
    return cost


@_kernel
def _fill(
    held: tl.tensor, wants: tl.tensor, at_fill: tl.tensor, fills: tl.tensor, grown: tl.tensor,
    AT_FILL: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Trade what fills.

    Returns:
        Position, what is charged, turnover, and the worth of one unit of them: of equity at the
        close, or of equity at the fill.
    """
    if AT_FILL:
        position = held * grown / at_fill[:, None]
        traded = fills * tl.where(wants == wants, wants - position, 0.0)
        position += traded
        turn = tl.sum(tl.abs(traded), 1)
        unit = at_fill
    else:
        # Rates and gains of what does not fill are zero in the table.
        traded = tl.where(wants == wants, wants - held, 0.0)
        position = held + fills * traded
        # An order is sized at the close; at the fill it comes to more or less.
        turn = tl.sum(tl.abs(fills * grown * traded), 1)
        unit = at_fill * 0.0 + 1.0
    return position, traded, turn, unit


@_kernel
def _session(
    held: tl.tensor, gross: tl.tensor, net: tl.tensor, wants: tl.tensor, limit: tl.tensor,
    assets: tl.tensor, lost: tl.tensor, sessions: tl.tensor, t: tl.tensor,
    ASSETS: tl.constexpr, AT_FILL: tl.constexpr, COLUMNS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Carry weights from the close of t to the next.

    Returns:
        Weights, their gross and net, return of equity, turnover, cost, gross exposure wanted.
    """
    column = tl.arange(0, COLUMNS)[None, :]
    there = column < ASSETS
    before = assets + t * 8 * ASSETS + column
    now = before + 8 * ASSETS
    night = _night(
        held, gross, net,
        tl.load(before + 5 * ASSETS, mask=there, other=0.0),
        tl.load(before + 6 * ASSETS, mask=there, other=0.0),
        tl.load(sessions + t * 3 + 3), tl.load(sessions + t * 3 + 4),
    )  # fmt: skip
    solvent = 1.0 + night > 0.0
    at_fill = tl.where(solvent, 1.0 + night, 1.0)
    wanted = tl.sum(tl.abs(tl.where(wants == wants, wants, held)), 1)
    if tl.max((wanted > limit).to(tl.int32), 0) > 0:
        wants = _settle(held, wants, wanted, limit)
    gone = tl.load(sessions + t * 3 + 5)
    cost = _delist(held, lost + (t + 1) * ASSETS + column, there, gone)
    position, traded, turn, unit = _fill(
        held, wants, at_fill,
        tl.load(now, mask=there, other=0.0), tl.load(now + 7 * ASSETS, mask=there, other=0.0),
        AT_FILL,
    )  # fmt: skip
    if AT_FILL:
        cost = cost / at_fill
    rate = tl.load(now + 3 * ASSETS, mask=there, other=0.0)
    skew = tl.load(now + 4 * ASSETS, mask=there, other=0.0)
    cost += tl.sum(rate * tl.abs(traded) + skew * traded, 1)
    gain = tl.sum(position * tl.load(now + ASSETS, mask=there, other=0.0), 1)
    back = night + unit * (gain - cost)
    solvent = solvent & (1.0 + back > 0.0)
    growth = tl.where(solvent, 1.0 + back, 1.0)
    kept = tl.load(now + 2 * ASSETS, mask=there, other=0.0)
    left = position * kept * (unit / growth)[:, None]
    held = tl.where(solvent[:, None], left, 0.0)
    back = tl.where(solvent, back, -1.0)
    gross, net = tl.sum(tl.abs(held), 1), tl.sum(held, 1)
    paid = tl.where(night > -1.0, cost * unit / at_fill, 0.0)
    turn = tl.where(night > -1.0, turn * unit / at_fill, 0.0)
    return held, gross, net, back, turn, paid, wanted


@_kernel
def _count(
    measured: tl.tensor,
    back: tl.tensor,
    turn: tl.tensor,
    cost: tl.tensor,
    gross: tl.tensor,
    most: tl.tensor,
) -> tl.tensor:
    """Take a session over into all that is measured; the return is 0 after ruin."""
    equity, peak, low, drawdown, bars, mean, spread, downside = measured[:8]
    turnover, paid, exposure, hits, exposed, largest = measured[8:]
    back = tl.where(equity > 0.0, back.to(tl.float64), 0.0)
    equity *= 1.0 + back
    peak = tl.maximum(peak, equity)
    bars += 1.0
    away = back - mean
    mean += away / bars
    loss = tl.minimum(back, 0.0)
    holds = tl.where(gross > 1e-9, 1.0, 0.0).to(tl.float64)
    return (
        equity, peak, tl.minimum(low, equity), tl.maximum(drawdown, 1.0 - equity / peak),
        bars, mean, spread + away * (back - mean), downside + loss * loss,
        turnover + turn.to(tl.float64), paid + cost.to(tl.float64), exposure + gross.to(tl.float64),
        hits + tl.where(back > 0.0, holds, 0.0), exposed + holds,
        tl.maximum(largest, most.to(tl.float64)),
    )  # fmt: skip


@_kernel
def _scan(
    assets: tl.tensor, lost: tl.tensor, sessions: tl.tensor, targets: tl.tensor, rows: tl.tensor,
    begins: tl.tensor, start: tl.tensor, limits: tl.tensor, sums: tl.tensor, opening: tl.tensor,
    closing: tl.tensor, equities: tl.tensor, n_rows: tl.tensor, n_chunks: tl.tensor,
    n_bars: tl.tensor, chunk: tl.tensor, by_row: tl.tensor, by_chunk: tl.tensor,
    ASSETS: tl.constexpr, AT_FILL: tl.constexpr, KEEP: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Run one block of strategies through one chunk of bars."""
    part = tl.program_id(1)
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = row < n_rows
    column = tl.arange(0, COLUMNS)[None, :]
    here = real[:, None] & (column < ASSETS)
    strategy = tl.load(rows + row, mask=real, other=0)
    asked = targets + strategy[:, None] * n_bars * ASSETS + column
    limit = tl.load(limits)
    first = part * chunk
    last = tl.minimum(first + chunk, n_bars - 1)
    held = tl.load(start + row[:, None] * by_row + part * by_chunk + column, mask=here, other=0.0)
    gross, net = tl.sum(tl.abs(held), 1), tl.sum(held, 1)
    for t in range(tl.load(begins + part), first):
        # An account that the guess ruins may be a sound one: it goes on, in cash.
        wants = tl.load(asked + t * ASSETS, mask=here, other=0.0)
        held, gross, net, _back, _turn, _cost, _most = _session(
            held, gross, net, wants, limit, assets, lost, sessions, t, ASSETS, AT_FILL, COLUMNS
        )
    cell = row * n_chunks + part
    tl.store(opening + cell[:, None] * ASSETS + column, held, mask=here)
    one = tl.full((BLOCK,), 1.0, tl.float64)
    zero = one * 0.0
    measured = (one, one, one, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
    coming = tl.load(asked + first * ASSETS, mask=here, other=0.0)
    for t in range(first, last):
        wants = tl.where((measured[0] > 0.0)[:, None], coming, float("nan"))
        # The next bar's targets are on their way while this one is worked on.
        coming = tl.load(asked + (t + 1) * ASSETS, mask=here, other=0.0)
        held, gross, net, back, turn, cost, most = _session(
            held, gross, net, wants, limit, assets, lost, sessions, t, ASSETS, AT_FILL, COLUMNS
        )
        measured = _count(measured, back, turn, cost, gross, most)
        if KEEP:
            tl.store(equities + row * n_bars + t + 1, measured[0], mask=real)
    tl.store(closing + cell[:, None] * ASSETS + column, held, mask=here)
    for at in tl.static_range(WIDTH):
        tl.store(sums + cell * WIDTH + at, measured[at], mask=real)
