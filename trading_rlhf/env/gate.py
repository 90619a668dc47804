"""The approval gate inside the market: what a desk refuses does not happen, and is remembered.

The smooth gate gives the policy a gradient in training; every evaluation, proposal and order uses
the hard decision with a memory of refusals, because without one an unchanged proposal leaks
through a soft or redrawn gate within weeks.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

__all__ = ["GateConfig", "smooth_gate", "is_asked", "is_cooling", "remember_refusals"]


class GateConfig(BaseModel):
    """How the desk's opinion acts on trades."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(0.5, gt=0, lt=1, description="A trade passes with p above this.")
    slope: float = Field(12.0, gt=0, description="Steepness of the smooth gate in training.")
    cooldown: int = Field(10, ge=0, description="Bars for which a refused side is not proposed.")
    min_trade: float = Field(
        0.002, ge=0, lt=1, description="Smaller changes (fraction of equity) are not proposed."
    )


def smooth_gate(approval: Tensor, config: GateConfig) -> Tensor:
    """Share of each proposed change that executes in training: sigmoid(slope * (p - threshold)).

    Args:
        approval: ``[..., N]`` probability of approval.
        config: slope and threshold.

    Returns:
        ``[..., N]`` in (0, 1).
    """
    return torch.sigmoid(config.slope * (approval - config.threshold))


def is_cooling(cooldown: Tensor, change: Tensor) -> Tensor:
    """Whether a trade repeats a side that was refused too recently.

    Args:
        cooldown: ``[..., N]`` bars left, signed by the refused side.
        change: ``[..., N]`` proposed change.

    Returns:
        ``[..., N]`` bool.
    """
    return (cooldown != 0) & (cooldown.sign() == change.sign())


def is_asked(cooldown: Tensor, change: Tensor, min_trade: float) -> Tensor:
    """Whether a trade is put to the desk: large enough, and its side does not rest.

    Args:
        cooldown: ``[..., N]`` bars left, signed by the refused side.
        change: ``[..., N]`` proposed change (fraction of equity).
        min_trade: smallest proposed change (fraction of equity).

    Returns:
        ``[..., N]`` bool.
    """
    return (change.abs() >= min_trade) & ~is_cooling(cooldown, change)


def remember_refusals(cooldown: Tensor, change: Tensor, refused: Tensor, bars: int) -> Tensor:
    """Counters after this bar: refusals start at ``bars``, the others lose one.

    Args:
        cooldown: ``[..., N]`` bars left, signed by the refused side.
        change: ``[..., N]`` proposed change.
        refused: ``[..., N]`` bool, proposed and refused at this bar.
        bars: length of the cool-down.

    Returns:
        ``[..., N]`` new counters.
    """
    waned = cooldown.sign() * (cooldown.abs() - 1).clamp(min=0)
    return torch.where(refused, change.sign().to(cooldown.dtype) * bars, waned)
