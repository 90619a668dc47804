"""Env-steps a second of our trainers beside what the machine could multiply in that time."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch

from backtests.planted_many import COSTS, RISK_AVERSION, Many
from backtests.speed.timing import measure_in_turn
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    PpoConfig,
    ProfitReward,
    TrainConfig,
    Training,
    start_training,
    train,
)
from trading_rlhf.agent.exploration import explore
from trading_rlhf.agent.training import Task
from trading_rlhf.env import GateConfig

__all__ = ["Flops", "rates"]

_ENDLESS = 1_000_000
_MATRIX, _LIMIT = 1024, "limit"


@dataclass(frozen=True)
class Flops:
    """Floating point operations of matrix products per decision in N assets, two a product.

    Attributes:
        n_assets: N.
        n_features: F.
        hidden: H of the policy.
        critic_hidden: of the critic.
    """

    n_assets: int
    n_features: int
    hidden: int
    critic_hidden: int

    @property
    def policy(self) -> float:
        """Forward through the policy."""
        return 2.0 * self.n_assets * self.hidden * (self.n_features + 1 + self.hidden + 3)

    @property
    def critic(self) -> float:
        """Forward through the critic, whose second layer sees the mean of the assets."""
        inputs = self.n_assets * (self.n_features + 1)
        return 2.0 * self.critic_hidden * (inputs + self.critic_hidden + 1)

    def apg(self) -> float:
        """Forward once, and back, which takes each product twice."""
        return 3.0 * self.policy

    def rollout(self) -> float:
        """One decision of an exploring policy."""
        return self.policy

    def ppo(self, epochs: int) -> float:
        """A decision, its value, and the epochs, each forward and back."""
        both = self.policy + self.critic
        return both + epochs * 3.0 * both


def rates(*, tiny: bool = False) -> dict[str, Any]:
    """Measure our trainers on twenty assets with all threads of the machine.

    Args:
        tiny: a few iterations.

    Returns:
        What was multiplied a second in large float32 matrices, and by trainer and size env-steps a
        second with the share of that which its own matrices are.
    """
    torch.set_num_threads(2)
    matrix = torch.rand(_MATRIX, _MATRIX)
    made = Many(1, 600 if tiny else 6000)
    # Multiplied in turn with the trainers, so that noise of the machine meets both.
    runs: dict[str, tuple[Callable[[], Any], float]] = {
        _LIMIT: (lambda: matrix @ matrix, 2.0 * _MATRIX**3)
    }
    flops: dict[str, float] = {}
    for name, config in (_small() if tiny else _configs()).items():
        steps = config.horizon * config.batch
        training = _start(made, config)
        n_iterations = 1 if tiny else max(1, 20_000 // steps)
        runs[name] = _iterations(made, config, training, n_iterations), n_iterations * steps
        need = Flops(made.market.shape[1], made.market.features.shape[2], 32, 32)
        flops[name] = need.apg()
        if training.critic is not None:
            flops[name] = need.ppo(config.ppo.epochs)
            runs[f"{name}, rollouts alone"] = _rollouts(made, config, training), steps
            flops[f"{name}, rollouts alone"] = need.rollout()
    measured = measure_in_turn(runs, 2 if tiny else 5)
    limit = measured.pop(_LIMIT).rate
    return {
        "threads": 2,
        "multiplied_flops_per_second": limit,
        "rates": {
            name: timing.as_dict()
            | {
                "flops_per_env_step": flops[name],
                "share_of_limit": timing.rate * flops[name] / limit,
            }
            for name, timing in measured.items()
        },
    }


def _configs() -> dict[str, TrainConfig]:
    """As the defaults are, and in large batches; all epochs of ppo are run."""
    ppo = {"target_kl": 1e6}
    return {
        "apg, 48 x 24": TrainConfig(iterations=_ENDLESS),
        "apg, 512 x 24": TrainConfig(iterations=_ENDLESS, batch=512),
        "ppo, 48 x 24": TrainConfig(method="ppo", iterations=_ENDLESS, ppo=PpoConfig(**ppo)),
        "ppo, 512 x 24": TrainConfig(
            method="ppo", iterations=_ENDLESS, batch=512, ppo=PpoConfig(minibatch=4096, **ppo)
        ),
    }


def _small() -> dict[str, TrainConfig]:
    """A few rollouts of each method."""
    few = {"iterations": _ENDLESS, "horizon": 4, "batch": 8}
    return {"apg, 8 x 4": TrainConfig(**few), "ppo, 8 x 4": TrainConfig(method="ppo", **few)}


def _start(made: Many, config: TrainConfig) -> Training:
    generator = torch.Generator().manual_seed(0)
    policy = Policy(made.market.features.shape[2], PolicyConfig(), 1, generator)
    return start_training(policy, config, generator)


def _iterations(
    made: Many, config: TrainConfig, training: Training, number: int
) -> Callable[[], Any]:
    bars, reward = range(1, made.market.shape[0]), ProfitReward(RISK_AVERSION)
    last = count(number, number)
    return lambda: train(training, made.market, bars, COSTS, config, reward, until=next(last))


def _rollouts(made: Many, config: TrainConfig, training: Training) -> Callable[[], Any]:
    market = made.market.to(torch.float32)
    task = Task(market, COSTS, ProfitReward(RISK_AVERSION), None, GateConfig(), None, 1e6)
    critic = training.critic
    if critic is None:
        raise ValueError("only ppo explores")
    chance = torch.Generator().manual_seed(1)
    starts = torch.randint(2, market.shape[0] - config.horizon, (config.batch,), generator=chance)
    window = starts[:, None] + torch.arange(-1, config.horizon)
    return lambda: explore(training.policy, critic, task, window, chance)
