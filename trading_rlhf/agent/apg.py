"""Analytic policy gradient: the law is differentiable, so the return is too.

Back-propagation through a short rollout of the simulated market (Freeman et al. 2021, Brax,
arXiv 2106.13281, section 4), for S stacked policies at once. With a desk, the trades it would
refuse shrink in the rollout itself: profit counts only on what executes, when it executes.
"""

from functools import partial

import torch
from torch import Tensor

from trading_rlhf.agent.distributed import draw_own_answers
from trading_rlhf.agent.policy import Policy
from trading_rlhf.agent.training import (
    LOSS_PER_REWARD,
    Task,
    TrainConfig,
    Training,
    average_gradients,
    clip_each,
    imitation_loss,
    step_members,
)
from trading_rlhf.env import (
    Orders,
    advance,
    carry,
    no_orders,
    review,
)

__all__ = ["apg_step"]


def apg_step(
    training: Training, task: Task, window: Tensor, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Take one gradient step through rollouts over ``window`` ``[B, K + 1]``.

    Returns:
        Mean reward per bar ``[S]`` before the step, and the distance ``[S]`` of the targets from
        the anchor's (mean sum of absolute weights; 0 without one).
    """
    rewards, shift = _rollout(
        training.policy, task, window, training.generator,
        truncation=config.truncation, entropy=config.entropy,
    )  # fmt: skip
    training.optimizer.zero_grad()
    loss = imitation_loss(training, task, config) - LOSS_PER_REWARD * rewards
    loss.sum().backward()  # type: ignore[no-untyped-call]
    weight = task.ranks.share(len(window)).weight
    rewards, shift = average_gradients(training, task.ranks, weight, rewards.detach(), shift)
    clip_each(training, config.gradient_clip)
    step_members(training)
    return rewards, shift


def _rollout(
    policy: Policy,
    task: Task,
    window: Tensor,
    generator: torch.Generator,
    *,
    truncation: int | None = None,
    entropy: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Mean reward per step ``[S]`` and the distance ``[S]`` from the anchor's targets.

    Both are of this rank's rows of the batch.
    """
    market, gate, anchor = task.market, task.gate, task.anchor
    share = task.ranks.share(len(window))
    window = window[share.rows]
    # Taken apart at once: each bar cut out by itself would send back a gradient of all bars.
    encoded = policy.encode_bars(market.features, window).unbind(2)
    shape = torch.Size((policy.members, window.shape[0], market.shape[1]))
    with torch.no_grad():
        held = policy.decide(encoded[0], policy.before(shape)).target
        anchored = None if anchor is None else anchor.encode_bars(market.features, window[:, -2])
    orders, cooldown = no_orders(held), torch.zeros(shape)
    equity = torch.full(shape[:2], task.capital) if task.costs.needs_equity else None
    total, shift = torch.zeros(shape[:2]), torch.zeros(policy.members)
    horizon = window.shape[1] - 1
    for step in range(horizon):
        if truncation is not None and step % truncation == 0:
            held, orders, equity = _cut(held, orders, equity)
        t = window[:, step + 1]
        # A new target is compared with what is held and ordered, so that is what it starts from.
        own = held if gate.immediate else held + orders.pending
        decision = policy.decide(encoded[step + 1], own)
        target = decision.target
        if anchor is not None and anchored is not None and step == horizon - 2:
            shift = _distance(target, anchor, anchored, own)
        ask = None if task.desk is None else partial(task.desk, market.features[t], held)
        answer = review(
            held, orders, cooldown, target, gate, policy.config.max_gross,
            min_trade=0.0, ask=ask, soft=True,
            answered=draw_own_answers(gate, shape, share, generator),
        )  # fmt: skip
        held, growth = advance(market, t, held, answer.executed, task.costs, equity)
        orders, cooldown, change = answer.orders, answer.cooldown, answer.change
        if not gate.immediate:
            orders = carry(orders, market, t, growth, gate.oldest_wait)
            # Each proposal counts once, not again at every close at which it waits.
            change = torch.where(answer.shown, change, 0.0)
        if equity is not None:
            equity = equity * growth
        total = total + task.reward_fn(growth.clamp(min=1e-6).log(), change, answer.approval)
        if entropy:
            total = total + entropy * _spread(decision.goal)
    return (total / horizon).mean(-1), shift


@torch.no_grad()
def _distance(target: Tensor, anchor: Policy, anchored: Tensor, own: Tensor) -> Tensor:
    """Mean distance ``[S]`` of targets ``[S, B, N]`` from those of the anchor."""
    return (target - anchor.decide(anchored, own).target).abs().sum(-1).mean(-1)


def _cut(
    held: Tensor, orders: Orders, equity: Tensor | None
) -> tuple[Tensor, Orders, Tensor | None]:
    """Accounts as they are, without what led to them: gradients stop here."""
    orders = Orders(orders.pending.detach(), orders.wait.detach(), orders.share.detach())
    return held.detach(), orders, None if equity is None else equity.detach()


def _spread(goal: Tensor) -> Tensor:
    """Entropy ``[...]`` (nats) of goals ``[..., N]`` and the cash beside them."""
    size = goal.abs()
    cash = (1.0 - size.sum(-1, keepdim=True)).clamp(min=0.0)
    shares = torch.cat([size, cash], -1).clamp(min=1e-8)
    return -(shares * shares.log()).sum(-1)
