"""The one interface of training, whatever the method."""

from collections.abc import Callable

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent.apg import apg_step
from trading_rlhf.agent.policy import Policy
from trading_rlhf.agent.ppo import ppo_step
from trading_rlhf.agent.training import Task, TrainConfig, Training, require_sound
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.errors import ConfigError
from trading_rlhf.types import Desk, RewardFn

__all__ = ["train"]


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
    """Run iterations of ``config.method`` up to ``until`` (or the configured number).

    Stacked policies see the same bars and the same chance, so they differ by their first weights
    only and each is trained as it would be alone.

    Args:
        training: from ``start_training`` or a checkpoint; changed in place.
        market: prices and features; money is stepped in float32.
        bars: decision bars that may be visited; their outcomes lie within ``bars`` too.
        costs: cost model.
        config: settings.
        reward_fn: what is maximised per step.
        desk: probability of approval for each proposed trade; None executes everything. apg lets
            refused trades shrink smoothly, ppo lets the desk decide.
        gate: how the desk acts and how long its reviews take, which holds without a desk, too.
        anchor: policy from which the trust region is measured.
        until: stop after this many iterations in all.
        on_step: called with the iteration after each step.
        capital: equity at the start of a rollout (USD), for costs in USD.

    Returns:
        The same training.

    Raises:
        ConfigError: the window is shorter than a rollout, or the training was started for another
            method.
        TrainingError: rewards, gradients or weights explode; the iteration does not count.
    """
    if len(bars) < config.horizon + 2:
        raise ConfigError(
            f"training needs at least horizon + 2 = {config.horizon + 2} bars",
            f"{len(bars)} bars",
            "Use more data or a shorter horizon.",
        )
    if (training.critic is not None) != (config.method == "ppo"):
        raise ConfigError(
            f"a training by {config.method} must be started for it",
            "one without a critic" if training.critic is None else "one with a critic",
            "Pass the same settings to start_training.",
        )
    gate = gate if gate is not None else GateConfig()
    task = Task(market.to(torch.float32), costs, reward_fn, desk, gate, anchor, capital)
    step = ppo_step if config.method == "ppo" else apg_step
    last = min(until if until is not None else config.iterations, config.iterations)
    for iteration in range(training.iteration, last):
        for group in training.optimizer.param_groups:
            group["lr"] = config.rate(iteration)
        window = _draw_windows(bars, config, training.generator)
        training.figures.clear()
        rewards, shift = step(training, task, window, config)
        require_sound(training, rewards)
        training.frozen |= shift > config.trust_region
        training.history.append(rewards.tolist())
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
