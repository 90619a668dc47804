"""The reward model's networks: an ensemble with a linear path and one small tanh layer.

Few answers need structure, so every feature also enters multiplied by the trade's side: "trend is
good for buys" is then one weight instead of an interaction to be discovered.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.errors import CheckpointError
from trading_rlhf.reward.uncertainty import Uncertainty, split_uncertainty

__all__ = ["RewardModel", "trade_inputs"]

_RAW_FEATURE_SCALE = 0.4
"""Side-free features enter smaller, so that decay prefers the side-multiplied ones."""


def trade_inputs(features: Tensor, held: Tensor, target: Tensor) -> Tensor:
    """Inputs of the reward model for every asset.

    Weights are taken relative to equal weights (times N/2 or N), so that the number of assets
    does not matter. Expected cost is proportional to the size of the change, which is an input.

    Args:
        features: ``[..., N, F]`` (standard deviations), broadcast against the weights.
        held: ``[..., N]`` weights at the decision's close (fraction of equity).
        target: ``[..., N]`` proposed weights (fraction of equity).

    Returns:
        ``[..., N, 2F + 6]``: features, features times side, side, held, target, signed change,
        size of the change, gross exposure.
    """
    n_assets = held.shape[-1]
    change = target - held
    side = change.sign().unsqueeze(-1)
    gross = held.abs().sum(-1, keepdim=True).expand_as(held)
    columns = [
        (held * n_assets / 2).clamp(-3, 3),
        (target * n_assets / 2).clamp(-3, 3),
        (change * n_assets).clamp(-1, 1),
        (change.abs() * n_assets).clamp(max=3),
        gross,
    ]
    features = features.expand(*held.shape, features.shape[-1])
    extra = torch.stack(columns, -1)
    return torch.cat([features * _RAW_FEATURE_SCALE, features * side, side, extra], -1)


@dataclass(frozen=True)
class RewardModel:
    """S reward models of M members each, evaluated as one batched call.

    Attributes:
        line_weight: ``[S, M, I]``.
        line_bias: ``[S, M]``.
        hidden_weight: ``[S, M, I, H]``.
        hidden_bias: ``[S, M, H]``.
        out_weight: ``[S, M, H]``.
        temperature: ``[S]`` divides the logits; chosen on held-out answers.
    """

    line_weight: Tensor
    line_bias: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    out_weight: Tensor
    temperature: Tensor

    @property
    def n_models(self) -> int:
        """S."""
        return int(self.line_weight.shape[0])

    def logits(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        """Member logits ``[S, M, ..., N]`` of trades given as in ``trade_inputs``.

        Weights carry the leading S, or have none and then meet every model.
        """
        inputs = trade_inputs(features, held, target)
        if held.ndim < 2 or held.shape[0] != self.n_models:
            inputs = inputs.expand(self.n_models, *inputs.shape)
        shape = inputs.shape[1:-1]
        rows = inputs.reshape(self.n_models, 1, -1, inputs.shape[-1])
        return self.logits_of_inputs(rows).view(self.n_models, -1, *shape)

    def logits_of_inputs(self, rows: Tensor) -> Tensor:
        """Member logits ``[S, M, P]`` of input rows ``[S, M or 1, P, I]``."""
        line = torch.matmul(rows, self.line_weight.unsqueeze(-1)).squeeze(-1)
        hidden = torch.tanh(torch.matmul(rows, self.hidden_weight) + self.hidden_bias.unsqueeze(-2))
        bend = torch.matmul(hidden, self.out_weight.unsqueeze(-1)).squeeze(-1)
        raw = line + bend + self.line_bias.unsqueeze(-1)
        return raw / self.temperature.view(-1, 1, 1)

    def approval(
        self, features: Tensor, held: Tensor, target: Tensor, pessimism: float = 0.0
    ) -> Tensor:
        """Probability of approval ``[S, ..., N]``.

        Args:
            features: ``[..., N, F]``.
            held: ``[S, ..., N]`` (fraction of equity).
            target: ``[S, ..., N]`` (fraction of equity).
            pessimism: k in sigmoid(mean - k * std over members); 0 is the plain estimate.
        """
        logits = self.logits(features, held, target)
        centre = logits.mean(1)
        if pessimism and logits.shape[1] > 1:
            centre = centre - pessimism * logits.std(1)
        return torch.sigmoid(centre)

    def disagreement(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        """Standard deviation of p over members ``[S, ..., N]``: what answers could still teach.

        Zero with a single member.
        """
        p = torch.sigmoid(self.logits(features, held, target))
        return p.std(1) if p.shape[1] > 1 else torch.zeros_like(p[:, 0])

    def uncertainty(self, features: Tensor, held: Tensor, target: Tensor) -> Uncertainty:
        """What is not known about an answer, ``[S, ..., N]``: people's part and the model's.

        Arguments as of ``logits``.
        """
        return split_uncertainty(torch.sigmoid(self.logits(features, held, target)), members=1)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, for storage."""
        return dict(self.__dict__)

    def only(self, number: int) -> "RewardModel":
        """One of the S models, by itself."""
        return RewardModel(**{k: v[number : number + 1] for k, v in self.tensors().items()})

    @classmethod
    def stack(cls, models: list["RewardModel"]) -> "RewardModel":
        """Join models along S.

        Raises:
            CheckpointError: they have different shapes.
        """
        try:
            joined = {
                name: torch.cat([model.tensors()[name] for model in models])
                for name in models[0].tensors()
            }
        except RuntimeError as error:
            raise CheckpointError(
                "stacked reward models must have one shape", str(error), "Fit them alike."
            ) from error
        return cls(**joined)
