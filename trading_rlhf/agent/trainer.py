"""The one interface of training, whatever the method."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent.apg import apg_step
from trading_rlhf.agent.distributed import ALONE, Ranks
from trading_rlhf.agent.imitation import Demonstrations
from trading_rlhf.agent.policy import Policy
from trading_rlhf.agent.ppo import ppo_step
from trading_rlhf.agent.training import Task, TrainConfig, Training, require_sound
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.errors import ConfigError
from trading_rlhf.types import Desk, RewardFn

__all__ = ["train"]

_DEMONSTRATIONS = 512
"""Most demonstrations in one step, so that many answers do not slow it."""


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
    ranks: Ranks = ALONE,
    demonstrations: Demonstrations | None = None,
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
        ranks: processes that share each batch; all call this alike and end with the same weights.
        demonstrations: weights that reviewers named for decisions within ``bars``; they count by
            ``config.imitation``.

    Returns:
        The same training.

    Raises:
        ConfigError: the window is shorter than a rollout, the training was started for another
            method, a demonstration lies outside ``bars``, or there are more ranks than rollouts.
        RunError: another rank is lost.
        TrainingError: rewards, gradients or weights explode; the iteration does not count.
    """
    _require_fitting(training, bars, config, ranks)
    gate = gate if gate is not None else GateConfig()
    shown = _require_within(demonstrations, bars) if config.imitation else None
    task = Task(
        market.to(torch.float32), costs, reward_fn, desk, gate, anchor, capital, ranks, shown
    )
    step = ppo_step if config.method == "ppo" else apg_step
    last = min(until if until is not None else config.iterations, config.iterations)
    for iteration in range(training.iteration, last):
        for group in training.optimizer.param_groups:
            group["lr"] = config.rate(iteration)
        window = _draw_windows(bars, config, training.generator)
        training.figures.clear()
        rewards, shift = step(training, _with_some(task, training.generator), window, config)
        require_sound(training, rewards)
        training.frozen |= shift > config.trust_region
        training.history.append(rewards.tolist())
        training.iteration = iteration + 1
        if on_step is not None:
            on_step(training.iteration)
    return training


def _require_fitting(training: Training, bars: range, config: TrainConfig, ranks: Ranks) -> None:
    """Refuse a training that cannot begin under these settings."""
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
    if config.batch < ranks.count:
        raise ConfigError(
            "each process of a training needs at least one rollout of a batch",
            f"{ranks.count} processes and a batch of {config.batch}",
            "Start fewer processes or enlarge the batch.",
        )


def _require_within(demonstrations: Demonstrations | None, bars: range) -> Demonstrations | None:
    """The demonstrations, none of which may tell of bars that are kept from the training."""
    if demonstrations is not None:
        first, last = int(demonstrations.bars.min()), int(demonstrations.bars.max())
        if first < bars.start or last >= bars.stop:
            raise ConfigError(
                f"demonstrations must be of the bars trained on, {bars.start} to {bars.stop - 1}",
                f"bars {first} to {last}",
                "Leave out the others.",
            )
    return demonstrations


def _with_some(task: Task, generator: torch.Generator) -> Task:
    """The same task with the demonstrations of one step, drawn where there are too many."""
    shown = task.demonstrations
    if shown is None or len(shown.bars) <= _DEMONSTRATIONS:
        return task
    chosen = torch.randperm(len(shown.bars), generator=generator)[:_DEMONSTRATIONS]
    return replace(task, demonstrations=shown.rows(chosen))


def _draw_windows(bars: range, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """``[B, K + 1]`` consecutive bars; the first only sets the starting weights."""
    starts = torch.randint(
        bars.start + 1, bars.stop - config.horizon, (config.batch,), generator=generator
    )
    return starts[:, None] + torch.arange(-1, config.horizon)
