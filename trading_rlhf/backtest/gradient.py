"""The backtest as a differentiable function of its targets, with a derivative written by hand."""

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray

if TYPE_CHECKING:
    from trading_rlhf.backtest.kernels_cpu import MarketTable

__all__ = ["backtest_growth"]

_IN_CACHE = 1280
"""Bars times assets of a chunk."""


def backtest_growth(
    table: "MarketTable", targets: Tensor, max_gross: float | None = 0.98
) -> Tensor:
    """Growth of equity from close to close, differentiable by the targets.

    The sum of logarithms is the log growth of the strategy, the running product its equity. The
    derivative is torch's own through ``settle`` and ``advance``, except that a ruined account has
    none from its last session on.

    Args:
        table: ``market_table(market, costs)``.
        targets: ``[B, T, N]`` float64 on the processor, weights decided at each close (fraction of
            equity); NaN holds. Orders are sized at the close.
        max_gross: limit of gross exposure; None for none.

    Returns:
        ``[B, T-1]`` equity at the close of t+1 over equity at the close of t; 0 at ruin, 1 after.

    Raises:
        AccountingError: targets have another shape, type or device.
    """
    n_bars, _, n_assets = table.assets.shape
    fits = targets.ndim == 3 and tuple(targets.shape[1:]) == (n_bars, n_assets)
    if not fits or targets.dtype != torch.float64 or targets.device.type != "cpu":
        raise AccountingError(
            f"targets must be float64 on the processor, of shape [B, {n_bars}, {n_assets}]",
            f"{targets.dtype} on {targets.device}, {tuple(targets.shape)}",
            "Convert them, with one row per bar and one column per symbol.",
        )
    limit = math.inf if max_gross is None else max_gross
    growth: Tensor = _Growth.apply(targets, table, limit)  # type: ignore[no-untyped-call]
    return growth


class _Growth(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, targets: Tensor, table: "MarketTable", max_gross: float) -> Tensor:
        from trading_rlhf.backtest.kernels_gradient import forward_pass, new_workspace
        from trading_rlhf.backtest.vectors import LANES

        n_strategies, n_bars, n_assets = targets.shape
        # Targets and weights of a chunk of eight strategies stay in the second cache.
        chunk = max(4, min(64, _IN_CACHE // n_assets))
        sizes = (n_strategies, n_bars, n_assets, chunk)
        growth, shares, rates = (np.empty((n_strategies, n_bars - 1)) for _ in range(3))
        blocks, chunks = -(-n_strategies // LANES), -(-(n_bars - 1) // chunk)
        starts = np.empty((blocks, chunks, n_assets * LANES))
        weights = targets.detach().contiguous()
        forward_pass(
            table, weights.numpy().reshape(-1), sizes, max_gross, growth.reshape(-1),
            shares.reshape(-1), rates.reshape(-1), starts, new_workspace(n_assets, chunk),
        )  # fmt: skip
        by_bar = torch.from_numpy(growth)
        ctx.save_for_backward(weights, by_bar)
        ctx.given, ctx.notes = (table, sizes, max_gross), (shares, rates, starts)
        return by_bar

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        from trading_rlhf.backtest.kernels_gradient import new_workspace
        from trading_rlhf.backtest.kernels_gradient_back import backward_pass

        weights, growth = ctx.saved_tensors
        (table, sizes, max_gross), (shares, rates, starts) = ctx.given, ctx.notes
        gradient = _room(weights.numel())
        backward_pass(
            table, weights.numpy().reshape(-1), sizes, max_gross, growth.numpy().reshape(-1),
            shares.reshape(-1), rates.reshape(-1), slope.contiguous().numpy().reshape(-1), starts,
            new_workspace(*sizes[2:]), gradient,
        )  # fmt: skip
        return torch.from_numpy(gradient).view(weights.shape), None, None


_kept: list[FloatArray] = []


def _room(numbers: int) -> FloatArray:
    """Memory for a gradient, beginning on a line of the cache.

    Fresh pages cost a third of the way back, so the last gradient's memory is kept and given out
    again once nobody holds that gradient.
    """
    spare = 8
    room = _kept.pop() if _kept else np.empty(0)
    # Its name here and the call's: nobody else looks at it.
    if room.size != numbers + spare or sys.getrefcount(room) > 2:
        # numpy's large arrays lie in huge pages, which are ten times faster to have.
        room = np.empty(numbers + spare)
    _kept.append(room)
    first = -room.ctypes.data % (8 * spare) // 8
    return room[first : first + numbers]
