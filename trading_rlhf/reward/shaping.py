"""How the reward model enters training: as the desk itself, and optionally as a price."""

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trading_rlhf.accounting import BPS
from trading_rlhf.agent import ProfitReward
from trading_rlhf.reward.nets import RewardModel
from trading_rlhf.types import Desk

__all__ = ["ShapingConfig", "ShapedReward", "ModelDesk", "SlicedDesk", "SlicedReward"]


class ShapingConfig(BaseModel):
    """The optional price of proposing what the desk disapproves, beside the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    price_bps: float = Field(
        0.0, ge=0, le=1000, description="Charge on disapproved notional; 10 buys approval, dearly."
    )
    target_approval: float = Field(
        0.7, gt=0, le=1, description="Approval below which the price is charged."
    )


@dataclass(frozen=True)
class ShapedReward:
    """Profit less price * sum_i |change_i| * max(target_approval - p_i, 0).

    Attributes:
        profit: the base objective.
        config: price and target.
    """

    profit: ProfitReward
    config: ShapingConfig

    def __call__(self, log_growth: Tensor, change: Tensor, approval: Tensor | None) -> Tensor:
        """Return ``[..., B]``; the price acts on what was proposed, executed or not."""
        reward = self.profit(log_growth, change, approval)
        if approval is None or not self.config.price_bps:
            return reward
        short = (self.config.target_approval - approval).clamp(min=0)
        return reward - self.config.price_bps * BPS * (change.abs() * short).sum(-1)


@dataclass(frozen=True)
class SlicedReward:
    """Different objectives for different stacked policies.

    Attributes:
        parts: one per policy, in stacking order.
    """

    parts: tuple[ShapedReward, ...]

    def __call__(self, log_growth: Tensor, change: Tensor, approval: Tensor | None) -> Tensor:
        """Return ``[S, B]`` from log growth ``[S, B]`` and changes ``[S, B, N]``."""
        rows = [
            part(log_growth[i], change[i], None if approval is None else approval[i])
            for i, part in enumerate(self.parts)
        ]
        return torch.stack(rows)


@dataclass(frozen=True)
class ModelDesk:
    """A reward model in the desk's place.

    Attributes:
        model: S stacked reward models.
        pessimism: standard deviations over members subtracted from the logit.
    """

    model: RewardModel
    pessimism: float = 0.0

    def __call__(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        """Return p ``[S, ..., N]``."""
        return self.model.approval(features, held, target, self.pessimism)


@dataclass(frozen=True)
class SlicedDesk:
    """Different desks for different stacked policies.

    Attributes:
        parts: (number of policies, their desk), in stacking order; None approves everything.
    """

    parts: tuple[tuple[int, Desk | None], ...]

    def __call__(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        """Return p ``[S, ..., N]``."""
        scored, first = [], 0
        for count, desk in self.parts:
            own, wanted = held[first : first + count], target[first : first + count]
            scored.append(torch.ones_like(own) if desk is None else desk(features, own, wanted))
            first += count
        return torch.cat(scored)
