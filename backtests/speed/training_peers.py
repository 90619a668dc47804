"""Stable-Baselines3's PPO (MIT) on the tasks of the training benchmark, as its users would run it.

Only the environments are ours: one asset as a plain gymnasium environment, many assets through
``VectorMarketEnv``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from backtests.planted_ar import COST, EPISODE, LAGS, SIGMA
from backtests.planted_many import COSTS, MAX_GROSS, RISK_AVERSION, Many
from backtests.speed.training_clock import Clock
from trading_rlhf.agent import Decision, PolicyConfig
from trading_rlhf.env import ObjectiveConfig, VectorMarketEnv
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["ArEnv", "Peer", "PeerPolicy", "SoftmaxVecEnv", "ar_envs", "ar_rule", "market_envs"]


class ArEnv(gymnasium.Env[Any, Any]):
    """One asset of known returns: the action is its weight, the reward the net return in percent.

    Args:
        returns: ``[T]``.
        seed: of the first bars of episodes.
    """

    def __init__(self, returns: FloatArray, seed: int) -> None:
        self.returns = returns.astype(np.float32)
        self.chance = np.random.default_rng(seed)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (LAGS + 1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.t, self.step_number, self.weight = LAGS, 0, 0.0

    def _observe(self) -> Any:
        seen = np.empty(LAGS + 1, dtype=np.float32)
        seen[:LAGS] = self.returns[self.t - LAGS + 1 : self.t + 1] * (1.0 / SIGMA)
        seen[LAGS] = self.weight
        return seen

    def reset(self, *, seed: int | None = None, options: JsonDict | None = None) -> Any:
        """Start an episode at a random bar, with nothing held; there are no options."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.chance = np.random.default_rng(seed)
        self.t = int(self.chance.integers(LAGS, len(self.returns) - EPISODE - 2))
        self.step_number, self.weight = 0, 0.0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        """Hold the weight over the next bar."""
        weight = float(min(1.0, max(-1.0, action[0])))
        earned = weight * float(self.returns[self.t + 1]) - COST * abs(weight - self.weight)
        self.weight, self.t, self.step_number = weight, self.t + 1, self.step_number + 1
        return self._observe(), 100.0 * earned, False, self.step_number >= EPISODE, {}


class SoftmaxVecEnv(VecEnv):
    """``VectorMarketEnv`` for Stable-Baselines3: actions are scores, rewards percent.

    The scores' softmax, with cash at a score of 0, is what our own policies do with theirs; bare
    weights of many assets would rarely sum to what the account has.

    Args:
        env: long-only, with the full observation.
        tilt: the largest score.
    """

    def __init__(self, env: VectorMarketEnv, tilt: float) -> None:
        self.env, self.tilt = env, tilt
        n_assets = env.market.shape[1]
        actions = gymnasium.spaces.Box(-1.0, 1.0, (n_assets,), np.float32)
        seen = env.single_observation_space
        space = gymnasium.spaces.Box(-np.inf, np.inf, seen.shape, np.float32)
        super().__init__(env.num_envs, space, actions)
        self.actions = torch.zeros(env.num_envs, n_assets)

    def reset(self) -> Any:
        """Observations ``[B, D]`` of fresh accounts."""
        return self.env.reset(seed=self._seeds[0])[0].numpy()

    def step_async(self, actions: Any) -> None:
        """Take scores ``[B, N]`` in units of the tilt."""
        self.actions = torch.as_tensor(np.asarray(actions), dtype=torch.float32)

    def step_wait(self) -> Any:
        """Step all accounts; what has ended is restarted at once, as Stable-Baselines3 expects."""
        target = softmax_weights(self.actions, self.tilt, self.env.rules.max_gross)
        seen, reward, ruined, cut, _ = self.env.step(target)
        done = (ruined | cut).numpy()
        infos: list[JsonDict] = [{} for _ in range(self.num_envs)]
        if done.any():
            for place in np.nonzero(done)[0]:
                infos[place] = {
                    "terminal_observation": seen[place].numpy(),
                    "TimeLimit.truncated": not bool(ruined[place]),
                }
            # All start together and none can be ruined without leverage, so all end together.
            seen = self.env.reset()[0]
        return seen.numpy(), (100.0 * reward).numpy(), done, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """There are no single environments, so nothing is known of them."""
        del attr_name, indices
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """There are no single environments."""

    def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> list[Any]:
        """There are no single environments."""
        del method_name, args, kwargs
        return []

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """None is."""
        del wrapper_class, indices
        return [False] * self.num_envs


def ar_envs(returns: FloatArray, seed: int, n_envs: int = 8) -> DummyVecEnv:
    """Environments of one asset, stepped one after the other."""
    return DummyVecEnv([partial(ArEnv, returns, 100 * seed + place) for place in range(n_envs)])


def ar_rule(model: PPO) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """A model of one asset as a rule for ``planted_ar.score_rule``."""

    def rule(seen: FloatArray, held: FloatArray) -> FloatArray:
        observed = np.concatenate([seen, held[:, None]], axis=1).astype(np.float32)
        wanted: FloatArray = model.predict(observed, deterministic=True)[0][:, 0]
        return wanted

    return rule


def market_envs(made: Many, seed: int, tilt: float, n_envs: int = 64) -> SoftmaxVecEnv:
    """Accounts on a planted market of many assets, rewarded as our own trainers are."""
    objective = ObjectiveConfig(variance=RISK_AVERSION)
    env = VectorMarketEnv(
        made.planted.bars, COSTS, n_envs, episode_length=min(EPISODE, made.market.shape[0] // 4),
        market=made.market, first_bar=1, max_gross=MAX_GROSS, objective=objective,
        dtype=torch.float32,
    )  # fmt: skip
    env.reset(seed=seed)
    return SoftmaxVecEnv(env, tilt)


class PeerPolicy:
    """A model of ``SoftmaxVecEnv`` for our walks, which take it for a policy of one member."""

    members = 1

    def __init__(self, model: PPO, tilt: float, max_gross: float) -> None:
        self.model, self.config = model, PolicyConfig(tilt=tilt, max_gross=max_gross)

    def encode_bars(self, features: Tensor, t: Tensor) -> Tensor:
        """Features ``[1, ..., N, F]`` of bars t."""
        return features[t].unsqueeze(0)

    def decide(self, encoded: Tensor, held: Tensor) -> Decision:
        """The target ``[1, B, N]`` at features ``[1, B, N, F]`` with weights held ``[1, B, N]``."""
        own = held[0]
        resting, cash = torch.zeros_like(own), 1.0 - own.sum(-1, keepdim=True)
        observed = torch.cat([encoded[0].flatten(1), own, resting, cash], -1)
        chosen = self.model.predict(observed.numpy(), deterministic=True)[0]
        score = torch.as_tensor(chosen).unsqueeze(0)
        goal = softmax_weights(score, self.config.tilt, self.config.max_gross)
        return Decision(goal, goal, torch.ones_like(goal), score, torch.zeros(*goal.shape, 2))


def softmax_weights(actions: Tensor, tilt: float, max_gross: float) -> Tensor:
    """Weights ``[..., N]`` of scores in units of the tilt; cash has a score of 0."""
    scores = torch.nn.functional.pad(tilt * actions, (0, 1))
    return max_gross * torch.softmax(scores, -1)[..., :-1]


class _Checks(BaseCallback):
    """Stops the clock after each batch of rollouts, and the training once the clock says so."""

    def __init__(self, clock: Clock, score: Callable[[PPO], float]) -> None:
        super().__init__()
        self.clock, self.score = clock, score

    def _on_training_start(self) -> None:
        self.clock.start()

    def _on_rollout_start(self) -> None:
        self.clock.stop()
        if self.clock.is_due(self.num_timesteps):
            self.clock.note(self.score(self.model), self.num_timesteps)
        self.clock.start()

    def _on_step(self) -> bool:
        return not self.clock.over


@dataclass(frozen=True)
class Peer:
    """Stable-Baselines3's PPO on a task; the network is its own, two times 64.

    Attributes:
        envs: what is trained on, from a seed.
        settings: of its PPO.
        share: score of a model as a share of the reference.
    """

    envs: Callable[[int], VecEnv]
    settings: JsonDict
    share: Callable[[PPO], float]

    def __call__(self, seed: int, clock: Clock) -> None:
        """Train from a seed until the clock is over."""
        model = PPO("MlpPolicy", self.envs(seed), device="cpu", seed=seed, **self.settings)
        # The clock ends it, not the number of steps.
        model.learn(10**9, callback=_Checks(clock, self.share))
