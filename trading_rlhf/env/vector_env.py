"""B simulated accounts on one market, stepped together on a device."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.accounts import Accounts, fresh_accounts
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.env.fused import fused_transition, fuses, step_market
from trading_rlhf.env.gate import GateConfig, draw_answers
from trading_rlhf.env.inputs import (
    SETTINGS,
    as_features,
    as_handle,
    as_numbers,
    as_seed,
    as_start,
    bad_weights,
    check_market,
    check_settings,
)
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig, violations
from trading_rlhf.env.observations import (
    Handle,
    Observation,
    full_observation,
    handle_of,
    observation_space,
)
from trading_rlhf.env.transition import Rules, Transition, transition
from trading_rlhf.errors import DataError
from trading_rlhf.market import DEFAULT_FEATURES, Bars, compute_features, warmup
from trading_rlhf.types import Desk, FloatArray, JsonDict

__all__ = ["VectorMarketEnv"]


class VectorMarketEnv(VectorEnv[Any, Any, Any]):
    """Gymnasium vector environment over ``MarketTensors``, tensors in and out.

    The action is a target weight per asset (fraction of equity), decided at the close of t and
    filled at the next open, or ``gate.delay`` bars later. Observations are described in
    ``observations.py``. The reward is log(equity_{t+1} / equity_t) at closes, or what the objective
    says. An episode is truncated after ``episode_length`` bars or at the last bar, and terminated
    by ruin. A finished episode restarts at its next step (gymnasium's NEXT_STEP autoreset): that
    action is ignored, its reward is 0.

    A step has static shapes and never waits for the device. On the CPU, with handles and without
    desk, delay, objective, limits and costs in USD or cash, it is compiled: the first step on a
    machine takes seconds. Actions that need a gradient take the other path.

    Args:
        bars: prices; also the source of the default features.
        costs: cost model.
        num_envs: B.
        episode_length: bars per episode; None runs to the last bar.
        features: ``[T, N, F]``; None computes the default features.
        first_bar: earliest start; None is the features' warm-up.
        long_only: actions in [0, 1] instead of [-1, 1].
        max_gross: limit of gross exposure (fraction of equity).
        desk: approval gate; what it refuses does not happen and its side rests.
        gate: threshold, cool-down, smallest trade, and how long a review takes.
        device: torch device.
        dtype: precision of money.
        soft_gate: the smooth gate of training instead of the hard decision.
        observation: "full", or "handle" for ``gather``.
        market: used in place of the one made from bars; it has its own features.
        capital: equity at the start of an episode (USD), for rules in USD.
        objective: weights of the reward; None is log growth.
        limits: limits whose breaches are reported in ``info``.

    Raises:
        DataError: market, features or episode do not fit the bars.
        ConfigError: an argument is of the wrong kind or out of range.
        AccountingError: rates are those of other assets.
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
        soft_gate: bool = False,
        observation: Observation = "full",
        market: MarketTensors | None = None,
        capital: float = 1e6,
        objective: ObjectiveConfig | None = None,
        limits: ConstraintConfig | None = None,
    ) -> None:
        check_settings(
            SETTINGS, bars=bars, costs=costs, num_envs=num_envs, episode_length=episode_length,
            first_bar=first_bar, long_only=long_only, max_gross=max_gross, desk=desk, gate=gate,
            device=device, dtype=dtype, soft_gate=soft_gate, observation=observation,
            market=market, capital=capital, objective=objective, limits=limits,
        )  # fmt: skip
        costs = costs if costs is not None else CostModel()
        if market is None and features is None:
            features = compute_features(bars)
            first_bar = warmup(DEFAULT_FEATURES) if first_bar is None else first_bar
        self.market = _market_of(bars, costs, market, features, device, dtype)
        self.first_bar = first_bar or 0
        self.episode_length = _length(self.market.shape[0], self.first_bar, episode_length)
        self.rules = Rules(
            costs, gate if gate is not None else GateConfig(), max_gross, self.episode_length,
            self.first_bar, self.market.shape[0] - 1 - self.episode_length, desk, soft_gate,
            capital, objective, limits,
        )  # fmt: skip
        self.num_envs, self.dtype, self.observation = num_envs, dtype, observation
        fast = observation == "handle" and fuses(self.market, self.rules)
        self._fused = step_market(self.market, self.rules) if fast else None
        self.torch_device = torch.device(device)
        self._chance = torch.Generator(device="cpu")
        self._answers = torch.Generator(device=device)
        self._infinite = torch.zeros((), dtype=torch.bool, device=device)
        self._define_spaces(0.0 if long_only else -1.0)
        self.accounts = self._fresh(torch.full((num_envs,), self.first_bar))

    def _define_spaces(self, lowest: float) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        n_assets = self.market.shape[1]
        self.single_observation_space = observation_space(
            self.market, self.rules.gate, self.observation, self.dtype
        )
        self.single_action_space = gymnasium.spaces.Box(lowest, 1.0, (n_assets,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: JsonDict | None = None
    ) -> tuple[Tensor | Handle, JsonDict]:
        """Start B episodes at random bars.

        Args:
            seed: seeds the environment's generators; a list uses its first entry.
            options: ``{"start": bar}`` starts every episode there.

        Returns:
            obs and an info dict with ``t`` ``[B]``.

        Raises:
            ConfigError: the seed is no whole number, or there are other options.
            DataError: an episode cannot start at that bar.
            AccountingError: on a device other than the CPU, an earlier action was infinite.
        """
        infinite, self._infinite = self._infinite, torch.zeros_like(self._infinite)
        self._refuse_infinite(infinite)
        first = as_seed(seed)
        start = as_start(options, self.rules.first_start, self.rules.last_start)
        if first is not None:
            self._chance.manual_seed(first)
            self._answers.manual_seed(first)
        self.accounts = self._fresh(self._starts(start))
        return self._observe(), {"t": self.accounts.t}

    def step(
        self, actions: Tensor | FloatArray
    ) -> tuple[Tensor | Handle, Tensor, Tensor, Tensor, JsonDict]:
        """Decide at the close of t and move to the close of t+1.

        Args:
            actions: ``[B, N]`` target weights (fraction of equity); NaN leaves held and pending.

        Returns:
            obs, reward ``[B]``, terminated ``[B]``, truncated ``[B]`` and info: ``t`` and
            ``equity`` ``[B]``, ``approval`` (None without a desk) and ``executed`` ``[B, N]``;
            with an objective or limits also ``drawdown``, ``exposure`` and ``turnover`` ``[B]``,
            with limits ``violations`` ``[B, 3]``.

        Raises:
            AccountingError: actions have the wrong shape, or on the CPU one is infinite. Another
                device is not waited for: there an infinite action is reported by ``reset``.
        """
        moved = self._move(self._check(actions))
        self.accounts = moved.accounts
        info = self._report(moved)
        return self._observe(), moved.reward, moved.terminated, moved.truncated, info

    @property
    def is_fused(self) -> bool:
        """Whether steps are compiled."""
        return self._fused is not None

    def gather(self, handle: Handle) -> Tensor:
        """Return the full observation ``[B, D]`` float32 that a handle stands for.

        Args:
            handle: of any number of accounts, in tensors or NumPy arrays.

        Raises:
            AccountingError: it is no handle of this market.
        """
        handle = as_handle(handle, self.market.shape, self.torch_device)
        return full_observation(self.market, self.rules.gate, handle)

    def _move(self, target: Tensor) -> Transition:
        """One step of all accounts."""
        if self._fused is not None and not target.requires_grad:
            return fused_transition(self._fused, self.accounts, target)
        gate = self.rules.gate
        answered = draw_answers(gate, target.shape, self._answers)
        return transition(self.market, self.rules, self.accounts, target, answered)

    def _observe(self) -> Tensor | Handle:
        handle = handle_of(self.accounts)
        if self.observation == "handle":
            return handle
        return full_observation(self.market, self.rules.gate, handle)

    def _report(self, moved: Transition) -> JsonDict:
        info: JsonDict = {
            "t": moved.accounts.t,
            "equity": moved.accounts.equity,
            "approval": moved.approval,
            "executed": moved.executed,
        }
        if moved.outcome is not None:
            for name in ("drawdown", "exposure", "turnover"):
                info[name] = getattr(moved.outcome, name)
            if self.rules.limits is not None:
                info["violations"] = violations(moved.outcome, self.rules.limits)
        return info

    def _check(self, actions: Tensor | FloatArray) -> Tensor:
        target = as_numbers(actions, "target weights").to(self.torch_device, self.dtype)
        if target.shape != self.accounts.held.shape:
            raise bad_weights(tuple(self.accounts.held.shape), f"shape {tuple(target.shape)}")
        if self.torch_device.type == "cpu":
            # NumPy looks ten times faster than torch.
            self._refuse_infinite(np.isinf(target.detach().numpy()).any())
        else:
            self._infinite |= target.isinf().any()
        return target

    def _refuse_infinite(self, infinite: Tensor | np.bool_) -> None:
        if bool(infinite):
            raise bad_weights(tuple(self.accounts.held.shape), "an infinite one")

    def _starts(self, start: int | None) -> Tensor:
        """First bars ``[B]``, drawn or as asked for."""
        if start is not None:
            return torch.full((self.num_envs,), start)
        first, last = self.rules.first_start, self.rules.last_start
        return torch.randint(first, last + 1, (self.num_envs,), generator=self._chance)

    def _fresh(self, start: Tensor) -> Accounts:
        stream = torch.randint(1, 2**31 - 1, (self.num_envs,), generator=self._chance)
        start, stream = start.to(self.torch_device), stream.to(self.torch_device)
        return fresh_accounts(start, stream, self.market.shape[1], self.dtype)


def _market_of(
    bars: Bars,
    costs: CostModel,
    market: MarketTensors | None,
    features: np.ndarray | None,
    device: str,
    dtype: torch.dtype,
) -> MarketTensors:
    """The given market, or one made from bars and features."""
    if market is None:
        if features is None:
            raise ValueError("either a market or features")
        return MarketTensors.for_costs(bars, as_features(features), costs, device, dtype)
    if features is not None:
        raise DataError(
            "a market comes with its own features",
            "a market and features beside it",
            "Leave features out.",
        )
    costs.check_assets(bars.shape[1])
    check_market(market, bars, device)
    return market.to(dtype)


def _length(n_bars: int, first_bar: int, episode_length: int | None) -> int:
    """Bars per episode, which must fit after the first start."""
    longest = n_bars - 1 - first_bar
    if longest < 1:
        raise DataError(
            "an environment needs a bar after the first start",
            f"{n_bars} bars, first_bar={first_bar}",
            "Pass more bars or an earlier first_bar.",
        )
    length = longest if episode_length is None else episode_length
    if not 1 <= length <= longest:
        raise DataError(
            f"an episode must fit into the {longest} bars after the first start",
            f"episode_length={length}, {n_bars} bars, first_bar={first_bar}",
            "Pass more bars or a shorter episode.",
        )
    return length
