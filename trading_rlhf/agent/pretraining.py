"""Self-supervised pre-training of the encoder on unlabelled history.

Before anything is traded, what a policy makes of the bars (``Policy.encode``: feature weights,
history, context) learns to tell something of the features themselves, through a linear readout
that is thrown away. What decides on that encoding keeps its first weights.

``next``: how each feature changes until the next bar (van den Oord et al. 2018, arXiv 1807.03748,
argue for predicting what comes; here the values themselves, as in an autoregression).
``masked``: a quarter of the features is hidden and told from the rest (Devlin et al. 2019, arXiv
1810.04805, section 3.1).
"""

import math
from collections.abc import Callable
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from trading_rlhf.agent.encoders import uniform
from trading_rlhf.agent.policy import Policy
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import ConfigError, TrainingError

__all__ = ["PretrainConfig", "encoder_parameters", "pretrain"]

_HIDDEN_SHARE: Final = 0.25
"""Share of the features that is hidden from the encoder in the task ``masked``."""

_DECIDING: Final = {"held_weight", "hidden_weight", "hidden_bias", "head_weight", "head_bias"}
"""What comes after the encoding."""


class PretrainConfig(BaseModel):
    """Settings of the encoder's pre-training on unlabelled history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(
        0, ge=0, description="Gradient steps before the training; 0 leaves it out."
    )
    learning_rate: float = Field(3e-3, gt=0, description="Adam's, falling linearly.")
    batch: int = Field(128, ge=1, description="Bars per gradient step, all assets of each.")
    task: Literal["next", "masked"] = Field(
        "next",
        description="What the encoding must tell: how the features change until the next bar "
        "(next), or those that are hidden from it (masked).",
    )


def encoder_parameters(policy: Policy) -> list[nn.Parameter]:
    """What ``Policy.encode`` consists of; each ``[S, rows, columns]``."""
    return [value for name, value in policy.named_parameters() if name not in _DECIDING]


def pretrain(
    policy: Policy,
    market: MarketTensors,
    bars: range,
    config: PretrainConfig,
    generator: torch.Generator,
    on_step: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """Train the encoders of S stacked policies, which see the same bars.

    Args:
        policy: changed in place, its encoder only.
        market: features, and which assets are listed.
        bars: bars that may be seen; the next bar of each one drawn lies within them, too.
        config: settings.
        generator: draws bars, what is hidden and the readout's first weights.
        on_step: called with the number of steps done.

    Returns:
        Loss of each policy ``[S]`` before each step: the mean square of what the readout misses,
        as a share of the mean square of what there is to tell (1 for a readout that says 0).

    Raises:
        ConfigError: fewer than two bars.
        TrainingError: a loss or weight ceases to be finite.
    """
    if len(bars) < 2:
        raise ConfigError(
            "pre-training needs at least 2 bars", f"{len(bars)}", "Use a longer history."
        )
    encoder = encoder_parameters(policy)
    readout = _Readout(policy, generator)
    optimizer = torch.optim.Adam([*encoder, *readout.parameters()], lr=config.learning_rate)
    loss_of = _Next(market, bars) if config.task == "next" else _Masked(market, bars)
    history: list[list[float]] = []
    for step in range(config.iterations):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1.0 - step / config.iterations)
        t = torch.randint(bars.start, bars.stop - 1, (config.batch,), generator=generator)
        loss = loss_of(policy, readout, t, generator)
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(loss.tolist())
        _require_finite(history[-1], step)
        if on_step is not None:
            on_step(step + 1)
    for parameter in policy.parameters():
        parameter.grad = None
    return history


class _Readout(nn.Module):
    """Linear readout of F numbers from an encoding, thrown away after pre-training."""

    def __init__(self, policy: Policy, generator: torch.Generator) -> None:
        super().__init__()
        width, members = policy.config.hidden, policy.members
        self.weight = uniform(members, width, policy.n_features, width, generator)
        self.bias = nn.Parameter(torch.zeros(members, 1, policy.n_features))

    def forward(self, encoded: Tensor) -> Tensor:
        """``[S, M, N, H]`` to ``[S, M, N, F]``."""
        # Read as the policy reads it: through tanh.
        rows = torch.tanh(encoded).flatten(1, 2)
        told = torch.baddbmm(self.bias, rows, self.weight)
        return told.view(*encoded.shape[:3], -1)


class _Next:
    """How features change from bar t to t + 1, in units of their usual change."""

    def __init__(self, market: MarketTensors, bars: range) -> None:
        self.features = market.features
        listed = _listed(market)
        # An asset that lists between two bars does not change: it begins.
        self.counts = (listed[1:] & listed[:-1]).float()
        seen = slice(bars.start, bars.stop - 1)
        change = self.features[seen.start + 1 : seen.stop + 1] - self.features[seen]
        self.scale = _root_mean_square(change, self.counts[seen])

    def __call__(
        self, policy: Policy, readout: _Readout, t: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Loss ``[S]`` at bars t ``[M]``; nothing is drawn."""
        del generator
        change = (self.features[t + 1] - self.features[t]) / self.scale
        told = readout(policy.encode_bars(self.features, t))
        return _mean_square(told - change, self.counts[t].unsqueeze(-1).expand(change.shape))


class _Masked:
    """Features of bar t that are hidden from the encoder, in units of their usual size."""

    def __init__(self, market: MarketTensors, bars: range) -> None:
        self.features, self.listed = market.features, _listed(market).float()
        seen = slice(bars.start, bars.stop)
        self.scale = _root_mean_square(self.features[seen], self.listed[seen])

    def __call__(
        self, policy: Policy, readout: _Readout, t: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Loss ``[S]`` at bars t ``[M]``."""
        seen = policy.look(self.features, t)
        hidden = torch.rand(seen.shape, generator=generator) < _HIDDEN_SHARE
        told = readout(policy.encode(torch.where(hidden, 0.0, seen)))
        # Of a window only the last bar's features are asked for.
        asked = hidden if policy.history is None else hidden[:, -1]
        counts = asked * self.listed[t].unsqueeze(-1)
        return _mean_square(told - self.features[t] / self.scale, counts)


def _listed(market: MarketTensors) -> Tensor:
    """``[T, N]`` bool, whether an asset has features at a bar."""
    if market.listed is not None:
        return market.listed
    return torch.ones(market.shape, dtype=torch.bool)


def _root_mean_square(values: Tensor, counts: Tensor) -> Tensor:
    """``[F]`` over bars and assets ``[T, N, F]`` that count ``[T, N]``; 1 for what never moves."""
    total = (values.square() * counts.unsqueeze(-1)).sum((0, 1))
    size = (total / counts.sum().clamp(min=1.0)).sqrt()
    return torch.where(size > 1e-6, size, 1.0)


def _mean_square(off: Tensor, counts: Tensor) -> Tensor:
    """``[S]`` mean of squares ``[S, M, N, F]`` over what counts ``[M, N, F]``."""
    return (off.square() * counts).sum((1, 2, 3)) / counts.sum().clamp(min=1.0)


def _require_finite(losses: list[float], step: int) -> None:
    for loss in losses:
        if not math.isfinite(loss):
            raise TrainingError(
                "the loss of pre-training must stay finite",
                f"{loss:g} in step {step + 1}",
                "Use a smaller train.pretrain.learning_rate.",
            )
