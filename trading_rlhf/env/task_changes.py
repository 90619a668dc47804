"""Changes of what is asked of a policy: limits that are watched, and other aims."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from trading_rlhf.env.challenge_setup import Challenge, Setup
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig

__all__ = ["OtherAims", "WatchedLimits"]


@dataclass(frozen=True)
class WatchedLimits(Challenge):
    """Limits are watched; a breach is reported and changes nothing.

    Attributes:
        limits: of drawdown, exposure and turnover.
    """

    limits: ConstraintConfig
    name: ClassVar[str] = "constraints"
    label: ClassVar[str] = "limits watched"
    changes_task: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Set the limits."""
        del generator
        return replace(setup, limits=self.limits)

    def describe(self) -> str:
        """Say how tight they are."""
        limits = self.limits
        return (
            f"drawdown {100 * limits.max_drawdown:g}%, invested {100 * limits.max_exposure:g}%, "
            f"traded {100 * limits.max_turnover:g}%"
        )


@dataclass(frozen=True)
class OtherAims(Challenge):
    """The score weighs risk, trading and losses beside growth.

    Attributes:
        objective: the weights.
    """

    objective: ObjectiveConfig
    name: ClassVar[str] = "reward_weights"
    label: ClassVar[str] = "other aims"
    changes_task: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Set the weights."""
        del generator
        return replace(setup, objective=self.objective)

    def describe(self) -> str:
        """Say what is subtracted from growth."""
        weights = {name: getattr(self.objective, name) for name in _SUBTRACTED}
        return "less " + ", ".join(f"{w:g} {name}" for name, w in weights.items() if w)


_SUBTRACTED = ("variance", "turnover", "drawdown")
