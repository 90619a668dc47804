"""What PPO learns beside a policy: its value, and how widely to explore."""

import math

import torch
from torch import Tensor, nn

from trading_rlhf.agent.encoders import uniform

__all__ = ["Critic"]


class Critic(nn.Module):
    """Value of a portfolio at a close, with a running scale of returns, for S policies.

    An encoder shared by all assets, the mean over them, and a linear head, so that the order of the
    assets does not matter and any number of them will do. The head gives the value in units of the
    returns seen so far.

    Args:
        n_features: F.
        hidden: H.
        members: S.
        initial_std: exploration at the start (see ``log_std``).
        generator: source of the initial weights.

    Attributes:
        log_std: ``[S, 1, 2]`` log of the exploration of scores (share of the largest score) and of
            gates (logits, in units of two).
        scale: ``[S, 3]`` mean, variance and number of the returns seen.
    """

    def __init__(
        self,
        n_features: int,
        hidden: int,
        members: int,
        initial_std: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        inputs = n_features + 1
        self.input_weight = uniform(members, inputs, hidden, inputs, generator)
        self.input_bias = uniform(members, 1, hidden, inputs, generator)
        self.hidden_weight = uniform(members, hidden, hidden, hidden, generator)
        self.hidden_bias = uniform(members, 1, hidden, hidden, generator)
        self.head_weight = nn.Parameter(torch.zeros(members, hidden, 1))
        self.head_bias = nn.Parameter(torch.zeros(members, 1, 1))
        self.log_std = nn.Parameter(torch.full((members, 1, 2), math.log(initial_std)))
        self.register_buffer("scale", torch.tensor([0.0, 1.0, 0.0]).repeat(members, 1))
        self.scale: Tensor

    def forward(self, features: Tensor, held: Tensor) -> Tensor:
        """Return normalised values ``[S, M]``.

        Args:
            features: ``[M, N, F]`` at the decisions.
            held: ``[S, M, N]`` weights held and ordered (fraction of equity).
        """
        members, rows, n_assets = held.shape
        own = (held * n_assets).unsqueeze(-1)
        seen = torch.cat([features.expand(members, *features.shape), own], -1)
        hidden = torch.tanh(torch.baddbmm(self.input_bias, seen.flatten(1, 2), self.input_weight))
        pooled = hidden.view(members, rows, n_assets, -1).mean(2)
        hidden = torch.tanh(torch.baddbmm(self.hidden_bias, pooled, self.hidden_weight))
        out = torch.baddbmm(self.head_bias, hidden, self.head_weight)
        return out.squeeze(-1)

    def value(self, features: Tensor, held: Tensor) -> Tensor:
        """Return values ``[S, M]`` in units of reward; arguments as of ``forward``."""
        mean, variance, _ = self.scale.unsqueeze(1).unbind(-1)
        value: Tensor = mean + variance.sqrt() * self(features, held)
        return value

    def normalised(self, returns: Tensor) -> Tensor:
        """Returns ``[S, M]`` in units of the returns seen so far."""
        mean, variance, _ = self.scale.unsqueeze(1).unbind(-1)
        return (returns - mean) / variance.sqrt().clamp(min=1e-8)

    @torch.no_grad()
    def observe(self, returns: Tensor) -> None:
        """Take returns ``[S, M]`` into the running scale (Chan et al. 1979); the head follows.

        What the critic says of any portfolio stays the same in units of reward (van Hasselt et al.
        2016, arXiv 1602.07714).
        """
        mean, variance, count = self.scale.unbind(-1)
        rows = returns.shape[1]
        total = count + rows
        distance = returns.mean(1) - mean
        spread = variance * count + returns.var(1, correction=0) * rows
        new = (spread + distance.square() * count * rows / total) / total
        new = new.clamp(min=1e-16)
        moved = mean + distance * rows / total
        ratio = (variance / new).sqrt()
        shift = (mean - moved) / new.sqrt()
        # Nothing was said before the first returns.
        first = count == 0
        ratio, shift = torch.where(first, 1.0, ratio), torch.where(first, 0.0, shift)
        self.head_weight.mul_(ratio.view(-1, 1, 1))
        self.head_bias.mul_(ratio.view(-1, 1, 1)).add_(shift.view(-1, 1, 1))
        self.scale.copy_(torch.stack([moved, new, total], -1))
