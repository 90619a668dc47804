"""Attribute heads: how likely reviewers are to give each reason for a trade."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward.nets import trade_inputs

__all__ = ["TagHeads"]


@dataclass(frozen=True)
class TagHeads:
    """One linear head for each of K reasons, in S models of M members.

    Attributes:
        weight: ``[S, M, I, K]``, on the inputs of the reward model.
        bias: ``[S, M, K]``.
        names: the K reasons.
    """

    weight: Tensor
    bias: Tensor
    names: tuple[str, ...]

    @classmethod
    def blank(cls, sets: int, members: int, inputs: int, names: tuple[str, ...]) -> "TagHeads":
        """Heads that know nothing yet: seldom any reason."""
        return cls(
            torch.zeros(sets, members, inputs, len(names)),
            torch.full((sets, members, len(names)), -1.0),
            names,
        )

    def logits(self, rows: Tensor) -> Tensor:
        """Member logits ``[S, M, P, K]`` of input rows ``[S, P, I]``."""
        return torch.matmul(rows.unsqueeze(1), self.weight) + self.bias.unsqueeze(-2)

    def probability(self, trades: TradeTensors) -> Tensor:
        """``[S, P, K]`` chance that a skilled reviewer who gives reasons gives each of them.

        Args:
            trades: the P trades.
        """
        inputs = trade_inputs(*trades.full())[None, :, 0]
        sets = self.weight.shape[0]
        return torch.sigmoid(self.logits(inputs.expand(sets, *inputs.shape[1:]))).mean(1)
