"""Orders under review: decided at the close of t, filled at the open of t+1+d.

An asset has at most one order under review. It is a number of shares, so as a weight it drifts
like a held one. While it waits, the newest target may shrink or withdraw it, and an order of the
other side supersedes it, with a review of its own. A wish for more waits for the answer: if it
started the review afresh, targets that move a little every bar would never fill.

At each close: ``wanted_order``, ``is_new``, ``place``, then ``is_due`` and ``remove`` for what the
market gets, then ``carry`` through the bar. Without delay every order is due when it is placed.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trading_rlhf.env.dynamics import MarketTensors

__all__ = [
    "LEAST_ORDER",
    "Orders",
    "no_orders",
    "wanted_order",
    "is_new",
    "place",
    "is_due",
    "remove",
    "carry",
]

LEAST_ORDER = 1e-9
"""A smaller change of weight is rounding: it neither waits for a review nor keeps others back."""


@dataclass(frozen=True)
class Orders:
    """Orders under review, at most one per asset.

    Attributes:
        pending: ``[..., N]`` ordered change of weight (fraction of equity at the last close); 0
            where there is no order.
        wait: ``[..., N]`` bars of review left; an answer is due at 0 and below.
        share: ``[..., N]`` share of the order that the desk lets through, fixed when it was placed.
    """

    pending: Tensor
    wait: Tensor
    share: Tensor


def no_orders(held: Tensor) -> Orders:
    """Nothing under review, for accounts that hold ``[..., N]``."""
    nothing = torch.zeros_like(held)
    return Orders(nothing, nothing, nothing)


def wanted_order(orders: Orders, held: Tensor, target: Tensor) -> Tensor:
    """The change of weight that leads to the target.

    Args:
        orders: what is under review.
        held: ``[..., N]`` weights at the close (fraction of equity).
        target: ``[..., N]`` weights wanted (fraction of equity); NaN leaves everything as it is.

    Returns:
        ``[..., N]`` change (fraction of equity).
    """
    return torch.where(target.isnan(), orders.pending, target - held)


def is_new(orders: Orders, wanted: Tensor, min_trade: float = 0.0) -> Tensor:
    """Whether a change needs an order of its own: large enough, and none of its side waits.

    Args:
        orders: what is under review.
        wanted: ``[..., N]`` from ``wanted_order``.
        min_trade: smallest order (fraction of equity).

    Returns:
        ``[..., N]`` bool.
    """
    return (
        (wanted.abs() >= min_trade)
        & (_revises(orders, wanted, min_trade))
        & ~_repeats(orders, wanted)
    )


def place(
    orders: Orders,
    wanted: Tensor,
    asked: Tensor,
    share: Tensor | float,
    delay: int,
    min_trade: float = 0.0,
) -> Orders:
    """Put new orders under review and revise those that wait.

    Args:
        orders: what is under review.
        wanted: ``[..., N]`` from ``wanted_order``.
        asked: ``[..., N]`` bool, the new orders: some or all of ``is_new``.
        share: ``[..., N]`` share of each new order that the desk lets through, 0 to 1.
        delay: bars of review d.
        min_trade: smallest order; smaller revisions are not made (fraction of equity).

    Returns:
        What is under review now.
    """
    shrunk = orders.pending.sign() * torch.minimum(orders.pending.abs(), wanted.abs())
    stays = _repeats(orders, wanted) & (wanted.abs() >= min_trade)
    revised = torch.where(stays, shrunk, 0.0)
    pending = torch.where(_revises(orders, wanted, min_trade), revised, orders.pending)
    return Orders(
        torch.where(asked, wanted, pending),
        torch.where(asked, float(delay), orders.wait),
        torch.where(asked, share, orders.share),
    )


def is_due(orders: Orders, answered: Tensor | None = None) -> Tensor:
    """Whether the review of an order is over at this close.

    Args:
        orders: what is under review.
        answered: ``[..., N]`` bool, whether a review that has lasted long enough is answered now;
            None answers all.

    Returns:
        ``[..., N]`` bool.
    """
    due = (orders.pending != 0) & (orders.wait <= 0)
    return due if answered is None else due & answered


def remove(orders: Orders, due: Tensor) -> Orders:
    """What is still under review when the orders that are due ``[..., N]`` have left.

    They leave for good: what does not fill in the session that follows expires.
    """
    return replace(orders, pending=torch.where(due, 0.0, orders.pending))


def carry(
    orders: Orders, market: MarketTensors, t: Tensor, growth: Tensor, oldest: int | None = None
) -> Orders:
    """Carry orders under review from the close of t to the close of t+1.

    Args:
        orders: what is still under review.
        market: the market.
        t: ``[B]`` (or scalar) bar of the decision.
        growth: ``[..., B]`` growth of equity over the bar, from ``advance``.
        oldest: an order lapses when its wait falls below this; None never.

    Returns:
        The same numbers of shares as weights at the close of t+1, one bar closer to their answer.
    """
    relative = (1.0 + market.overnight[t + 1]) * (1.0 + market.intraday[t + 1])
    alive = (growth > 0).unsqueeze(-1)
    safe = torch.where(growth > 0, growth, torch.ones_like(growth)).unsqueeze(-1)
    pending = torch.where(alive, orders.pending * relative / safe, 0.0)
    wait = orders.wait - 1.0
    if oldest is not None:
        pending = torch.where(wait < oldest, 0.0, pending)
    return Orders(pending, torch.where(pending != 0, wait, 0.0), orders.share)


def _repeats(orders: Orders, wanted: Tensor) -> Tensor:
    """Whether an order of the same side waits already."""
    return orders.pending * wanted > 0


def _revises(orders: Orders, wanted: Tensor, min_trade: float) -> Tensor:
    """Whether what is wanted differs from what waits by as much as an order."""
    return (wanted - orders.pending).abs() >= min_trade
