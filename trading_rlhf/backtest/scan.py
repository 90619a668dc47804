"""The GPU backtest's border: what it can run, where chunks begin, and their sums put together.

A chunk of bars does not know the weights at its start. They are found by running a few bars before
it from cash: each session after a full rebalancing forgets all but a small part of an error. The
weights with which a chunk was started are then compared with those with which the chunk before it
ended. Where they differ (positions held for long, bars missing for long) the strategy runs once
more from the latter, and if that does not settle it, in one piece. So what is returned never rests
on an assumption about the targets.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest.fused import FusedPaths, _measures
from trading_rlhf.errors import AccountingError

if TYPE_CHECKING:
    from trading_rlhf.backtest.kernels_cpu import MarketTable

__all__ = [
    "CHUNK",
    "ScanSums",
    "has_triton",
    "merge_chunks",
    "run_scan",
    "scan_sums",
    "supports",
    "warm_starts",
]

IntArray: TypeAlias = npt.NDArray[np.int64]

CHUNK = 128

_USUAL_GROSS = 2.0
"""Expected where nothing limits it; a wrong expectation costs time, not accuracy."""

_FORGOTTEN = {torch.float64: 1e-12, torch.float32: 1e-7}
_EQUAL = {torch.float64: 1e-12, torch.float32: 1e-6}


def has_triton() -> bool:
    """Whether the compiler is installed; there is none for Windows and macOS."""
    return find_spec("triton") is not None


def supports(costs: CostModel, device: str | torch.device, delay: int = 0) -> bool:
    """Whether the GPU backtest knows the rules: none in USD or cash, no review; CUDA and Triton."""
    plain = not costs.needs_equity and not costs.cash_account and delay == 0
    return plain and torch.device(device).type == "cuda" and has_triton()


def run_scan(
    table: "MarketTable",
    targets: Tensor,
    bars_per_year: float,
    *,
    at_fill: bool = False,
    max_gross: float | None = 0.98,
    keep_equity: bool = False,
    chunk: int = CHUNK,
) -> FusedPaths:
    """Run strategies through the law on a GPU; weights, orders, nights and costs stay empty.

    Args:
        table: from ``market_table``, for the same ``at_fill``.
        targets: ``[B, T, N]`` float64 or float32 weights on the GPU (fraction of equity); NaN
            holds. Single precision is about 1e-6 of equity away from double.
        bars_per_year: bars in a year.
        at_fill: targets are weights of the equity at the fill.
        max_gross: limit of gross exposure; None for none.
        keep_equity: return equity.
        chunk: bars that one program runs.

    Raises:
        AccountingError: triton is missing, or targets have another type, shape or device.
    """
    found = scan_sums(
        table, targets, at_fill=at_fill, max_gross=max_gross, keep_equity=keep_equity, chunk=chunk
    )
    n_bars, n_assets = targets.shape[1:]
    sums = {name: column.cpu().numpy() for name, column in found.sums.items()}
    curves = np.empty((0, n_bars)) if found.equity is None else found.equity.cpu().numpy()
    nothing, free = np.empty((0, n_bars, n_assets)), np.empty((0, n_bars))
    return FusedPaths(
        _measures(sums, n_bars - 1, bars_per_year), curves, nothing, nothing, free, free
    )


@dataclass(frozen=True)
class ScanSums:
    """What the scan found, on the GPU.

    Attributes:
        sums: ``[B]`` float64 by name: the ``COLUMNS`` of ``backtest.kernels_cpu``.
        equity: ``[B, T]`` float64 when kept.
        ran: strategies in each of the passes: cut into chunks, once more, in one piece.
    """

    sums: dict[str, Tensor]
    equity: Tensor | None
    ran: tuple[int, ...]


def scan_sums(
    table: "MarketTable",
    targets: Tensor,
    *,
    at_fill: bool = False,
    max_gross: float | None = 0.98,
    keep_equity: bool = False,
    chunk: int = CHUNK,
    block: int = 16,
    warps: int | None = None,
) -> ScanSums:
    """Run strategies and leave what is known of them on the GPU.

    Arguments and errors are those of ``run_scan``; ``block`` strategies, a power of two,
    share a program of ``warps`` warps (None: so many that its registers leave room for others).
    """
    _check(table, targets, chunk)
    scan = _Scan(
        table,
        targets.contiguous(),
        at_fill,
        max_gross,
        block,
        warps or targets.element_size(),
        keep_equity,
    )
    limit = _USUAL_GROSS if max_gross is None else max_gross
    begins = warm_starts(table, limit, chunk, _FORGOTTEN[targets.dtype], at_fill=at_fill)
    rows = torch.arange(len(targets), device=targets.device)
    first = scan.run(rows, chunk, begins, None)
    sums, equity, ran = first.merged, first.equity, [len(rows)]
    done = first
    for again in (True, False):
        rows, ends = rows[~done.joined], done.closing[~done.joined]
        if not len(rows):
            break
        if again:
            starts = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
            done = scan.run(rows, chunk, np.arange(0, targets.shape[1] - 1, chunk), starts)
        else:
            done = scan.run(rows, targets.shape[1] - 1, np.zeros(1, np.int64), None)
        for name, column in done.merged.items():
            sums[name][rows] = column
        if equity is not None and done.equity is not None:
            equity[rows] = done.equity
        ran.append(len(rows))
    return ScanSums(sums, equity, tuple(ran))


@dataclass(frozen=True)
class _Pass:
    """Sums and equity of one pass, whether each strategy's chunks join, and their last weights."""

    merged: dict[str, Tensor]
    equity: Tensor | None
    joined: Tensor
    closing: Tensor


@dataclass(frozen=True)
class _Scan:
    """Strategies on a market, ready to be run in chunks."""

    table: "MarketTable"
    targets: Tensor
    at_fill: bool
    max_gross: float | None
    block: int
    warps: int
    keep_equity: bool

    @cached_property
    def _market(self) -> tuple[Tensor, Tensor, Tensor]:
        assets, lost, sessions = (
            torch.as_tensor(part).to(self.targets).contiguous() for part in self.table
        )
        return assets, lost, sessions

    def run(self, rows: Tensor, chunk: int, begins: IntArray, start: Tensor | None) -> _Pass:
        """Run some strategies from weights ``[R, C, N]`` (None: from cash) at bars ``[C]``."""
        from trading_rlhf.backtest.kernels_cuda import SUMS, scan_chunks

        targets, n_chunks = self.targets, len(begins)
        n_bars, n_assets = targets.shape[1:]
        shape = (len(rows), n_chunks, n_assets)
        limit = math.inf if self.max_gross is None else self.max_gross
        sums = torch.empty(*shape[:2], len(SUMS), dtype=torch.float64, device=targets.device)
        opening, closing = (targets.new_empty(shape) for _ in range(2))
        equity = sums.new_ones(len(rows), n_bars) if self.keep_equity else None
        scan_chunks(
            self._market, targets, rows,
            torch.as_tensor(begins, dtype=torch.int32, device=targets.device),
            targets.new_zeros(1, 1, n_assets).expand(shape) if start is None else start,
            targets.new_tensor([limit]), sums, opening, closing, equity,
            chunk=chunk, block=self.block, warps=self.warps, at_fill=self.at_fill,
        )  # fmt: skip
        named = dict(zip(SUMS, sums.unbind(-1), strict=True))
        starts = _starts(named["equity"])
        if equity is not None:
            for part, first in enumerate(range(1, n_bars, chunk)):
                equity[:, first : first + chunk] *= starts[:, part : part + 1]
        joined = _join(opening, closing, starts)
        return _Pass(merge_chunks(named), equity, joined, closing)


def _starts(growth: Tensor) -> Tensor:
    """Equity ``[R, C]`` at the start of each chunk."""
    return torch.cat([torch.ones_like(growth[:, :1]), growth.cumprod(1)[:, :-1]], 1)


def _join(opening: Tensor, closing: Tensor, starts: Tensor) -> Tensor:
    """Whether every chunk of a strategy began with the weights of the one before it, ``[R]``.

    The first begins right, so then all did. After ruin there is nothing to begin with.
    """
    ends = closing[:, :-1]
    close = (opening[:, 1:] - ends).abs() <= _EQUAL[ends.dtype] * (1.0 + ends.abs())
    return (close.all(-1) | (starts[:, 1:] == 0)).all(-1)


def merge_chunks(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the sums of chunks together.

    Args:
        parts: ``[R, C]`` by the names of ``kernels_cuda.SUMS``; equity is 1 at each start.

    Returns:
        ``[R]`` by name.
    """
    starts = _starts(parts["equity"])
    alive = starts > 0
    none = torch.zeros_like(starts)
    live = {k: x if k == "bars" else torch.where(alive, x, none) for k, x in parts.items()}
    tops = torch.cat([torch.ones_like(starts[:, :1]), starts * live["peak"]], 1)
    peaks = tops.cummax(1).values[:, :-1]
    fallen = torch.where(alive, 1.0 - starts * live["low"] / peaks, none)
    bars = live["bars"]
    mean = (bars * live["mean"]).sum(1) / bars.sum(1)
    between = bars * (live["mean"] - mean[:, None]).square()
    added = ("downside", "turnover", "paid", "exposure", "hits", "exposed")
    return {
        "equity": parts["equity"].prod(1),
        "mean": mean,
        "spread": (live["spread"] + between).sum(1),
        "drawdown": torch.maximum(live["drawdown"], fallen).amax(1),
        "largest": live["largest"].amax(1),
    } | {name: live[name].sum(1) for name in added}


def warm_starts(
    table: "MarketTable", gross: float, chunk: int, forgotten: float, *, at_fill: bool = False
) -> IntArray:
    """Bars ``[C]`` at whose close a run from cash begins, so that each chunk starts right.

    Weights after a full rebalancing depend on those before it only through the growth of equity in
    that session: its costs, and the night's profit where orders are sized at the close. So an
    error shrinks by about ``gross`` times those in each session in which every asset fills or is
    not held by anyone. A run begins where this product is below ``forgotten``, but at most a chunk
    before.

    Args:
        table: market and costs.
        gross: gross exposure to expect.
        chunk: bars in a chunk.
        forgotten: part of an error that may be left.
        at_fill: targets are weights of the equity at the fill.
    """
    assets, _, sessions = table
    shrink = (assets[:, 3] + np.abs(assets[:, 4])).max(-1)
    if not at_fill:
        night = (np.abs(assets[:, 5]) + assets[:, 6]).max(-1)
        shrink[1:] += night[:-1] + sessions[1:, :2].sum(-1)
    fills = assets[:, 0] > 0
    free = (fills | (assets[:, 2] == 0) | ~np.logical_or.accumulate(fills)).all(-1)
    begins = []
    for first in range(0, len(assets) - 1, chunk):
        bar, left = first, 1.0
        while bar > max(0, first - chunk) and left > forgotten:
            left *= gross * shrink[bar] if free[bar] else 1.0
            bar -= 1
        begins.append(bar)
    return np.array(begins)


def _check(table: "MarketTable", targets: Tensor, chunk: int) -> None:
    if not has_triton():
        raise AccountingError(
            "a backtest on a GPU needs triton", "none installed", "Install triton, or use the CPU."
        )
    from trading_rlhf.backtest.kernels_cuda import interpreted

    n_bars, _, n_assets = table.assets.shape
    fits = targets.ndim == 3 and tuple(targets.shape[1:]) == (n_bars, n_assets)
    if not fits or targets.dtype not in _EQUAL:
        raise AccountingError(
            f"targets must be float64 or float32 of shape [B, {n_bars}, {n_assets}]",
            f"{targets.dtype}, {tuple(targets.shape)}",
            "Convert them, with one row per bar and one column per symbol.",
        )
    if targets.device.type != "cuda" and not interpreted():
        raise AccountingError(
            "targets must be on a GPU", str(targets.device), "Move them, or use the CPU backtest."
        )
    if chunk < 1:
        raise AccountingError("a chunk must have bars", str(chunk), "Give 1 or more.")
