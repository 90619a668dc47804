"""The policy: where weight should go, and how far to go there now.

One encoder is shared by all assets, so a policy trained on one universe applies to another. S
policies (seeds or arms) are stacked in one set of tensors and run as one batched call.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from trading_rlhf.agent.context import Attention, Pooled
from trading_rlhf.agent.encoders import Convolution, Recurrent, uniform, window_rows, windows
from trading_rlhf.errors import CheckpointError
from trading_rlhf.types import JsonDict

__all__ = ["PolicyConfig", "Policy", "Decision"]


class PolicyConfig(BaseModel):
    """Shape of the policy network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(32, ge=4, le=1024, description="Width of both hidden layers.")
    tilt: float = Field(0.8, gt=0, le=10, description="Largest score; larger concentrates more.")
    max_gross: float = Field(
        0.98, gt=0, le=1, description="Limit of invested equity; the rest pays costs."
    )
    encoder: Literal["mlp", "gru", "conv"] = Field(
        "mlp",
        description="What reads the features: the decision's bar alone (mlp), or a window of bars "
        "(gru: recurrent; conv: causal convolution).",
    )
    window: int = Field(1, ge=1, le=512, description="Bars that gru and conv see; 1 for mlp.")
    context: Literal["none", "pooled", "attention"] = Field(
        "none", description="What an asset's encoding takes from the other assets'."
    )
    heads: int = Field(1, ge=1, le=64, description="Heads of attention; they divide hidden.")
    long_only: bool = Field(True, description="Whether weights stay at or above 0.")

    @model_validator(mode="after")
    def _fits(self) -> "PolicyConfig":
        if self.encoder == "mlp" and self.window != 1:
            raise ValueError(
                f"an mlp sees one bar, so window must be 1, not {self.window}, or the encoder "
                "gru or conv"
            )
        if self.encoder != "mlp" and self.window < 2:
            raise ValueError(f"the encoder {self.encoder} needs a window of at least 2 bars")
        if self.hidden % self.heads:
            raise ValueError(f"heads={self.heads} must divide hidden={self.hidden}")
        return self

    @property
    def plain(self) -> bool:
        """Whether an asset's score depends on its own bar and weight only, and none is short."""
        return self.encoder == "mlp" and self.context == "none" and self.long_only

    def stored(self) -> JsonDict:
        """What a checkpoint says of the policy: settings beyond the plain one only where used.

        So a plain policy keeps the id that it had before there were others.
        """
        usual = PolicyConfig()
        added = ("encoder", "window", "context", "heads", "long_only")
        same = {name for name in added if getattr(self, name) == getattr(usual, name)}
        return self.model_dump(exclude=same)


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
    """Policy with a score per asset and a gate per asset and side.

    Args:
        n_features: F.
        config: architecture, tilt and gross limit.
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
        self.feature_weight = uniform(members, n_features, width, inputs, generator)
        self.held_weight = uniform(members, 1, width, inputs, generator)
        self.feature_bias = uniform(members, 1, width, inputs, generator)
        self.hidden_weight = uniform(members, width, width, width, generator)
        self.hidden_bias = uniform(members, 1, width, width, generator)
        self.head_weight = uniform(members, width, 3, width, generator)
        self.head_bias = uniform(members, 1, 3, width, generator)
        self.history = _history(n_features, config, members, generator)
        self.context = _context(config, members, generator)

    def look(self, features: Tensor, t: Tensor) -> Tensor:
        """What the encoder reads for decisions at the close of bars t; nothing after t.

        Args:
            features: ``[T, N, F]``.
            t: ``[...]`` bars.

        Returns:
            ``[..., N, F]``, or the windows ``[..., W, N, F]`` that end at t where the encoder reads
            windows; bars before the first repeat the first.
        """
        return features[t] if self.history is None else windows(features, t, self.config.window)

    def encode(self, seen: Tensor) -> Tensor:
        """Everything that does not depend on what is held; computed once per batch of bars.

        Args:
            seen: ``[..., N, F]`` or ``[..., W, N, F]`` from ``look``.

        Returns:
            ``[S, ..., N, H]``.
        """
        if self.history is None:
            return self._with_context(self._encode_bar(seen))
        length = self.config.window
        rows = seen.reshape(-1, *seen.shape[-2:])
        ends = torch.arange(length - 1, len(rows), length, device=rows.device)
        encoded = self._encode_bar(rows[ends]) + self.history(rows, ends)
        return self._with_context(encoded).view(self.members, *seen.shape[:-3], *encoded.shape[2:])

    def encode_bars(self, features: Tensor, t: Tensor) -> Tensor:
        """``encode(look(features, t))``; what bars and windows share is computed once.

        Args:
            features: ``[T, N, F]``.
            t: ``[...]`` bars.

        Returns:
            ``[S, ..., N, H]``.
        """
        if self.history is None and self.context is None:
            return self.encode(self.look(features, t))
        rows, ends, place = window_rows(features, t, self.config.window)
        encoded = self._encode_bar(rows[ends])
        if self.history is not None:
            encoded = encoded + self.history(rows, ends)
        encoded = self._with_context(encoded).index_select(1, place)
        return encoded.view(self.members, *t.shape, *encoded.shape[2:])

    def _encode_bar(self, features: Tensor) -> Tensor:
        """``[..., N, F]`` of the decision's bars to ``[S, ..., N, H]``."""
        flat = features.reshape(1, -1, self.n_features)
        encoded = torch.matmul(flat, self.feature_weight) + self.feature_bias
        return encoded.view(self.members, *features.shape[:-1], -1)

    def _with_context(self, encoded: Tensor) -> Tensor:
        """Add what each asset takes from the others."""
        if self.context is None:
            return encoded
        rows = encoded.reshape(self.members, -1, *encoded.shape[-2:])
        added: Tensor = self.context(rows)
        return (rows + added).view(encoded.shape)

    def before(self, shape: torch.Size) -> Tensor:
        """Weights of ``shape`` ``[S, ..., N]`` from which a policy without a past decides.

        Equal weights in all assets and cash; flat where shorts are allowed.
        """
        share = 1.0 / (shape[-1] + 1) if self.config.long_only else 0.0
        return torch.full(shape, share)

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
        score, paces = self.mean_action(encoded, held)
        return self.act(held, score if noise is None else score + noise, paces)

    def mean_action(self, encoded: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``[S, ..., N]`` and logits of the gate ``[S, ..., N, 2]``; see ``decide``."""
        shape = held.shape
        rows = encoded.reshape(self.members, -1, encoded.shape[-1])
        # Relative to equal weights, so that the number of assets does not matter.
        own = held.reshape(self.members, -1, 1) * held.shape[-1]
        if self.config.long_only:
            own = own - 1.0
        hidden = torch.tanh(rows + own * self.held_weight)
        hidden = torch.tanh(torch.baddbmm(self.hidden_bias, hidden, self.hidden_weight))
        out = torch.baddbmm(self.head_bias, hidden, self.head_weight).view(*shape, 3)
        return self.config.tilt * torch.tanh(out[..., 0]), out[..., 1:]

    def act(self, held: Tensor, score: Tensor, paces: Tensor) -> Decision:
        """The decision that scores and gates lead to; shapes as in ``mean_action``."""
        goal = self._goal(score)
        wanted = goal - held
        gate = torch.sigmoid(torch.where(wanted > 0, paces[..., 0], paces[..., 1]))
        return Decision(held + gate * wanted, goal, gate, score, paces)

    def _goal(self, score: Tensor) -> Tensor:
        """Weights ``[..., N]`` of scores: sum of absolute weights at most ``max_gross``."""
        # Cash competes with score 0, so the policy can leave the market.
        if self.config.long_only:
            with_cash = nn.functional.pad(score, (0, 1))
            return torch.softmax(with_cash, -1)[..., :-1] * self.config.max_gross
        # Each asset's long side competes with its short side, too: score 0 is flat.
        sides = torch.softmax(nn.functional.pad(torch.cat([score, -score], -1), (0, 1)), -1)
        n_assets = score.shape[-1]
        net = sides[..., :n_assets] - sides[..., n_assets : 2 * n_assets]
        return net * self.config.max_gross

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
            chosen.get_parameter(name).data = value.data[members].clone()
        return chosen


def _history(
    n_features: int, config: PolicyConfig, members: int, generator: torch.Generator
) -> Recurrent | Convolution | None:
    if config.encoder == "mlp":
        return None
    kind = Recurrent if config.encoder == "gru" else Convolution
    return kind(n_features, config.hidden, config.window, members, generator)


def _context(
    config: PolicyConfig, members: int, generator: torch.Generator
) -> Pooled | Attention | None:
    if config.context == "none":
        return None
    if config.context == "pooled":
        return Pooled(config.hidden, members, generator)
    return Attention(config.hidden, config.heads, members, generator)
