"""What an environment rewards and which limits it watches.

Several objectives with weights, and constraints that are reported and not enforced, after the
challenges of Dulac-Arnold et al. (2019), arXiv 1904.12901.
"""

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

__all__ = ["ConstraintConfig", "ObjectiveConfig", "Outcome", "objectives", "score", "violations"]


class ObjectiveConfig(BaseModel):
    """Weights of what a step is rewarded for; the defaults reward log growth alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    growth: float = Field(1.0, description="Weight of log growth.")
    variance: float = Field(
        0.0, ge=0, description="Risk aversion: half of it times squared log growth is subtracted."
    )
    turnover: float = Field(
        0.0, ge=0, description="Subtracted per traded weight (fraction of equity), beside costs."
    )
    drawdown: float = Field(
        0.0, ge=0, description="Subtracted per increase of the drawdown (fraction of the peak)."
    )


class ConstraintConfig(BaseModel):
    """Limits that are watched: a breach is reported with the step and changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_drawdown: float = Field(0.2, ge=0, le=1, description="Largest fall from the peak.")
    max_exposure: float = Field(
        0.98, ge=0, description="Largest sum of absolute weights at a close (fraction of equity)."
    )
    max_turnover: float = Field(
        0.25, ge=0, description="Largest sum of absolute orders of a bar (fraction of equity)."
    )


@dataclass(frozen=True)
class Outcome:
    """What a step is judged by.

    Attributes:
        log_growth: ``[B]`` log of equity growth from close to close.
        turnover: ``[B]`` sum of absolute orders (fraction of equity).
        exposure: ``[B]`` sum of absolute weights at the new close (fraction of equity).
        drawdown: ``[B]`` fall of equity from the episode's peak at the new close (fraction).
        deepened: ``[B]`` increase of the drawdown over the step; 0 where it fell.
    """

    log_growth: Tensor
    turnover: Tensor
    exposure: Tensor
    drawdown: Tensor
    deepened: Tensor


def objectives(outcome: Outcome) -> Tensor:
    """Value of each objective, larger being better.

    Returns:
        ``[B, 4]`` in the order of ``ObjectiveConfig``: growth, variance, turnover, drawdown.
    """
    growth = outcome.log_growth
    return torch.stack([growth, -0.5 * growth.square(), -outcome.turnover, -outcome.deepened], -1)


def score(outcome: Outcome, config: ObjectiveConfig) -> Tensor:
    """Weighted sum of the objectives ``[B]``: the reward."""
    growth, variance, turnover, drawdown = objectives(outcome).unbind(-1)
    return (
        config.growth * growth
        + config.variance * variance
        + config.turnover * turnover
        + config.drawdown * drawdown
    )


def violations(outcome: Outcome, config: ConstraintConfig) -> Tensor:
    """Which limits a step breaches.

    Returns:
        ``[B, 3]`` bool in the order of ``ConstraintConfig``: drawdown, exposure, turnover.
    """
    return torch.stack(
        [
            outcome.drawdown > config.max_drawdown,
            outcome.exposure > config.max_exposure,
            outcome.turnover > config.max_turnover,
        ],
        -1,
    )
