"""Imitation: towards the weights that reviewers wanted where they said which (behaviour cloning).

An extra term beside the return, as in Nair et al. (2018), "Overcoming exploration in reinforcement
learning with demonstrations" (arXiv 1709.10089, section IV-B): the squared distance of the
policy's own action from the one that was shown to it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.agent.policy import Policy
from trading_rlhf.errors import ConfigError

__all__ = ["Demonstrations", "distance_from_wanted"]


@dataclass(frozen=True)
class Demonstrations:
    """K decisions for which reviewers named weights.

    A resize names the weight of one asset, a demonstration that of all.

    Attributes:
        bars: ``[K]`` int64, bars at whose close was decided.
        held: ``[K, N]`` weights held then (fraction of equity).
        wanted: ``[S, K, N]`` weights wanted (fraction of equity), NaN where nothing was said; S is
            that of the policies who learn from it, or 1 for all alike.
        weight: ``[S, K]`` how much each decision counts, 0 or more; a policy whose weights are all
            0 learns nothing from it.
    """

    bars: Tensor
    held: Tensor
    wanted: Tensor
    weight: Tensor

    def __post_init__(self) -> None:
        learners, decisions = self.weight.shape if self.weight.ndim == 2 else (0, 0)
        fits = (
            decisions > 0
            and self.bars.shape == (decisions,)
            and self.held.shape[:1] == (decisions,)
            and self.wanted.shape == (learners, *self.held.shape)
        )
        if not fits:
            raise ConfigError(
                "demonstrations need bars [K], held [K, N], wanted [S, K, N] and weight [S, K], "
                "with K above 0",
                ", ".join(
                    str(list(part.shape))
                    for part in (self.bars, self.held, self.wanted, self.weight)
                ),
                "Bring one row per decision.",
            )
        if bool(self.wanted.isinf().any()) or not bool(self.held.isfinite().all()):
            raise ConfigError(
                "weights held and wanted must be finite, NaN only where nothing was said",
                "others",
                "Leave out the decisions that have none.",
            )
        if not bool((self.weight.isfinite() & (self.weight >= 0)).all()):
            raise ConfigError(
                "a decision counts 0 or more", f"{float(self.weight.min()):g}", "Correct weight."
            )

    def rows(self, chosen: Tensor) -> "Demonstrations":
        """The decisions at ``chosen`` ``[k]``."""
        return Demonstrations(
            self.bars[chosen], self.held[chosen], self.wanted[:, chosen], self.weight[:, chosen]
        )


def distance_from_wanted(
    policy: Policy, features: Tensor, demonstrations: Demonstrations
) -> Tensor:
    """Squared distance of the policies' targets from the weights wanted.

    Summed over the assets of a decision for which a weight was named, averaged over decisions by
    their weight.

    Args:
        policy: S policies.
        features: ``[T, N, F]`` of the market on which was decided.
        demonstrations: what was wanted.

    Returns:
        ``[S]`` (fraction of equity, squared), with gradients.
    """
    encoded = policy.encode_bars(features, demonstrations.bars)
    held = demonstrations.held.expand(policy.members, *demonstrations.held.shape)
    target = policy.decide(encoded, held).target
    said = ~demonstrations.wanted.isnan()
    # Zeros in place of NaN: a gradient times NaN is NaN even where the result is not used.
    off = (target - demonstrations.wanted.nan_to_num()) * said
    weight = demonstrations.weight
    # Where all weights are 0 the shares are, too.
    share = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    return (share * off.square().sum(-1)).sum(1)
