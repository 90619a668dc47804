"""The law: the two functions that move money, and how orders are sized and settled.

Env, backtest, dashboard preview and paper broker all call these. Weights are signed fractions of
equity, returns are price relatives minus one; every function is differentiable and works on any
leading dimensions.
"""

import torch
from torch import Tensor

from trading_rlhf.accounting.costs import CostModel
from trading_rlhf.accounting.execution import FillBar, order_costs

__all__ = ["fill", "mark", "size_at_fill", "settle"]


def fill(held: Tensor, target: Tensor, costs: CostModel, bar: FillBar | None = None) -> Tensor:
    """Cost of moving from held to target at the fill price.

    Args:
        held: ``[..., N]`` weights just before the fill (fraction of equity at the fill).
        target: ``[..., N]`` weights wanted at the fill (same unit).
        costs: the cost model.
        bar: the bar of the fill in USD; needed where ``costs.needs_equity``.

    Returns:
        ``[...]`` cost (fraction of equity at the fill), paid once through ``mark``.
    """
    return order_costs(target - held, costs, bar).sum(-1)


def mark(weights: Tensor, cost: Tensor | float, returns: Tensor) -> tuple[Tensor, Tensor]:
    """Carry weights through one price move.

    Args:
        weights: ``[..., N]`` weights at the start (fraction of equity).
        cost: ``[...]`` trading cost plus carry charged over the move (fraction of equity).
        returns: ``[..., N]`` price relative minus one.

    Returns:
        The weights ``[..., N]`` after the move and growth ``[...]`` = equity after over equity
        before. Growth at or below zero is ruin: growth and weights become exactly 0.
    """
    growth = 1.0 + (weights * returns).sum(-1) - cost
    solvent = growth > 0
    safe = torch.where(solvent, growth, torch.ones_like(growth))
    after = torch.where(
        solvent.unsqueeze(-1), weights * (1.0 + returns) / safe.unsqueeze(-1), weights * 0.0
    )
    return after, torch.where(solvent, growth, growth * 0.0)


def size_at_fill(
    change: Tensor, held_at_fill: Tensor, price_relative: Tensor, growth: Tensor
) -> Tensor:
    """Target weights at the fill for orders that were sized in shares at the close.

    What a reviewer approves is a number of shares, so
    ``target_fill = held_fill + change * (fill / close) * (E_close / E_fill)``.

    Args:
        change: ``[..., N]`` traded weight, sized at the close of the decision (fraction of equity).
        held_at_fill: ``[..., N]`` weights just before the fill (fraction of equity at the fill).
        price_relative: ``[..., N]`` fill price over the decision's close.
        growth: ``[...]`` equity at the fill over equity at that close.

    Returns:
        ``[..., N]`` weights wanted at the fill; no change where equity is ruined.
    """
    alive = growth > 0
    scale = torch.where(alive, 1.0 / torch.where(alive, growth, torch.ones_like(growth)), 0.0)
    return held_at_fill + change * price_relative * scale.unsqueeze(-1)


def settle(held: Tensor, change: Tensor, max_gross: float) -> Tensor:
    """Scale a batch of trades to what cash and gross exposure allow.

    Trades that reduce a position settle in full; buys and new shorts share what is left under
    ``max_gross``. A position already above the limit by drift is not cut, it only cannot grow.

    Args:
        held: ``[..., N]`` weights held (fraction of equity).
        change: ``[..., N]`` wanted change (fraction of equity).
        max_gross: limit of the sum of absolute weights (fraction of equity).

    Returns:
        ``[..., N]`` weights after settlement.
    """
    towards_zero = change * held < 0
    reducing = torch.where(
        towards_zero, change.sign() * torch.minimum(change.abs(), held.abs()), change * 0.0
    )
    opening = change - reducing
    reduced = held + reducing
    room = (max_gross - reduced.abs().sum(-1)).clamp(min=0)
    wanted = opening.abs().sum(-1)
    # The maximum keeps the division, and its gradient, finite where nothing is opened.
    scale = (room / torch.maximum(wanted, torch.full_like(wanted, 1e-12))).clamp(max=1.0)
    return reduced + opening * scale.unsqueeze(-1)
