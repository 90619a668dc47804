"""The dimension glossary, array aliases and the seams between rooms.

B episodes or strategies, T bars, N assets, F features, P pairs, K bars of a fragment, M ensemble
members, S stacked policies (seeds or arms trained side by side). Returns, weights and costs are
fractions; a rate in basis points carries ``bps`` in its name.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    # Only named here: the command line answers before torch is loaded.
    from torch import Tensor

__all__ = ["BoolArray", "Clock", "Desk", "FloatArray", "JsonDict", "Progress", "RewardFn"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
JsonDict: TypeAlias = dict[str, Any]

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present as a time-zone aware datetime; passed in, so tests and replays set it."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all) during long work."""


class Desk(Protocol):
    """The approval gate: probability that the desk approves each proposed trade."""

    def __call__(self, features: "Tensor", held: "Tensor", target: "Tensor") -> "Tensor":
        """Score trades.

        Args:
            features: ``[..., N, F]`` causal features at the decision bar.
            held: ``[..., N]`` weights at the close of that bar (fraction of equity).
            target: ``[..., N]`` proposed weights (fraction of equity).

        Returns:
            ``[..., N]`` probability of approval.
        """
        ...


class RewardFn(Protocol):
    """What a trainer maximises, one value per step."""

    def __call__(
        self, log_growth: "Tensor", change: "Tensor", approval: "Tensor | None"
    ) -> "Tensor":
        """Score one step.

        Args:
            log_growth: ``[..., B]`` log of equity at close t+1 over equity at close t.
            change: ``[..., B, N]`` proposed change of weights (fraction of equity).
            approval: ``[..., B, N]`` probability of approval, or None without a desk.

        Returns:
            ``[..., B]`` reward.
        """
        ...
