"""B simulated accounts on one market, stepped together on a device."""

from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from trading_rlhf.accounting import CostModel, settle
from trading_rlhf.env.dynamics import MarketTensors, advance
from trading_rlhf.env.gate import GateConfig, is_asked, remember_refusals
from trading_rlhf.errors import AccountingError, DataError
from trading_rlhf.market import DEFAULT_FEATURES, Bars, compute_features, warmup
from trading_rlhf.types import Desk, FloatArray, JsonDict

__all__ = ["VectorMarketEnv", "Accounts"]


@dataclass(frozen=True)
class Accounts:
    """State of B accounts; the market itself is shared and never copied.

    Attributes:
        t: ``[B]`` bar whose close was last observed.
        start: ``[B]`` first bar of the episode.
        held: ``[B, N]`` weights at that close (fraction of equity).
        cooldown: ``[B, N]`` bars for which a refused side is not proposed, signed by side.
        equity: ``[B]`` equity relative to the episode's start.
    """

    t: Tensor
    start: Tensor
    held: Tensor
    cooldown: Tensor
    equity: Tensor


class VectorMarketEnv(VectorEnv[Any, Any, Any]):
    """Gymnasium vector environment over ``MarketTensors``, tensors in and out.

    The action is a target weight per asset (fraction of equity), decided at the close of t and
    filled at the next open. The observation is ``[B, N*F + 2*N + 1]`` float32: features, held
    weights, cool-down counters (fraction of their length) and free cash. The reward is
    log(equity_{t+1} / equity_t) at closes. An episode is truncated after ``episode_length`` bars
    or at the last bar, and terminated by ruin. A finished episode restarts at its next step
    (gymnasium's NEXT_STEP autoreset).

    Args:
        bars: prices; also the source of the default features.
        costs: cost model.
        num_envs: B.
        episode_length: bars per episode; None runs to the last bar.
        features: ``[T, N, F]``; None computes the default features.
        first_bar: earliest start; None is the features' warm-up.
        long_only: actions in [0, 1] instead of [-1, 1].
        max_gross: limit of gross exposure (fraction of equity).
        desk: approval gate; a trade with p at or below the gate's threshold does not happen.
        gate: threshold, cool-down and smallest trade.
        device: torch device.
        dtype: precision of money.
    """

    def __init__(
        self,
        bars: Bars,
        costs: CostModel | None = None,
        num_envs: int = 1,
        *,
        episode_length: int | None = None,
        features: np.ndarray | None = None,
        first_bar: int | None = None,
        long_only: bool = True,
        max_gross: float = 0.98,
        desk: Desk | None = None,
        gate: GateConfig | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        if features is None:
            features = compute_features(bars)
            first_bar = warmup(DEFAULT_FEATURES) if first_bar is None else first_bar
        self.market = MarketTensors.from_bars(bars, features, device, dtype)
        self.costs = costs if costs is not None else CostModel()
        self.gate = gate if gate is not None else GateConfig()
        self.desk, self.max_gross, self.dtype = desk, max_gross, dtype
        self.first_bar = first_bar or 0
        n_bars, n_assets = self.market.shape
        longest = n_bars - 1 - self.first_bar
        self.episode_length = longest if episode_length is None else episode_length
        if not 1 <= self.episode_length <= longest:
            raise DataError(
                f"an episode must fit into the {longest} bars after the first start",
                f"episode_length={self.episode_length}, {n_bars} bars, first_bar={self.first_bar}",
                "Pass more bars or a shorter episode.",
            )
        self.num_envs = num_envs
        self.torch_device = torch.device(device)
        self._generator = torch.Generator(device="cpu")
        self._define_spaces(n_assets, features.shape[2], 0.0 if long_only else -1.0)
        self.accounts = self._fresh(torch.arange(num_envs) * 0 + self.first_bar)
        self._done = torch.zeros(num_envs, dtype=torch.bool, device=self.torch_device)

    def _define_spaces(self, n_assets: int, n_features: int, lowest: float) -> None:
        size = n_assets * n_features + 2 * n_assets + 1
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(lowest, 1.0, (n_assets,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: JsonDict | None = None
    ) -> tuple[Tensor, JsonDict]:
        """Start B episodes at random bars.

        Args:
            seed: seeds the environment's generator; a list uses its first entry.
            options: ``{"start": bar}`` starts every episode there.

        Returns:
            obs ``[B, D]`` and an info dict with ``t`` ``[B]``.
        """
        first = seed[0] if isinstance(seed, list) else seed
        if first is not None:
            self._generator.manual_seed(first)
        if options and "start" in options:
            start = torch.full((self.num_envs,), int(options["start"]))
            latest = self.market.shape[0] - 1 - self.episode_length
            if not self.first_bar <= int(options["start"]) <= latest:
                raise DataError(
                    f"an episode must start at a bar from {self.first_bar} to {latest}",
                    str(options["start"]),
                    "Choose a start in that range.",
                )
        else:
            start = self._draw_starts()
        self.accounts = self._fresh(start)
        self._done = torch.zeros_like(self._done)
        return self._observe(), {"t": self.accounts.t}

    def step(self, actions: Tensor | FloatArray) -> tuple[Tensor, Tensor, Tensor, Tensor, JsonDict]:
        """Decide at the close of t and move to the close of t+1.

        Args:
            actions: ``[B, N]`` target weights (fraction of equity); NaN holds.

        Returns:
            obs ``[B, D]``, reward ``[B]``, terminated ``[B]``, truncated ``[B]``, info with
            ``t``, ``equity``, ``approval`` (None without a desk) and ``executed`` ``[B, N]``.

        Raises:
            AccountingError: an action is infinite or of the wrong shape.
        """
        restart = self._done
        # A finished account may stand at the last bar; it only restarts, so any bar will do.
        now = self.accounts
        before = replace(now, t=torch.where(restart, now.start, now.t))
        change, approval, cooldown = self._decide(before, self._check(actions))
        held, growth = advance(self.market, before.t, before.held, change, self.costs)
        moved = Accounts(before.t + 1, before.start, held, cooldown, before.equity * growth)
        self.accounts = self._where(restart, self._fresh(self._draw_starts()), moved)
        terminated = (growth <= 0) & ~restart
        truncated = (moved.t - moved.start >= self.episode_length) & ~restart & ~terminated
        self._done = terminated | truncated
        reward = torch.where(restart, 0.0, growth.clamp(min=1e-12).log())
        info = {
            "t": self.accounts.t,
            "equity": self.accounts.equity,
            "approval": approval,
            "executed": torch.where(restart.unsqueeze(-1), 0.0, change),
        }
        return self._observe(), reward, terminated, truncated, info

    def _check(self, actions: Tensor | FloatArray) -> Tensor:
        target = torch.as_tensor(actions, dtype=self.dtype, device=self.torch_device)
        if target.shape != self.accounts.held.shape or bool(target.isinf().any()):
            raise AccountingError(
                f"target weights must be finite and of shape {tuple(self.accounts.held.shape)}",
                f"shape {tuple(target.shape)} with {int(target.isinf().sum())} infinite",
                "Pass one weight per asset; NaN holds a position.",
            )
        return target

    def _decide(self, now: Accounts, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Executed change ``[B, N]``, approval and cool-down after the gate and settlement."""
        target = torch.where(target.isnan(), now.held, target)
        change = settle(now.held, target - now.held, self.max_gross) - now.held
        if self.desk is None:
            return change, None, now.cooldown
        approval = self.desk(self.market.features[now.t], now.held, now.held + change)
        asked = is_asked(now.cooldown, change, self.gate.min_trade)
        refused = asked & (approval <= self.gate.threshold)
        cooldown = remember_refusals(now.cooldown, change, refused, self.gate.cooldown)
        allowed = torch.where(asked & ~refused, change, 0.0)
        return settle(now.held, allowed, self.max_gross) - now.held, approval, cooldown

    def _observe(self) -> Tensor:
        now = self.accounts
        length = max(self.gate.cooldown, 1)
        parts = [
            self.market.features[now.t].flatten(1),
            now.held,
            now.cooldown / length,
            1.0 - now.held.sum(-1, keepdim=True),
        ]
        return torch.cat([part.to(torch.float32) for part in parts], -1)

    def _draw_starts(self) -> Tensor:
        latest = self.market.shape[0] - 1 - self.episode_length
        return torch.randint(
            self.first_bar, latest + 1, (self.num_envs,), generator=self._generator
        )

    def _fresh(self, start: Tensor) -> Accounts:
        start = start.to(self.torch_device)
        empty = torch.zeros(
            (self.num_envs, self.market.shape[1]), dtype=self.dtype, device=self.torch_device
        )
        return Accounts(start, start, empty, empty, torch.ones_like(empty[:, 0]))

    @staticmethod
    def _where(restart: Tensor, fresh: Accounts, moved: Accounts) -> Accounts:
        row = restart.unsqueeze(-1)
        return Accounts(
            torch.where(restart, fresh.t, moved.t),
            torch.where(restart, fresh.start, moved.start),
            torch.where(row, fresh.held, moved.held),
            torch.where(row, fresh.cooldown, moved.cooldown),
            torch.where(restart, fresh.equity, moved.equity),
        )
