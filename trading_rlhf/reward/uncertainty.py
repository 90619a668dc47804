"""Two kinds of not knowing: reviewers disagree, or the members of the ensemble do."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Uncertainty", "split_uncertainty"]


@dataclass(frozen=True)
class Uncertainty:
    """Entropy of the answer "approve" (nats, at most log 2), in two parts.

    Attributes:
        aleatoric: expected entropy of the members: people answer such trades differently, and
            more answers will not change that.
        epistemic: mutual information of answer and member: members disagree, and an answer would
            teach (BALD, Houlsby et al. 2011, arXiv 1112.5745, equation 2).
    """

    aleatoric: Tensor
    epistemic: Tensor

    @property
    def total(self) -> Tensor:
        """Entropy of the mean probability."""
        return self.aleatoric + self.epistemic


def split_uncertainty(p: Tensor, members: int) -> Uncertainty:
    """Split the entropy of an ensemble.

    Args:
        p: probabilities of approval with members along an axis.
        members: that axis.

    Returns:
        The parts, without the axis; the epistemic one is 0 with a single member.
    """
    aleatoric = _entropy(p).mean(members)
    # Rounding may take a difference of equal entropies below zero.
    return Uncertainty(aleatoric, (_entropy(p.mean(members)) - aleatoric).clamp(min=0))


def _entropy(p: Tensor) -> Tensor:
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
