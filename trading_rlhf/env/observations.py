"""What a policy sees of its account: all of it, for one that cannot see its pending order guesses.

``full`` is one row of numbers per account. ``handle`` names the bar and holds the account's own
numbers; features are gathered from the market when they are asked for.
"""

from typing import Any, Literal, TypeAlias

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from trading_rlhf.env.accounts import Accounts
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.env.gate import GateConfig

__all__ = ["Handle", "Observation", "full_observation", "handle_of", "observation_space"]

Observation: TypeAlias = Literal["full", "handle"]
Handle: TypeAlias = dict[str, Tensor]
"""``t`` ``[B]``; ``held``, ``pending``, ``wait``, ``cooldown`` ``[B, N]``."""


def handle_of(accounts: Accounts) -> Handle:
    """The accounts' own numbers, not copied."""
    return {
        "t": accounts.t,
        "held": accounts.held,
        "pending": accounts.orders.pending,
        "wait": accounts.orders.wait,
        "cooldown": accounts.cooldown,
    }


def full_observation(market: MarketTensors, gate: GateConfig, handle: Handle) -> Tensor:
    """Gather features and lay everything side by side.

    Args:
        market: the market.
        gate: lengths of review and cool-down, of which counters are fractions.
        handle: of B accounts.

    Returns:
        ``[B, D]`` float32: features (N*F), held weights (N), cool-down counters (N), where
        orders wait also their weights and bars left (2*N), and free cash (1).
    """
    held = handle["held"]
    parts = [market.features[handle["t"]].flatten(1), held]
    parts.append(handle["cooldown"] / max(gate.cooldown, 1))
    if not gate.immediate:
        parts += [handle["pending"], handle["wait"] / max(gate.delay, 1)]
    parts.append(1.0 - held.sum(-1, keepdim=True))
    return torch.cat([part.to(torch.float32) for part in parts], -1)


def observation_space(
    market: MarketTensors, gate: GateConfig, kind: Observation, dtype: torch.dtype
) -> gymnasium.Space[Any]:
    """Space of one account's observation."""
    n_bars, n_assets = market.shape
    if kind == "full":
        own = 2 if gate.immediate else 4
        size = n_assets * (market.features.shape[2] + own) + 1
        return spaces.Box(-np.inf, np.inf, (size,), np.float32)
    number: Any = np.float64 if dtype == torch.float64 else np.float32
    whole = spaces.Box(-np.inf, np.inf, (n_assets,), number)
    names = ("held", "pending", "wait", "cooldown")
    return spaces.Dict(
        {"t": spaces.Box(0, n_bars - 1, (), np.int64), **dict.fromkeys(names, whole)}
    )
