"""One close at the desk: what is proposed, what waits, what passes and what is remembered.

Environment, walk and trainer all decide here, so that a policy trains under the desk it will face.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.accounting import settle
from trading_rlhf.env.gate import (
    GateConfig,
    hard_gate,
    is_asked,
    is_cooling,
    remember_refusals,
    smooth_gate,
)
from trading_rlhf.env.orders import Orders, is_due, is_new, place, remove, wanted_order

__all__ = ["Reviewed", "review"]


@dataclass(frozen=True)
class Reviewed:
    """What comes of a close.

    Attributes:
        change: ``[..., N]`` change of weight that leads to the target (fraction of equity).
        shown: ``[..., N]`` bool, changes that were put to the desk.
        approval: ``[..., N]`` probability of approval of each change; None without a desk.
        executed: ``[..., N]`` settled change that is ordered for the next session.
        orders: what is still under review.
        cooldown: ``[..., N]`` bars for which a refused side rests, after this one.
    """

    change: Tensor
    shown: Tensor
    approval: Tensor | None
    executed: Tensor
    orders: Orders
    cooldown: Tensor


def review(
    held: Tensor,
    orders: Orders,
    cooldown: Tensor,
    target: Tensor,
    gate: GateConfig,
    max_gross: float,
    *,
    min_trade: float,
    ask: Callable[[Tensor], Tensor] | None = None,
    allowed: Tensor | None = None,
    answered: Tensor | None = None,
    threshold: float | None = None,
    soft: bool = False,
) -> Reviewed:
    """Put a target to the desk and settle what its finished reviews let through.

    Sells and buys that pass are settled together within the cash there is. A refused side rests,
    and so does one of which a resize refused a part. What waits for its answer is ``orders``.

    Args:
        held: ``[..., N]`` weights held (fraction of equity).
        orders: what is under review.
        cooldown: ``[..., N]`` bars left, signed by the refused side.
        target: ``[..., N]`` weights wanted; NaN leaves held and pending as they are.
        gate: the desk's rules.
        max_gross: limit of gross exposure (fraction of equity).
        min_trade: smallest change that is proposed (fraction of equity).
        ask: probability of approval ``[..., N]`` of target weights; None approves everything.
        allowed: ``[..., N]`` bool, what may be proposed besides; None is everything.
        answered: from ``draw_answers``.
        threshold: of approval; None is the gate's.
        soft: the smooth gate of training instead of the hard decision.
    """
    change = wanted_order(orders, held, target)
    if ask is None and allowed is None and gate.immediate and min_trade == 0.0:
        # Nobody is asked, so nothing waits and nothing is refused.
        everything = torch.ones_like(change, dtype=torch.bool)
        executed = settle(held, change, max_gross) - held
        return Reviewed(change, everything, None, executed, orders, cooldown)
    asked = is_asked(cooldown, change, min_trade) if min_trade else ~is_cooling(cooldown, change)
    if not gate.immediate:
        asked &= is_new(orders, change, min_trade)
    if allowed is not None:
        asked &= allowed
    threshold = gate.threshold if threshold is None else threshold
    approval, share = _answer(ask, gate, held, change, threshold, soft)
    if gate.immediate:
        due, answer = asked, Orders(change, orders.wait, share)
    else:
        orders = place(orders, change, asked, share, gate.delay, min_trade)
        due, answer = is_due(orders, answered), orders
        orders = remove(orders, due)
    passed = torch.where(due, answer.pending * answer.share, 0.0)
    executed = settle(held, passed, max_gross) - held
    with torch.no_grad():
        refused = due & _refused(answer, gate, soft)
        cooldown = remember_refusals(cooldown, answer.pending, refused, gate.cooldown)
    return Reviewed(change, asked, approval, executed, orders, cooldown)


def _answer(
    ask: Callable[[Tensor], Tensor] | None,
    gate: GateConfig,
    held: Tensor,
    change: Tensor,
    threshold: float,
    soft: bool,
) -> tuple[Tensor | None, Tensor]:
    """Approval of each change (None without a desk) and the share of it that passes."""
    if ask is None:
        return None, torch.ones_like(change)
    approval = ask(held + change)
    if soft:
        return approval, smooth_gate(approval, gate)
    return approval, hard_gate(approval, gate, ask, held, change, threshold)


def _refused(answer: Orders, gate: GateConfig, soft: bool) -> Tensor:
    """Whether the desk refused an order, or a part of it."""
    if soft:
        # Half passes at the threshold; changes too small to be proposed are never refused.
        return (answer.share <= 0.5) & (answer.pending.abs() >= gate.min_trade)
    return answer.share < 1.0
