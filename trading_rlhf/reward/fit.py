"""Fit the reward model to reviewers' answers of every kind."""

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trading_rlhf.errors import NotEnoughAnswersError
from trading_rlhf.reward.answers import Answers, Verdicts
from trading_rlhf.reward.kinds import Evidence
from trading_rlhf.reward.likelihood import ReviewerEffects, log_prior
from trading_rlhf.reward.nets import RewardModel
from trading_rlhf.reward.tags import TagHeads

__all__ = ["FitConfig", "Fitted", "fit_reward_model"]


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
class Fitted:
    """A fitted reward model with its reviewers' effects.

    Attributes:
        model: what is approved.
        effects: how each reviewer answers.
        tags: why; None where no reason was given.
    """

    model: RewardModel
    effects: ReviewerEffects
    tags: TagHeads | None = None


def fit_reward_model(
    answers: Answers | Verdicts, config: FitConfig, generator: torch.Generator
) -> Fitted:
    """Fit S models of M members; members differ by bootstrap and initial weights.

    A member's networks learn from the answers that its bootstrap drew, the reviewers' effects from
    those that it did not draw (Breiman 1996, "Out-of-bag estimation"): on answers that were
    learned, every reviewer seems skilled and free of mistakes. A single member (M = 1) learns both
    from all answers.

    Args:
        answers: S sets of answers.
        config: settings.
        generator: draws the bootstrap and the initial weights.

    Raises:
        NotEnoughAnswersError: fewer than ``config.minimum`` verdicts, or all alike.
    """
    answers = Answers.of(answers)
    _check(answers.verdicts, config)
    sets, _ = answers.verdicts.approved.shape
    evidence = Evidence.of(answers)
    drawn = {
        name: _drawn(sets, kind.count, config.members, generator)
        for name, kind in answers.kinds.items()
    }
    width = evidence.inputs.shape[-1]
    model = _initial(sets, config, width, generator)
    effects = ReviewerEffects.neutral(sets, config.members, answers.reviewers)
    tags = None
    if "tags" in drawn and answers.tags is not None:
        tags = TagHeads.blank(sets, config.members, width, answers.tags.names)
    _optimise(_Learner(model, effects, tags), evidence, drawn, config)
    return Fitted(model, effects, tags)


def _check(verdicts: Verdicts, config: FitConfig) -> None:
    n_answers = verdicts.count
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


def _drawn(sets: int, n: int, members: int, generator: torch.Generator) -> Tensor:
    """``[S, M, n]`` how often the bootstrap of each member draws each answer."""
    if members == 1:
        return torch.ones(sets, 1, n)
    sample = torch.randint(0, n, (sets, members, n), generator=generator)
    return torch.zeros(sets, members, n).scatter_add_(2, sample, torch.ones(sample.shape))


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


@dataclass(frozen=True)
class _Learner:
    """What is fitted."""

    model: RewardModel
    effects: ReviewerEffects
    tags: TagHeads | None

    def groups(self, config: FitConfig) -> list[dict[str, Any]]:
        """Tensors with their decay."""
        model = self.model
        line = [model.line_weight, model.line_bias]
        if self.tags is not None:
            line += [self.tags.weight, self.tags.bias]
        layer = [model.hidden_weight, model.hidden_bias, model.out_weight]
        return [
            {"params": line, "weight_decay": config.line_decay},
            {"params": layer, "weight_decay": config.layer_decay},
            {"params": self.effects.parameters(), "weight_decay": 0.0},
        ]


def _optimise(
    learner: _Learner, evidence: Evidence, drawn: dict[str, Tensor], config: FitConfig
) -> None:
    groups = learner.groups(config)
    learned = [tensor for group in groups for tensor in group["params"]]
    for tensor in learned:
        tensor.requires_grad_(True)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    kinds = evidence.answers.kinds
    counted = {name: times * kinds[name].weight.unsqueeze(1) for name, times in drawn.items()}
    # A single member has no answers left out.
    unseen = {
        name: (times if times.shape[1] == 1 else (times == 0)) * kinds[name].weight.unsqueeze(1)
        for name, times in drawn.items()
    }
    model, effects, tags = learner.model, learner.effects, learner.tags
    rows, n_answers = evidence.inputs.unsqueeze(1), evidence.answers.count
    given = evidence.answers.tags
    for _ in range(config.iterations):
        logits = model.logits_of_inputs(rows)
        reasons = None if tags is None or given is None else tags.logits(given.inputs)
        fixed = None if reasons is None else reasons.detach()
        seen_p = evidence.log_likelihoods(logits, reasons, effects.relative())
        unseen_p = evidence.log_likelihoods(logits.detach(), fixed, effects)
        total = log_prior(effects)
        for name in kinds:
            total = total + (counted[name] * seen_p[name]).sum(-1)
            total = total + (unseen[name] * unseen_p[name]).sum(-1)
        optimizer.zero_grad()
        (-total / n_answers).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            effects.centre()
    for tensor in learned:
        tensor.requires_grad_(False)
