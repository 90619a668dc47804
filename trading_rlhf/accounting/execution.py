"""What an order meets at the fill: volume, cash and whole shares, and what it costs there.

The plain law needs none of this; it is called only where a ``CostModel`` has such a rule. Clipping
is piecewise linear and has gradients; rounding to whole shares passes them through unchanged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.accounting.costs import BPS, CostModel, ImpactModel, ShareCommission
from trading_rlhf.errors import AccountingError

__all__ = ["FillBar", "limit_orders", "order_costs", "whole_orders"]

_CLOSES = 1e-6
"""A change that leaves less than this share of a position closes it."""


@dataclass(frozen=True)
class FillBar:
    """What the USD rules need to know of the bar in which orders fill.

    Attributes:
        equity: ``[...]`` equity at the fill (USD).
        price: ``[..., N]`` price as traded at which orders fill (USD a share).
        volume: ``[..., N]`` traded in the bar, at that price (USD).
        daily_volume: ``[..., N]`` average daily volume known at the decision (USD); 0 = unknown.
        volatility: ``[..., N]`` daily standard deviation of returns known at the decision.
    """

    equity: Tensor
    price: Tensor
    volume: Tensor
    daily_volume: Tensor
    volatility: Tensor

    @property
    def scale(self) -> Tensor:
        """``[..., 1]`` equity to divide by; 1 where the account is ruined and nothing trades."""
        alive = self.equity > 0
        return torch.where(alive, self.equity, torch.ones_like(self.equity)).unsqueeze(-1)


def order_costs(change: Tensor, costs: CostModel, bar: FillBar | None) -> Tensor:
    """Cost of each order (fraction of equity), ``[..., N]``.

    Args:
        change: ``[..., N]`` traded weight (fraction of equity at the fill, signed).
        costs: the cost model.
        bar: the bar of the fill; needed for commission by the share and impact.

    Raises:
        AccountingError: the cost model needs the bar.
    """
    if bar is None:
        if costs.share_commission is not None or costs.impact is not None:
            raise AccountingError(
                "commission by the share and impact need the bar of the fill",
                "none",
                "Pass a FillBar with equity in USD.",
            )
        return costs.rate(change) * change.abs()
    impact = _impact(change, costs.impact, bar)
    cost = costs.rate(change, impact) * change.abs()
    if costs.share_commission is None:
        return cost
    adverse = costs.adverse_rate(change) + impact
    slipped = change.abs() * (1.0 + adverse * change.sign())
    return cost + _share_fee(change.abs(), slipped, costs.share_commission, bar)


def limit_orders(
    held: Tensor,
    target: Tensor,
    costs: CostModel,
    bar: FillBar | None,
    cash: Tensor,
    cost_scale: Tensor | float = 1.0,
) -> Tensor:
    """Cut orders to what volume and cash allow; what is cut off does not fill.

    Args:
        held: ``[..., N]`` weights just before the fill (fraction of equity at the fill).
        target: ``[..., N]`` weights wanted (same unit).
        costs: the cost model.
        bar: the bar of the fill; needed where ``costs.needs_equity``.
        cash: ``[...]`` cash before the fill (fraction of equity).
        cost_scale: ``[...]`` multiplies the costs of the trades.

    Returns:
        ``[..., N]`` weights that are reached, before costs.
    """
    change = target - held
    if costs.impact is not None and bar is not None:
        tradable = torch.where(bar.daily_volume > 0, bar.volume, torch.zeros_like(bar.volume))
        cap = costs.impact.participation * tradable / bar.scale
        most = _floor_shares(cap, bar) if costs.whole_shares else cap
        change = torch.where(change.abs() > cap, change.sign() * most, change)
    if costs.cash_account:
        change = _clip_buys(change, costs, bar, cash, cost_scale)
    return held + change


def whole_orders(change: Tensor, held: Tensor, equity: Tensor, price: Tensor) -> Tensor:
    """Round orders to whole shares, toward zero; an order that closes a position is left whole.

    Args:
        change: ``[..., N]`` orders (fraction of equity, signed).
        held: ``[..., N]`` weights held (fraction of equity).
        equity: ``[...]`` equity (USD).
        price: ``[..., N]`` price as traded (USD a share).

    Returns:
        ``[..., N]`` rounded orders; the gradient is that of ``change``.
    """
    alive = equity > 0
    per_share = price / torch.where(alive, equity, torch.ones_like(equity)).unsqueeze(-1)
    closes = (held + change).abs() <= _CLOSES * held.abs()
    return torch.where(closes, change, _whole(change, per_share))


def _whole(amount: Tensor, per_share: Tensor) -> Tensor:
    # An amount of whole shares must not lose one to the rounding of its division.
    nearly = 1e-9 if amount.dtype == torch.float64 else 1e-6
    shares = (amount.detach() / per_share.detach() * (1.0 + nearly)).trunc()
    return amount + (shares * per_share.detach() - amount.detach())


def _floor_shares(amount: Tensor, bar: FillBar) -> Tensor:
    return _whole(amount, bar.price / bar.scale)


def _impact(change: Tensor, impact: ImpactModel | None, bar: FillBar) -> Tensor | float:
    if impact is None:
        return 0.0
    traded = change.abs() * bar.scale
    return impact.rate(traded, bar.daily_volume, bar.volatility)


def _share_fee(
    notional: Tensor, slipped: Tensor, commission: ShareCommission, bar: FillBar
) -> Tensor:
    """Fee of each order (fraction of equity): by the share, at least and at most so much."""
    fee = notional * (commission.per_share_usd / bar.price)
    least = commission.minimum_usd / bar.scale
    return torch.minimum(torch.maximum(fee, least), slipped * (commission.maximum_bps * BPS))


def _clip_buys(
    change: Tensor,
    costs: CostModel,
    bar: FillBar | None,
    cash: Tensor,
    cost_scale: Tensor | float,
) -> Tensor:
    """Sells first; then buys from the smallest on, while cash lasts (costs included).

    A buy that does not fit takes what is left and later ones get nothing. Impact is reserved at
    the size that was wanted.
    """
    scale = cost_scale.unsqueeze(-1) if isinstance(cost_scale, Tensor) else cost_scale
    each = order_costs(change, costs, bar) * scale
    buys, sells = change.clamp(min=0), (-change).clamp(min=0)
    selling = sells > 0
    received = torch.where(selling, sells - each, torch.zeros_like(each)).sum(-1, keepdim=True)
    need = torch.where(selling, torch.zeros_like(each), buys + each)
    order = buys.detach().argsort(-1)
    sorted_need = need.gather(-1, order)
    before = (sorted_need.cumsum(-1) - sorted_need).gather(-1, order.argsort(-1))
    left = (cash.unsqueeze(-1) + received - before).clamp(min=0)
    granted = _affordable(left, change, costs, bar, scale)
    if costs.whole_shares and bar is not None:
        granted = _floor_shares(granted, bar)
    return torch.where(need > left, granted, change)


def _affordable(
    left: Tensor, change: Tensor, costs: CostModel, bar: FillBar | None, scale: Tensor | float
) -> Tensor:
    """Weight that ``left`` buys, costs included."""
    impact = _impact(change, costs.impact, bar) if bar is not None else 0.0
    price = 1.0 + scale * costs.rate(change, impact)
    commission = costs.share_commission
    if commission is None:
        return left / price
    if bar is None:
        raise AccountingError(
            "a commission by the share needs equity", "none", "Pass equity in USD."
        )
    by_share = left / (price + scale * commission.per_share_usd / bar.price)
    at_least = (left - scale * commission.minimum_usd / bar.scale) / price
    slipped = 1.0 + costs.adverse_rate(change) + impact
    at_most = left / (price + scale * slipped * (commission.maximum_bps * BPS))
    return torch.maximum(torch.minimum(by_share, at_least), at_most)
