"""What an answer says about a trade, reviewer by reviewer.

P(approve) = lapse/2 + (1 - lapse) * sigmoid(skill_j * logit + bias_j). Mistakes are estimated, not
assumed: a reviewer who answers at random ends up with skill near zero instead of pulling the
model to one half. Skill and bias have normal priors, the lapse a beta prior.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ReviewerEffects", "answer_probability", "log_prior"]

_SKILL_SPREAD = 0.5
_BIAS_SPREAD = 0.5
_LAPSE_PRIOR = (2.0, 8.0)
"""Beta parameters: mean 0.2, one answer in ten flipped."""


@dataclass
class ReviewerEffects:
    """How J reviewers answer, fitted jointly with M members.

    Attributes:
        skill: ``[S, M, J]`` 1 is the model's own scale, 0 answers at random.
        bias: ``[S, M, J]`` logit shift towards approval.
        lapse_logit: ``[S, M]`` logit of the share of answers given blindly.
    """

    skill: Tensor
    bias: Tensor
    lapse_logit: Tensor

    @classmethod
    def neutral(cls, models: int, members: int, reviewers: int) -> "ReviewerEffects":
        """Skill 1, no bias, a lapse of 0.2."""
        return cls(
            torch.ones(models, members, reviewers),
            torch.zeros(models, members, reviewers),
            torch.full((models, members), -1.386),
        )

    def parameters(self) -> list[Tensor]:
        """The tensors to fit."""
        return [self.skill, self.bias, self.lapse_logit]


def answer_probability(logits: Tensor, reviewer: Tensor, effects: ReviewerEffects) -> Tensor:
    """Probability that each answer is "approve".

    Args:
        logits: ``[S, M, P]`` of the answered trades.
        reviewer: ``[S, M, P]`` index of who answered.
        effects: reviewers' effects.

    Returns:
        ``[S, M, P]``.
    """
    skill = effects.skill.gather(-1, reviewer)
    bias = effects.bias.gather(-1, reviewer)
    lapse = torch.sigmoid(effects.lapse_logit).unsqueeze(-1)
    return lapse / 2 + (1 - lapse) * torch.sigmoid(skill * logits + bias)


def log_prior(effects: ReviewerEffects) -> Tensor:
    """Log prior density up to a constant, ``[S, M]``."""
    skill = ((effects.skill - 1.0) / _SKILL_SPREAD).square().sum(-1)
    bias = (effects.bias / _BIAS_SPREAD).square().sum(-1)
    lapse = torch.sigmoid(effects.lapse_logit)
    a, b = _LAPSE_PRIOR
    beta = (a - 1) * lapse.log() + (b - 1) * (1 - lapse).log()
    return beta - 0.5 * (skill + bias)
