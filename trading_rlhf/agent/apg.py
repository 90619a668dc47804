"""Analytic policy gradient: the law is differentiable, so the return is too.

Back-propagation through a short rollout of the simulated market (Freeman et al. 2021, Brax,
arXiv 2106.13281, section 4), for S stacked policies at once. With a desk, the trades it would
refuse shrink in the rollout itself: profit counts only on what executes, when it executes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent.policy import Policy
from trading_rlhf.env import (
    GateConfig,
    MarketTensors,
    advance,
    carry,
    draw_answers,
    no_orders,
    review,
)
from trading_rlhf.errors import ConfigError
from trading_rlhf.types import Desk, RewardFn

__all__ = ["TrainConfig", "Training", "start_training", "train"]


class TrainConfig(BaseModel):
    """Settings of the analytic policy gradient."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(250, ge=1, description="Gradient steps.")
    learning_rate: float = Field(3e-3, gt=0, description="AdamW's, falling linearly.")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's decoupled decay.")
    horizon: int = Field(24, ge=2, description="Bars of each rollout.")
    batch: int = Field(48, ge=1, description="Rollouts per gradient step.")
    risk_aversion: float = Field(5.0, ge=0, description="Weight of squared log growth.")
    gradient_clip: float = Field(1.0, gt=0, description="Largest gradient norm of one policy.")
    trust_region: float = Field(
        0.5,
        gt=0,
        description="With an anchor: a policy stops changing once its targets differ from the "
        "anchor's by more than this (mean sum of absolute weights).",
    )


@dataclass
class Training:
    """A training in progress; everything needed to go on is in here.

    Attributes:
        policy: S stacked policies.
        optimizer: AdamW over them.
        generator: draws the rollouts.
        iteration: gradient steps done.
        frozen: ``[S]`` policies that reached the trust region.
        history: mean reward of each policy by iteration, ``[S]`` lists.
    """

    policy: Policy
    optimizer: torch.optim.AdamW
    generator: torch.Generator
    frozen: Tensor
    iteration: int = 0
    history: list[list[float]] = field(default_factory=list)


def start_training(policy: Policy, config: TrainConfig, generator: torch.Generator) -> Training:
    """Prepare a training of ``policy`` (changed in place)."""
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return Training(policy, optimizer, generator, torch.zeros(policy.members, dtype=torch.bool))


def train(
    training: Training,
    market: MarketTensors,
    bars: range,
    costs: CostModel,
    config: TrainConfig,
    reward_fn: RewardFn,
    *,
    desk: Desk | None = None,
    gate: GateConfig | None = None,
    anchor: Policy | None = None,
    until: int | None = None,
    on_step: Callable[[int], None] | None = None,
    capital: float = 1e6,
) -> Training:
    """Run gradient steps up to ``until`` (or the configured number).

    Args:
        training: from ``start_training`` or a checkpoint; changed in place.
        market: prices and features; money is stepped in float32.
        bars: decision bars that may be visited; their outcomes lie within ``bars`` too.
        costs: cost model.
        config: settings.
        reward_fn: what is maximised per step.
        desk: probability of approval for each proposed trade; None executes everything.
        gate: how the desk acts and how long its reviews take, which holds without a desk, too.
        anchor: policy from which the trust region is measured.
        until: stop after this many iterations in all.
        on_step: called with the iteration after each step.
        capital: equity at the start of a rollout (USD), for costs in USD.

    Returns:
        The same training.

    Raises:
        ConfigError: the window is shorter than a rollout.
    """
    if len(bars) < config.horizon + 2:
        raise ConfigError(
            f"training needs at least horizon + 2 = {config.horizon + 2} bars",
            f"{len(bars)} bars",
            "Use more data or a shorter horizon.",
        )
    market = market.to(torch.float32)
    gate = gate if gate is not None else GateConfig()
    last = min(until if until is not None else config.iterations, config.iterations)
    for iteration in range(training.iteration, last):
        rate = config.learning_rate * (1.0 - iteration / config.iterations) + 1e-4
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        window = _draw_windows(bars, config, training.generator)
        rewards, shift = _rollout(
            training.policy, market, window, costs, reward_fn, desk, gate, anchor,
            training.generator, capital,
        )  # fmt: skip
        training.optimizer.zero_grad()
        # Rewards are basis points of growth; the factor keeps Adam's epsilon negligible.
        (-1000.0 * rewards).sum().backward()  # type: ignore[no-untyped-call]
        _clip_each(training.policy, config.gradient_clip)
        _step_unfrozen(training)
        training.frozen |= shift > config.trust_region
        training.history.append(rewards.detach().tolist())
        training.iteration = iteration + 1
        if on_step is not None:
            on_step(training.iteration)
    return training


def _draw_windows(bars: range, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """``[B, K + 1]`` consecutive bars; the first only sets the starting weights."""
    starts = torch.randint(
        bars.start + 1, bars.stop - config.horizon, (config.batch,), generator=generator
    )
    return starts[:, None] + torch.arange(-1, config.horizon)


def _rollout(
    policy: Policy,
    market: MarketTensors,
    window: Tensor,
    costs: CostModel,
    reward_fn: RewardFn,
    desk: Desk | None,
    gate: GateConfig,
    anchor: Policy | None,
    generator: torch.Generator,
    capital: float,
) -> tuple[Tensor, Tensor]:
    """Mean reward per step ``[S]`` and the distance ``[S]`` from the anchor's targets."""
    features = market.features[window]
    encoded = policy.encode_bars(market.features, window)
    n_assets = features.shape[-2]
    shape = torch.Size((policy.members, window.shape[0], n_assets))
    with torch.no_grad():
        held = policy.decide(encoded[:, :, 0], policy.before(shape)).target
        anchored = None if anchor is None else anchor.encode_bars(market.features, window[:, -2])
    orders, cooldown = no_orders(held), torch.zeros(shape)
    equity = torch.full(shape[:2], capital) if costs.needs_equity else None
    total = torch.zeros(shape[:2])
    shift = torch.zeros(policy.members)
    horizon = window.shape[1] - 1
    for step in range(horizon):
        t = window[:, step + 1]
        # A new target is compared with what is held and ordered, so that is what it starts from.
        own = held if gate.immediate else held + orders.pending
        target = policy.decide(encoded[:, :, step + 1], own).target
        if anchor is not None and anchored is not None and step == horizon - 2:
            with torch.no_grad():
                other = anchor.decide(anchored, own).target
                shift = (target - other).abs().sum(-1).mean(-1)
        ask = None if desk is None else partial(desk, features[:, step + 1], held)
        answer = review(
            held, orders, cooldown, target, gate, policy.config.max_gross,
            min_trade=0.0, ask=ask, soft=True, answered=draw_answers(gate, shape, generator),
        )  # fmt: skip
        held, growth = advance(market, t, held, answer.executed, costs, equity)
        orders, cooldown = answer.orders, answer.cooldown
        change = answer.change
        if not gate.immediate:
            orders = carry(orders, market, t, growth, gate.oldest_wait)
            # Each proposal counts once, not again at every close at which it waits.
            change = torch.where(answer.shown, change, 0.0)
        if equity is not None:
            equity = equity * growth
        total = total + reward_fn(growth.clamp(min=1e-6).log(), change, answer.approval)
    return (total / horizon).mean(-1), shift


def _clip_each(policy: Policy, limit: float) -> None:
    """Clip the gradient norm of every stacked policy by itself."""
    gradients = [p.grad for p in policy.parameters() if p.grad is not None]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    scale = (limit / (norm + 1e-9)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, 1, 1))


def _step_unfrozen(training: Training) -> None:
    before = [p.detach().clone() for p in training.policy.parameters()]
    training.optimizer.step()
    if bool(training.frozen.any()):
        rows = training.frozen.view(-1, 1, 1)
        with torch.no_grad():
            for parameter, old in zip(training.policy.parameters(), before, strict=True):
                parameter.copy_(torch.where(rows, old, parameter))
