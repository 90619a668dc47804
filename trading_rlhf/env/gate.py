"""The approval gate inside the market: what a desk refuses does not happen, and is remembered.

The smooth gate gives the policy a gradient in training; every evaluation, proposal and order uses
the hard decision with a memory of refusals, because without one an unchanged proposal leaks
through a soft or redrawn gate within weeks.
"""

from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from trading_rlhf.errors import ConfigError

__all__ = [
    "GateConfig",
    "smooth_gate",
    "hard_gate",
    "is_asked",
    "is_cooling",
    "remember_refusals",
    "draw_answers",
]


class GateConfig(BaseModel):
    """How the desk's opinion acts on trades."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(0.5, gt=0, lt=1, description="A trade passes with p above this.")
    slope: float = Field(12.0, gt=0, description="Steepness of the smooth gate in training.")
    cooldown: int = Field(10, ge=0, description="Bars for which a refused side is not proposed.")
    min_trade: float = Field(
        0.002, ge=0, lt=1, description="Smaller changes (fraction of equity) are not proposed."
    )
    delay: int = Field(
        0, ge=0, le=250, description="Bars that a review lasts; an order fills so much later."
    )
    answer_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Chance at each close that a review which has lasted long enough is answered.",
    )
    expiry: int = Field(
        20, ge=0, le=1000, description="Bars after which an unanswered order lapses: no trade."
    )
    resize_steps: int = Field(
        0,
        ge=0,
        le=20,
        description="Equal parts of a change of which the desk lets the largest pass that it "
        "approves; 0 is all or nothing.",
    )

    @model_validator(mode="after")
    def _answers_before_it_lapses(self) -> "GateConfig":
        if self.expiry < self.delay:
            raise ValueError(
                f"an order lapses after expiry={self.expiry} bars, before its review "
                f"of delay={self.delay} bars is over"
            )
        return self

    @property
    def immediate(self) -> bool:
        """Whether every review is over at the close at which it starts."""
        return self.delay == 0 and self.answer_rate == 1.0

    @property
    def oldest_wait(self) -> int:
        """Bars of review left (negative: overdue) below which an order lapses."""
        return self.delay - self.expiry


def smooth_gate(approval: Tensor, config: GateConfig) -> Tensor:
    """Share of each proposed change that executes in training: sigmoid(slope * (p - threshold)).

    Args:
        approval: ``[..., N]`` probability of approval.
        config: slope and threshold.

    Returns:
        ``[..., N]`` in (0, 1).
    """
    return torch.sigmoid(config.slope * (approval - config.threshold))


def hard_gate(
    approval: Tensor,
    config: GateConfig,
    ask: Callable[[Tensor], Tensor],
    held: Tensor,
    change: Tensor,
    threshold: float,
) -> Tensor:
    """Share of each proposed change that the desk lets through: all, nothing, or a smaller size.

    Args:
        approval: ``[..., N]`` probability of approval of the whole change.
        config: steps of a resize.
        ask: probability of approval ``[..., N]`` of other targets ``[..., N]``.
        held: ``[..., N]`` weights held (fraction of equity).
        change: ``[..., N]`` proposed change (fraction of equity).
        threshold: what p must exceed.

    Returns:
        ``[..., N]`` the largest k / resize_steps whose p is above the threshold, else 0.
    """
    share = (approval > threshold).to(change.dtype)
    for step in range(config.resize_steps - 1, 0, -1):
        smaller = step / config.resize_steps
        passes = (share == 0) & (ask(held + smaller * change) > threshold)
        share = torch.where(passes, smaller, share)
    return share


def draw_answers(
    config: GateConfig, shape: torch.Size, generator: torch.Generator | None
) -> Tensor | None:
    """Draw which reviews that have lasted long enough are answered at this close.

    Args:
        config: the chance of an answer.
        shape: of the orders, ``[..., N]``.
        generator: the source of chance, on the orders' device.

    Returns:
        ``shape`` bool; None where all are answered, which draws nothing.

    Raises:
        ConfigError: answers are a matter of chance and there is no generator.
    """
    if config.answer_rate == 1.0:
        return None
    if generator is None:
        raise ConfigError(
            "a desk that answers by chance needs a random generator",
            f"answer_rate={config.answer_rate} and none",
            "Pass one, or set answer_rate to 1.",
        )
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return drawn < config.answer_rate


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
