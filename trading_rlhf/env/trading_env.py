"""The gymnasium view of one account: VectorMarketEnv with B = 1 and numpy at the border."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.vector_env import VectorMarketEnv
from trading_rlhf.market import Bars
from trading_rlhf.types import JsonDict

__all__ = ["TradingEnv"]


class TradingEnv(gymnasium.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]):
    """``gymnasium.make("trading_rlhf/Market-v0", bars=bars, costs=costs)``.

    Every argument after ``costs`` is one of ``VectorMarketEnv``; observations, actions and rewards
    are described there.
    """

    def __init__(self, bars: Bars, costs: CostModel | None = None, **settings: Any) -> None:
        self.metadata = {"render_modes": []}
        self.render_mode = None
        self._batch = VectorMarketEnv(bars, costs, 1, **settings)
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    def reset(
        self, *, seed: int | None = None, options: JsonDict | None = None
    ) -> tuple[npt.NDArray[np.float32], JsonDict]:
        """Start an episode; returns obs ``[D]`` and info."""
        super().reset(seed=seed)
        obs, info = self._batch.reset(seed=seed, options=options)
        return obs[0].cpu().numpy(), {"t": int(info["t"][0])}

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], float, bool, bool, JsonDict]:
        """Decide ``[N]`` target weights at the close of t; returns obs ``[D]``, reward, flags."""
        obs, reward, terminated, truncated, info = self._batch.step(torch.as_tensor(action)[None])
        details = {
            "t": int(info["t"][0]),
            "equity": float(info["equity"][0]),
            "executed": info["executed"][0].cpu().numpy(),
        }
        ended, cut = bool(terminated[0]), bool(truncated[0])
        return obs[0].cpu().numpy(), float(reward[0]), ended, cut, details
