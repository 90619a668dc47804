"""The policy: where weight should go, and how far to go there now.

One encoder is shared by all assets, so a policy trained on one universe applies to another. S
policies (seeds or arms) are stacked in one set of tensors and run as one batched call.
"""

import math
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from trading_rlhf.errors import CheckpointError

__all__ = ["PolicyConfig", "Policy", "Decision"]


class PolicyConfig(BaseModel):
    """Shape of the policy network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(32, ge=4, le=1024, description="Width of both hidden layers.")
    tilt: float = Field(0.8, gt=0, le=10, description="Largest score; larger concentrates more.")
    max_gross: float = Field(
        0.98, gt=0, le=1, description="Limit of invested equity; the rest pays costs."
    )


@dataclass(frozen=True)
class Decision:
    """What the policy wants at a bar.

    Attributes:
        target: ``[S, ..., N]`` weights to move to now (fraction of equity).
        goal: ``[S, ..., N]`` weights it would move to without restraint.
        gate: ``[S, ..., N]`` share of the way that it goes now, 0 to 1.
        score: ``[S, ..., N]`` score per asset, cash being 0.
        paces: ``[S, ..., N, 2]`` logits of the gate for a buy and for a sale.
    """

    target: Tensor
    goal: Tensor
    gate: Tensor
    score: Tensor
    paces: Tensor


class Policy(nn.Module):
    """Long-only policy with a score and a gate per asset and side.

    Args:
        n_features: F.
        config: width, tilt and gross limit.
        members: S, how many policies are stacked.
        generator: source of the initial weights.
    """

    def __init__(
        self, n_features: int, config: PolicyConfig, members: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config, self.n_features, self.members = config, n_features, members
        width = config.hidden
        inputs = n_features + 1
        self.feature_weight = _uniform(members, n_features, width, inputs, generator)
        self.held_weight = _uniform(members, 1, width, inputs, generator)
        self.feature_bias = _uniform(members, 1, width, inputs, generator)
        self.hidden_weight = _uniform(members, width, width, width, generator)
        self.hidden_bias = _uniform(members, 1, width, width, generator)
        self.head_weight = _uniform(members, width, 3, width, generator)
        self.head_bias = _uniform(members, 1, 3, width, generator)

    def encode(self, features: Tensor) -> Tensor:
        """Everything that does not depend on what is held; computed once per batch of bars.

        Args:
            features: ``[..., N, F]``.

        Returns:
            ``[S, ..., N, H]``.
        """
        flat = features.reshape(1, -1, self.n_features)
        encoded = torch.matmul(flat, self.feature_weight) + self.feature_bias
        return encoded.view(self.members, *features.shape[:-1], -1)

    def decide(self, encoded: Tensor, held: Tensor, noise: Tensor | None = None) -> Decision:
        """Decide with encoded features and held weights.

        Args:
            encoded: ``[S, ..., N, H]`` from ``encode``.
            held: ``[S, ..., N]`` weights at the decision's close (fraction of equity).
            noise: ``[S, ..., N]`` added to the scores for exploration, or None.

        Returns:
            The decision. Goals stay within ``max_gross``; targets may exceed it while gates sell
            slower than they buy, so orders go through ``settle``.
        """
        shape = held.shape
        rows = encoded.reshape(self.members, -1, encoded.shape[-1])
        # Relative to equal weights, so that the number of assets does not matter.
        own = held.reshape(self.members, -1, 1) * held.shape[-1] - 1.0
        hidden = torch.tanh(rows + own * self.held_weight)
        hidden = torch.tanh(torch.baddbmm(self.hidden_bias, hidden, self.hidden_weight))
        out = torch.baddbmm(self.head_bias, hidden, self.head_weight).view(*shape, 3)
        score = self.config.tilt * torch.tanh(out[..., 0])
        if noise is not None:
            score = score + noise
        # Cash competes with score 0, so the policy can leave the market.
        with_cash = nn.functional.pad(score, (0, 1))
        goal = torch.softmax(with_cash, -1)[..., :-1] * self.config.max_gross
        wanted = goal - held
        gate = torch.sigmoid(torch.where(wanted > 0, out[..., 1], out[..., 2]))
        return Decision(held + gate * wanted, goal, gate, score, out[..., 1:])

    def select(self, members: list[int]) -> "Policy":
        """Copy some members (with repetition) into a new stacked policy.

        Raises:
            CheckpointError: a member does not exist.
        """
        if not members or min(members) < 0 or max(members) >= self.members:
            raise CheckpointError(
                f"members must lie in 0..{self.members - 1}", str(members), "Choose others."
            )
        chosen = Policy(self.n_features, self.config, len(members), torch.Generator())
        for name, value in self.named_parameters():
            getattr(chosen, name).data = value.data[members].clone()
        return chosen


def _uniform(
    members: int, rows: int, columns: int, fan_in: int, generator: torch.Generator
) -> nn.Parameter:
    bound = 1.0 / math.sqrt(fan_in)
    values = torch.rand(members, rows, columns, generator=generator)
    return nn.Parameter((values * 2 - 1) * bound)
