"""Rollouts of exploring policies under the hard gate."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trading_rlhf.agent.critic import Critic
from trading_rlhf.agent.distributed import Ranks, draw_own_answers
from trading_rlhf.agent.policy import Policy
from trading_rlhf.agent.training import Task
from trading_rlhf.env import (
    Orders,
    Reviewed,
    advance,
    carry,
    no_orders,
    review,
)
from trading_rlhf.env.orders import LEAST_ORDER

__all__ = ["Rollouts", "explore", "gather_rollouts", "log_probability"]

_PACE = 2.0
"""Logits of a gate in one unit of its exploration."""


@dataclass(frozen=True)
class Rollouts:
    """K decisions in B rollouts of S policies.

    Attributes:
        t: ``[K + 1, B]`` bars; the last is after the last decision.
        own: ``[K + 1, S, B, N]`` weights held and ordered (fraction of equity).
        score: ``[K, S, B, N]`` drawn scores before the cut.
        pace: ``[K, S, B, N]`` drawn logits of the gates that were used.
        buys: ``[K, S, B, N]`` bool, whether that was the gate of buys.
        log_prob: ``[K, S, B]`` log density of what was drawn.
        reward: ``[K, S, B]``.
        done: ``[K, S, B]`` bool, ruined; the account starts anew, flat.
        shift: ``[S]`` distance of the mean targets from the anchor's.
    """

    t: Tensor
    own: Tensor
    score: Tensor
    pace: Tensor
    buys: Tensor
    log_prob: Tensor
    reward: Tensor
    done: Tensor
    shift: Tensor


@dataclass(frozen=True)
class _Accounts:
    """Accounts ``[S, B]`` at a close: weights, orders, resting sides, equity in USD if needed."""

    held: Tensor
    orders: Orders
    cooldown: Tensor
    equity: Tensor | None


def log_probability(
    critic: Critic,
    tilt: float,
    score: Tensor,
    paces: Tensor,
    drawn: Tensor,
    pace: Tensor,
    buys: Tensor,
) -> Tensor:
    """Log density ``[S, M]`` of drawn scores and gates.

    A gate that was not used does not count; which one is follows from the score.

    Args:
        critic: how widely the policies explore.
        tilt: the largest score.
        score: ``[S, M, N]`` means.
        paces: ``[S, M, N, 2]`` means.
        drawn: ``[S, M, N]`` scores before the cut.
        pace: ``[S, M, N]`` drawn logits.
        buys: ``[S, M, N]`` bool.
    """
    log_std = critic.log_std.unsqueeze(1)
    std = log_std.exp()
    mean = torch.where(buys, paces[..., 0], paces[..., 1])
    off = (drawn - score) / (tilt * std[..., 0])
    wrong = (pace - mean) / (_PACE * std[..., 1])
    constant = math.log(2.0 * math.pi * tilt * _PACE)
    each = -0.5 * (off.square() + wrong.square()) - log_std.sum(-1) - constant
    return each.sum(-1)


@torch.no_grad()
def explore(
    policy: Policy, critic: Critic, task: Task, window: Tensor, generator: torch.Generator
) -> Rollouts:
    """Roll out over this rank's rows of ``window`` ``[B, K + 1]``, all of them by default.

    The first bar only sets the starting weights.
    """
    market, share = task.market, task.ranks.share(len(window))
    window = window[share.rows]
    encoded = policy.encode_bars(market.features, window)
    batch, n_assets = len(window), market.shape[1]
    shape = torch.Size((policy.members, batch, n_assets))
    held = policy.decide(encoded[:, :, 0], policy.before(shape)).target
    equity = torch.full(shape[:2], task.capital) if task.costs.needs_equity else None
    now = _Accounts(held, no_orders(held), torch.zeros(shape), equity)
    horizon = window.shape[1] - 1
    # All members share what chance gives, as they share the bars.
    noise = torch.randn(horizon, share.whole, n_assets, 2, generator=generator)[:, share.rows]
    tilt, std = policy.config.tilt, critic.log_std.exp()
    shift = torch.zeros(policy.members)
    rows: list[tuple[Tensor, ...]] = []
    for step in range(horizon):
        t, seen = window[:, step + 1], encoded[:, :, step + 1]
        own = now.held if task.gate.immediate else now.held + now.orders.pending
        score, paces = policy.mean_action(seen, own)
        if task.anchor is not None and step == horizon - 2:
            mean = policy.act(own, score, paces).target
            shift = (mean - _targets(task.anchor, market.features, t, own)).abs().sum(-1).mean(-1)
        drawn = score + tilt * std[..., :1] * noise[step, ..., 0]
        paced = paces + _PACE * std[..., 1:, None] * noise[step, ..., 1:]
        decision = policy.act(own, drawn.clamp(-tilt, tilt), paced)
        buys = decision.goal > own
        pace = torch.where(buys, paced[..., 0], paced[..., 1])
        log_prob = log_probability(critic, tilt, score, paces, drawn, pace, buys)
        answered = draw_own_answers(task.gate, shape, share, generator)
        answer = _answer(task, policy.config.max_gross, t, now, decision.target, answered)
        now, reward, done = _move(task, t, now, answer)
        rows.append((own, drawn, pace, buys, log_prob, reward, done))
    own, drawn, pace, buys, log_prob, reward, done = (
        torch.stack(column) for column in zip(*rows, strict=True)
    )
    last = now.held if task.gate.immediate else now.held + now.orders.pending
    own = torch.cat([own, last.unsqueeze(0)])
    return Rollouts(_visited(window), own, drawn, pace, buys, log_prob, reward, done, shift)


def gather_rollouts(seen: Rollouts, window: Tensor, ranks: Ranks) -> Rollouts:
    """Put the rollouts of all ranks over ``window`` ``[B, K + 1]`` together, in its order."""
    if ranks.count == 1:
        return seen
    share = ranks.share(len(window))
    (shift,) = ranks.average([seen.shift], share.weight)
    columns = (seen.own, seen.score, seen.pace, seen.buys, seen.log_prob, seen.reward, seen.done)
    own, drawn, pace, buys, log_prob, reward, done = ranks.gather(columns, share, 2)
    return Rollouts(_visited(window), own, drawn, pace, buys, log_prob, reward, done, shift)


def _visited(window: Tensor) -> Tensor:
    """``[K + 1, B]`` bars of the decisions in ``window`` ``[B, K + 1]``, and the one after."""
    return torch.cat([window[:, 1:].T, window[:, -1:].T + 1])


def _targets(policy: Policy, features: Tensor, t: Tensor, own: Tensor) -> Tensor:
    """Where a policy would move what is held and ordered."""
    return policy.decide(policy.encode_bars(features, t), own).target


def _answer(
    task: Task,
    max_gross: float,
    t: Tensor,
    now: _Accounts,
    target: Tensor,
    answered: Tensor | None,
) -> Reviewed:
    """What the desk makes of the targets; it decides as it does in the environment."""
    gate = task.gate
    ask, allowed, min_trade = None, None, 0.0
    if task.desk is not None:
        ask = partial(task.desk, task.market.features[t], now.held)
        # A trade in an asset that does not trade now cannot be judged from a stale price.
        allowed, min_trade = task.market.fillable[t], gate.min_trade
    elif not gate.immediate:
        allowed = None if task.market.listed is None else task.market.listed[t]
        min_trade = LEAST_ORDER
    return review(
        now.held, now.orders, now.cooldown, target, gate, max_gross,
        min_trade=min_trade, ask=ask, allowed=allowed, answered=answered,
    )  # fmt: skip


def _move(
    task: Task, t: Tensor, now: _Accounts, answer: Reviewed
) -> tuple[_Accounts, Tensor, Tensor]:
    """Accounts at the next close, reward ``[S, B]`` and whether they were ruined ``[S, B]``."""
    held, growth = advance(task.market, t, now.held, answer.executed, task.costs, now.equity)
    # Each proposal counts once, and what is not put to the desk does not count.
    change = torch.where(answer.shown, answer.change, 0.0)
    reward = task.reward_fn(growth.clamp(min=1e-6).log(), change, answer.approval)
    done = growth <= 0
    orders = answer.orders
    if not task.gate.immediate:
        orders = carry(orders, task.market, t, growth, task.gate.oldest_wait)
    equity = None
    if now.equity is not None:
        equity = torch.where(done, task.capital, now.equity * growth)
    # Ruin leaves nothing held and nothing under review.
    cooldown = torch.where(done.unsqueeze(-1), 0.0, answer.cooldown)
    return _Accounts(held, orders, cooldown, equity), reward, done
