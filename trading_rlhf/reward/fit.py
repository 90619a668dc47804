"""Fit the reward model to reviewers' verdicts."""

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trading_rlhf.errors import NotEnoughAnswersError
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward.likelihood import ReviewerEffects, answer_probability, log_prior
from trading_rlhf.reward.nets import RewardModel, trade_inputs

__all__ = ["FitConfig", "Verdicts", "Fitted", "fit_reward_model"]


class FitConfig(BaseModel):
    """Settings of the reward model's fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(5, ge=1, le=64, description="Members of the ensemble.")
    hidden: int = Field(16, ge=1, le=512, description="Width of the tanh layer.")
    iterations: int = Field(200, ge=1, description="AdamW steps on all answers.")
    learning_rate: float = Field(1e-2, gt=0, description="AdamW's.")
    layer_decay: float = Field(3.0, ge=0, description="Decoupled decay of the tanh layer.")
    line_decay: float = Field(0.3, ge=0, description="Decoupled decay of the linear path.")
    held_out: float = Field(
        0.25, gt=0, lt=1, description="Latest share of the answers, by decision bar, for testing."
    )
    pessimism: float = Field(
        0.5, ge=0, description="Standard deviations over members subtracted in training."
    )
    minimum: int = Field(30, ge=10, description="Verdicts needed for a first fit.")


@dataclass(frozen=True)
class Verdicts:
    """S sets of P yes/no answers to proposed trades.

    Attributes:
        inputs: ``[S, P, I]`` from ``trade_inputs``.
        approved: ``[S, P]`` 1 for approve, 0 for reject.
        reviewer: ``[S, P]`` index of the reviewer, 0 to J - 1.
        weight: ``[S, P]`` weight of the answer, mean 1.
        bar: ``[S, P]`` decision bar, for splits by time.
        reviewers: J.
    """

    inputs: Tensor
    approved: Tensor
    reviewer: Tensor
    weight: Tensor
    bar: Tensor
    reviewers: int

    @classmethod
    def of_trades(
        cls,
        trades: TradeTensors,
        approved: Tensor,
        reviewer: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> "Verdicts":
        """One set (S = 1) of answers to P trades.

        Args:
            trades: the P trades.
            approved: ``[P]`` 1 or 0.
            reviewer: ``[P]`` index of who answered; None is a single reviewer.
            weight: ``[P]`` weights; None weighs all alike.
        """
        features, held, target = trades.full()
        inputs = trade_inputs(features, held, target)[:, 0]
        approved = approved.to(torch.float32)
        who = torch.zeros(len(approved), dtype=torch.long) if reviewer is None else reviewer
        weight = torch.ones_like(approved) if weight is None else weight
        return cls(
            inputs[None],
            approved[None],
            who[None],
            weight[None],
            trades.bar[None],
            int(who.max()) + 1,
        )

    def rows(self, index: Tensor) -> "Verdicts":
        """Some answers of each set; ``index`` is ``[S, Q]``."""
        wide = index.unsqueeze(-1).expand(*index.shape, self.inputs.shape[-1])
        return Verdicts(
            self.inputs.gather(1, wide),
            self.approved.gather(1, index),
            self.reviewer.gather(1, index),
            self.weight.gather(1, index),
            self.bar.gather(1, index),
            self.reviewers,
        )

    def shuffled(self, generator: torch.Generator) -> "Verdicts":
        """The placebo: the same answers given to other trades."""
        order = torch.stack(
            [torch.randperm(row.shape[0], generator=generator) for row in self.approved]
        )
        return Verdicts(
            self.inputs,
            self.approved.gather(1, order),
            self.reviewer.gather(1, order),
            self.weight.gather(1, order),
            self.bar,
            self.reviewers,
        )


@dataclass(frozen=True)
class Fitted:
    """A fitted reward model with its reviewers' effects."""

    model: RewardModel
    effects: ReviewerEffects


def fit_reward_model(verdicts: Verdicts, config: FitConfig, generator: torch.Generator) -> Fitted:
    """Fit S models of M members; members differ by bootstrap and initial weights.

    Args:
        verdicts: S sets of answers.
        config: settings.
        generator: draws the bootstrap and the initial weights.

    Raises:
        NotEnoughAnswersError: fewer than ``config.minimum`` answers, or all alike.
    """
    sets, n_answers = verdicts.approved.shape
    if n_answers < config.minimum:
        raise NotEnoughAnswersError(
            f"a fit needs at least {config.minimum} verdicts",
            f"{n_answers}",
            "Review more proposals.",
        )
    share = verdicts.approved.mean(1)
    if bool(((share == 0) | (share == 1)).any()):
        raise NotEnoughAnswersError(
            "a fit needs both approvals and rejections",
            f"{n_answers} verdicts of one kind",
            "Go on reviewing until both kinds occur.",
        )
    sample = _bootstrap(sets, n_answers, config.members, generator)
    rows = _gather_members(verdicts, sample)
    model = _initial(sets, config, verdicts.inputs.shape[-1], generator)
    effects = ReviewerEffects.neutral(sets, config.members, verdicts.reviewers)
    _optimise(model, effects, rows, n_answers, config)
    return Fitted(model, effects)


def _bootstrap(sets: int, n: int, members: int, generator: torch.Generator) -> Tensor:
    if members == 1:
        return torch.arange(n).expand(sets, 1, n)
    return torch.randint(0, n, (sets, members, n), generator=generator)


@dataclass(frozen=True)
class _MemberRows:
    inputs: Tensor
    approved: Tensor
    reviewer: Tensor
    weight: Tensor


def _gather_members(verdicts: Verdicts, sample: Tensor) -> _MemberRows:
    members = sample.shape[1]

    def spread(values: Tensor) -> Tensor:
        return values.unsqueeze(1).expand(-1, members, -1).gather(2, sample)

    wide = sample.unsqueeze(-1).expand(*sample.shape, verdicts.inputs.shape[-1])
    inputs = verdicts.inputs.unsqueeze(1).expand(-1, members, -1, -1).gather(2, wide)
    return _MemberRows(
        inputs, spread(verdicts.approved), spread(verdicts.reviewer), spread(verdicts.weight)
    )


def _initial(sets: int, config: FitConfig, inputs: int, generator: torch.Generator) -> RewardModel:
    def draw(*shape: int, bound: float) -> Tensor:
        values = torch.rand(sets, config.members, *shape, generator=generator)
        return (values * 2 - 1) * bound

    bound = inputs**-0.5
    return RewardModel(
        line_weight=draw(inputs, bound=0.1 * bound),
        line_bias=draw(bound=0.1 * bound),
        hidden_weight=draw(inputs, config.hidden, bound=bound),
        hidden_bias=draw(config.hidden, bound=bound),
        out_weight=draw(config.hidden, bound=0.3 * config.hidden**-0.5),
        temperature=torch.ones(sets),
    )


def _optimise(
    model: RewardModel, effects: ReviewerEffects, rows: _MemberRows, n: int, config: FitConfig
) -> None:
    line = [model.line_weight, model.line_bias]
    layer = [model.hidden_weight, model.hidden_bias, model.out_weight]
    learned = [*line, *layer, *effects.parameters()]
    for tensor in learned:
        tensor.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [
            {"params": line, "weight_decay": config.line_decay},
            {"params": layer, "weight_decay": config.layer_decay},
            {"params": effects.parameters(), "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    for _ in range(config.iterations):
        logits = model.logits_of_inputs(rows.inputs)
        p = answer_probability(logits, rows.reviewer, effects).clamp(1e-6, 1 - 1e-6)
        log_p = rows.approved * p.log() + (1 - rows.approved) * (1 - p).log()
        loss = -(rows.weight * log_p).mean(-1) - log_prior(effects) / n
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for tensor in learned:
        tensor.requires_grad_(False)
