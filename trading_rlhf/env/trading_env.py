"""The gymnasium view of one account: VectorMarketEnv with B = 1 and numpy at the border."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.inputs import as_numbers, as_seed, bad_weights
from trading_rlhf.env.observations import Handle
from trading_rlhf.env.vector_env import VectorMarketEnv
from trading_rlhf.errors import ConfigError
from trading_rlhf.market import Bars
from trading_rlhf.types import JsonDict

__all__ = ["TradingEnv"]


class TradingEnv(gymnasium.Env[Any, npt.NDArray[np.float32]]):
    """``gymnasium.make("trading_rlhf/Market-v0", bars=bars, costs=costs)``.

    Every argument after ``costs`` is one of ``VectorMarketEnv``; observations, actions, rewards
    and what ``info`` holds are described there.
    """

    def __init__(self, bars: Bars, costs: CostModel | None = None, **settings: Any) -> None:
        self.metadata = {"render_modes": []}
        self.render_mode = None
        if "num_envs" in settings:
            raise ConfigError(
                "this environment steps one account", "num_envs", "Use VectorMarketEnv for more."
            )
        self._batch = VectorMarketEnv(bars, costs, 1, **settings)
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    def reset(
        self, *, seed: int | None = None, options: JsonDict | None = None
    ) -> tuple[Any, JsonDict]:
        """Start an episode; returns obs and info."""
        super().reset(seed=as_seed(seed))
        obs, info = self._batch.reset(seed=seed, options=options)
        return _first_row(obs), {name: _number(value) for name, value in info.items()}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Any, float, bool, bool, JsonDict]:
        """Decide ``[N]`` target weights at the close of t; returns obs, reward, flags, info."""
        target, held = as_numbers(action, "target weights"), self._batch.accounts.held[0]
        if target.shape != held.shape:
            raise bad_weights(tuple(held.shape), f"shape {tuple(target.shape)}")
        obs, reward, terminated, truncated, info = self._batch.step(target[None])
        details = {name: _number(value) for name, value in info.items() if value is not None}
        ended, cut = bool(terminated[0]), bool(truncated[0])
        return _first_row(obs), float(reward[0]), ended, cut, details


def _first_row(obs: Tensor | Handle) -> Any:
    """The only account's observation in numpy."""
    if isinstance(obs, dict):
        return {name: value[0].cpu().numpy() for name, value in obs.items()}
    return obs[0].cpu().numpy()


def _number(batch: Tensor) -> Any:
    """The only account's value: a Python number, or an array where it has several."""
    value = batch[0].cpu()
    return value.item() if value.ndim == 0 else value.numpy()
