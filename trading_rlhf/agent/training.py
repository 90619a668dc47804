"""Settings and state of a training, and what both ways of training do alike."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent.critic import Critic
from trading_rlhf.agent.distributed import ALONE, Ranks
from trading_rlhf.agent.imitation import Demonstrations, distance_from_wanted
from trading_rlhf.agent.policy import Policy
from trading_rlhf.agent.pretraining import PretrainConfig
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.errors import TrainingError
from trading_rlhf.types import Desk, JsonDict, RewardFn

__all__ = [
    "LOSS_PER_REWARD",
    "BaseTrainConfig",
    "PpoConfig",
    "Task",
    "TrainConfig",
    "Training",
    "average_gradients",
    "clip_each",
    "imitation_loss",
    "named_parameters",
    "require_sound",
    "start_training",
    "step_members",
]

LOSS_PER_REWARD = 1000.0
"""Rewards are basis points of growth; the factor keeps Adam's epsilon negligible."""

_LARGEST_GRADIENT = 1e6
"""Norm of one policy's gradient beyond which it explodes; below 1000 where it was measured."""

_LARGEST_WEIGHT = 1e3
"""Size of a weight beyond which it explodes; they start below 1."""


class PpoConfig(BaseModel):
    """Settings of proximal policy optimisation; the others are shared with the gradient's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(1e-3, gt=0, description="AdamW's, falling linearly.")
    epochs: int = Field(10, ge=1, le=1000, description="Passes over each batch of rollouts.")
    minibatch: int = Field(512, ge=1, description="Decisions per gradient step.")
    clip: float = Field(0.2, gt=0, lt=1, description="Largest change of a probability that pays.")
    target_kl: float = Field(
        0.03, gt=0, description="A policy that has moved 1.5 times so far (KL) waits for new data."
    )
    gamma: float = Field(0.5, ge=0, le=1, description="Discount of the next bar's reward.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Weight of later advantages.")
    initial_std: float = Field(
        1.0, gt=0, le=5, description="Exploration at the start, as a share of the largest score."
    )
    entropy: float = Field(
        0.0, ge=0, description="Weight of the exploration's entropy beside normalised advantages."
    )
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the critic's loss.")
    critic_hidden: int = Field(32, ge=4, le=1024, description="Width of the critic.")
    orthogonal: bool = Field(
        True, description="Orthogonal initial weights in a base policy's training."
    )


class TrainConfig(BaseModel):
    """Settings of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["apg", "ppo"] = Field(
        "apg",
        description="Analytic gradient through the market (apg), or proximal policy optimisation "
        "on it as it is, with the desk's hard decisions (ppo).",
    )
    iterations: int = Field(250, ge=1, description="Batches of rollouts; apg: gradient steps.")
    learning_rate: float = Field(3e-3, gt=0, description="apg: AdamW's, falling linearly.")
    weight_decay: float = Field(
        0.1, ge=0, description="Regularises the weights: AdamW's decoupled decay."
    )
    horizon: int = Field(24, ge=2, description="Bars of each rollout.")
    batch: int = Field(48, ge=1, description="Rollouts per iteration.")
    risk_aversion: float = Field(
        5.0,
        ge=0,
        description="Weight of squared log growth: the objective's price of variance.",
    )
    gradient_clip: float = Field(1.0, gt=0, description="Largest gradient norm of one policy.")
    trust_region: float = Field(
        0.5,
        gt=0,
        description="With an anchor: a policy stops changing once its targets differ from the "
        "anchor's by more than this (mean sum of absolute weights).",
    )
    truncation: int | None = Field(
        None, ge=1, description="apg: bars through which gradients flow; none is the whole rollout."
    )
    entropy: float = Field(
        0.0, ge=0, description="apg: reward per unit of entropy of the goals, cash among them."
    )
    imitation: float = Field(
        0.0,
        ge=0,
        description="Price of the squared distance from weights that reviewers named by resizing, "
        "in reward per bar; 0 learns nothing from them.",
    )
    ppo: PpoConfig = Field(PpoConfig(), description="Settings of ppo alone.")

    def rate(self, iteration: int) -> float:
        """Learning rate of an iteration."""
        full = self.learning_rate if self.method == "apg" else self.ppo.learning_rate
        return full * (1.0 - iteration / self.iterations) + 1e-4


class BaseTrainConfig(TrainConfig):
    """Settings of a base policy's training, which may end early."""

    patience: int = Field(
        0,
        ge=0,
        description="Checks without improvement on the first half of the validation bars, after "
        "which training ends; the best weights are kept. 0 never checks.",
    )
    check_every: int = Field(10, ge=1, description="Iterations between two checks.")
    pretrain: PretrainConfig = Field(
        PretrainConfig(), description="What the encoder learns from the features alone, before."
    )

    @model_validator(mode="after")
    def _nobody_has_answered(self) -> "BaseTrainConfig":
        if self.imitation:
            raise ValueError(
                "imitation must be 0 in a base policy's training, which comes before every answer; "
                "set shape.imitation"
            )
        return self


@dataclass
class Training:
    """A training in progress; everything needed to go on is in here.

    Attributes:
        policy: S stacked policies.
        optimizer: AdamW over them and the critic.
        generator: draws the rollouts.
        iteration: iterations done.
        frozen: ``[S]`` policies that reached the trust region.
        history: mean reward of each policy by iteration, ``[S]`` lists.
        critic: what ppo learns beside the policy; None for apg.
        checks: iteration and score of each check on the bars kept for stopping.
        best: weights of the policy at the best check; empty before the first.
        setbacks: where it ceased to be finite and went on at another learning rate.
        figures: ``[S]`` each, of the newest iteration, for whoever watches; not kept.
    """

    policy: Policy
    optimizer: torch.optim.AdamW
    generator: torch.Generator
    frozen: Tensor
    iteration: int = 0
    history: list[list[float]] = field(default_factory=list)
    critic: Critic | None = None
    checks: list[tuple[int, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    setbacks: list[JsonDict] = field(default_factory=list)
    figures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What is trained on.

    Attributes:
        market: prices and features; money in float32.
        costs: cost model.
        reward_fn: what is maximised per step.
        desk: probability of approval for each proposed trade; None executes everything.
        gate: how the desk acts.
        anchor: policy from which the trust region is measured, or None.
        capital: equity at the start of a rollout (USD).
        ranks: processes that share each batch.
        demonstrations: weights that reviewers named on this market, or None.
    """

    market: MarketTensors
    costs: CostModel
    reward_fn: RewardFn
    desk: Desk | None
    gate: GateConfig
    anchor: Policy | None
    capital: float
    ranks: Ranks = ALONE
    demonstrations: Demonstrations | None = None


def start_training(policy: Policy, config: TrainConfig, generator: torch.Generator) -> Training:
    """Prepare a training of ``policy`` (changed in place)."""
    critic = None
    groups: list[dict[str, Any]] = [{"params": list(policy.parameters())}]
    if config.method == "ppo":
        critic = Critic(
            policy.n_features,
            config.ppo.critic_hidden,
            policy.members,
            config.ppo.initial_std,
            generator,
        )
        groups.append({"params": list(critic.parameters()), "weight_decay": 0.0})
    # Many small steps: in one kernel they cost a fraction.
    optimizer = torch.optim.AdamW(
        groups, lr=config.rate(0), weight_decay=config.weight_decay, fused=critic is not None
    )
    frozen = torch.zeros(policy.members, dtype=torch.bool)
    return Training(policy, optimizer, generator, frozen, critic=critic)


def named_parameters(training: Training) -> Iterator[tuple[str, nn.Parameter]]:
    """All that is trained, the critic's under ``critic.``; each ``[S, rows, columns]``."""
    yield from training.policy.named_parameters()
    if training.critic is not None:
        yield from training.critic.named_parameters(prefix="critic")


def average_gradients(
    training: Training, ranks: Ranks, weight: float, *others: Tensor
) -> list[Tensor]:
    """Give every rank the gradient of the whole batch.

    Args:
        training: with the gradients of this rank's rows; changed in place.
        ranks: processes that share the batch.
        weight: of this rank's rows in the batch.
        others: means over this rank's rows that are exchanged, too.

    Returns:
        ``others`` as means over the batch.
    """
    if ranks.count == 1:
        return list(others)
    gradients = [p.grad for _, p in named_parameters(training) if p.grad is not None]
    averaged = ranks.average([*gradients, *others], weight)
    for gradient, mean in zip(gradients, averaged, strict=False):
        gradient.copy_(mean)
    return averaged[len(gradients) :]


def imitation_loss(training: Training, task: Task, config: TrainConfig) -> Tensor:
    """What to add to a loss ``[S]`` for the distance from what reviewers wanted; 0 without any."""
    if task.demonstrations is None:
        return torch.zeros(training.policy.members)
    distance = distance_from_wanted(training.policy, task.market.features, task.demonstrations)
    training.figures["distance_from_wanted"] = distance.detach().sqrt()
    # In the units of the analytic gradient's loss; ppo's standardised advantages are of that size.
    return LOSS_PER_REWARD * config.imitation * distance


def clip_each(training: Training, limit: float) -> None:
    """Clip the gradient norm of every stacked policy, with its critic, by itself.

    Raises:
        TrainingError: a norm is not finite or explodes; nothing was stepped by it.
    """
    gradients = [p.grad for _, p in named_parameters(training) if p.grad is not None]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    _require(training, norm, _LARGEST_GRADIENT, "a gradient norm")
    training.figures["gradient_norm"] = norm
    scale = (limit / (norm + 1e-9)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, 1, 1))


def step_members(training: Training, resting: Tensor | None = None) -> None:
    """Take a gradient step; members that are frozen or resting stay as they are.

    Args:
        training: with gradients.
        resting: ``[S]`` bool, members whose averages of the gradient stay, too; None is nobody.
    """
    still = training.frozen if resting is None else training.frozen | resting
    if not bool(still.any()):
        training.optimizer.step()
        return
    kept: list[Tensor] = [p for _, p in named_parameters(training)]
    if resting is not None:
        for parameter in kept.copy():
            state = training.optimizer.state.get(parameter, {})
            kept += [state[name] for name in ("exp_avg", "exp_avg_sq") if name in state]
    before = [each.detach().clone() for each in kept]
    training.optimizer.step()
    rows = still.view(-1, 1, 1)
    with torch.no_grad():
        for each, old in zip(kept, before, strict=True):
            each.copy_(torch.where(rows, old, each))


def require_sound(training: Training, rewards: Tensor) -> None:
    """Refuse to go on from rewards ``[S]`` or weights that are not finite or explode.

    Raises:
        TrainingError: a member that is not frozen has some.
    """
    _require(training, rewards, math.inf, "a mean reward")
    sizes = [p.detach().abs().amax((1, 2)) for _, p in named_parameters(training)]
    _require(training, torch.stack(sizes).amax(0), _LARGEST_WEIGHT, "a weight")


def _require(training: Training, values: Tensor, largest: float, what: str) -> None:
    """Frozen members do not step, so that theirs do not matter."""
    good = training.frozen | (values.isfinite() & (values.abs() <= largest))
    if bool(good.all()):
        return
    value = float(values[~good][0])
    raise TrainingError(
        "a training's rewards, gradients and weights must stay finite and within bounds",
        f"{what} of {value:.3g} in iteration {training.iteration + 1}",
        "Train again with a smaller learning rate.",
    )
