"""What an answer says about a trade, reviewer by reviewer.

Every answer is given blindly with a probability (lapse), else it follows skill_j * logit and the
reviewer's own habits:

    verdict      P(approve) = lapse/2 + (1 - lapse) * sigmoid(skill_j * logit + bias_j)
    comparison   Davidson (1970), Bradley-Terry with ties, on d = skill_j * (logit_1 - logit_2) +
                 side_j: first, neither, second in proportion to exp(d/2), nu, exp(-d/2)
    rating       ordered logit (McCullagh 1980): P(stars <= k) = sigmoid(threshold_k -
                 skill_j * logit - generosity_j)
    resize       P(own weight beats the proposed) = sigmoid(skill_j * (logit_own - logit_proposed)),
                 times P(the proposed one is not approved)
    reason       P(given) = sigmoid(skill_j * reason logit + tagging_j)

Mistakes are estimated, not assumed: a reviewer who answers at random ends up with skill near zero,
a contrarian below. Habits have normal priors, so has the logit of the lapse.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

__all__ = [
    "ReviewerEffects",
    "answer_probability",
    "comparison_probabilities",
    "log_prior",
    "rating_probabilities",
    "resize_probability",
    "tag_probability",
]

_SKILL_SPREAD = 0.5
_HABIT_SPREAD = 0.5
_LAPSE = -1.386
"""Logit of 0.2: one answer in ten flipped."""
_LAPSE_SPREAD = 0.4
_TIE = -0.7
"""Log of nu: of two trades that are liked alike, one pair in five is called equal."""
_FIRST_THRESHOLD = -2.2
_LOG_GAPS = (0.45, 0.2, 0.45)
"""Thresholds at about p = .1, .35, .65, .9: three stars are indifference."""
_SCALE_SPREAD = 0.5
_LEAST_SKILL = 0.25


@dataclass
class ReviewerEffects:
    """How J reviewers of one desk answer, fitted jointly with M members.

    Attributes:
        skill: ``[S, M, J]`` 1 is the model's own scale, 0 answers at random, below is contrary.
        bias: ``[S, M, J]`` logit shift towards approval, of mean 0 over reviewers.
        lapse_logit: ``[S, M, J]`` logit of the share of answers given blindly.
        side: ``[S, M, J]`` logit shift towards the trade shown first.
        generosity: ``[S, M, J]`` logit shift towards more stars, of mean 0 over reviewers.
        tagging: ``[S, M, J]`` logit shift towards giving any reason.
        tie: ``[S, M]`` log of nu, how readily the desk calls two trades equal.
        stars: ``[S, M, 4]`` the first threshold of the rating, then the logs of the gaps.
    """

    skill: Tensor
    bias: Tensor
    lapse_logit: Tensor
    side: Tensor
    generosity: Tensor
    tagging: Tensor
    tie: Tensor
    stars: Tensor

    @classmethod
    def neutral(cls, models: int, members: int, reviewers: int) -> "ReviewerEffects":
        """Skill 1, no habits, a lapse of 0.2, scales at the mode of their priors."""
        zero = torch.zeros(models, members, reviewers)
        return cls(
            zero + 1, zero.clone(), zero + _LAPSE, zero.clone(), zero.clone(), zero.clone(),
            torch.full((models, members), _TIE), _usual_stars().expand(models, members, 4).clone(),
        )  # fmt: skip

    def parameters(self) -> list[Tensor]:
        """The tensors to fit."""
        return [getattr(self, field.name) for field in fields(self)]

    def thresholds(self) -> Tensor:
        """``[S, M, 4]`` increasing logits between one star and two, up to four and five."""
        gaps = torch.cat([self.stars[..., :1], self.stars[..., 1:].exp()], -1)
        return gaps.cumsum(-1)

    def average(self) -> "ReviewerEffects":
        """The same desk with its average reviewer alone (J = 1)."""
        names = ("skill", "bias", "lapse_logit", "side", "generosity", "tagging")
        return replace(self, **{n: getattr(self, n).mean(-1, keepdim=True) for n in names})

    def centre(self) -> None:
        """Take from habits, in place, what all reviewers share: that is the desk's own taste."""
        for habit in (self.bias, self.generosity):
            habit -= habit.mean(-1, keepdim=True)

    def relative(self) -> "ReviewerEffects":
        """Detached, with skill relative to the most skilled reviewer, within -1 and 1.

        The scale of skill and that of the logits are one; a network that is to learn is given the
        most skilled reviewer's as 1, whatever it can explain so far.
        """
        best = self.skill.detach().max(-1, keepdim=True).values
        behind = (best - self.skill.detach()) / best.clamp(min=_LEAST_SKILL)
        detached = {field.name: getattr(self, field.name).detach() for field in fields(self)}
        return ReviewerEffects(**{**detached, "skill": (1 - behind).clamp(min=-1)})


def answer_probability(logits: Tensor, reviewer: Tensor, effects: ReviewerEffects) -> Tensor:
    """Probability that each answer is "approve".

    Args:
        logits: ``[S, M, P]`` of the answered trades.
        reviewer: ``[S, M, P]`` index of who answered.
        effects: reviewers' effects.

    Returns:
        ``[S, M, P]``.
    """
    bias = effects.bias.gather(-1, reviewer)
    return _blurred(torch.sigmoid(_skilled(logits, reviewer, effects) + bias), reviewer, effects)


def comparison_probabilities(
    first: Tensor, second: Tensor, reviewer: Tensor, effects: ReviewerEffects
) -> Tensor:
    """``[S, M, C, 3]``: the first trade is preferred, neither, the second.

    Args:
        first: ``[S, M, C]`` logits of the trades shown first.
        second: ``[S, M, C]`` logits of the others.
        reviewer: ``[S, M, C]`` index of who answered.
        effects: reviewers' effects.
    """
    half = _skilled(first - second, reviewer, effects) + effects.side.gather(-1, reviewer)
    half = half / 2
    tie = effects.tie.unsqueeze(-1).expand_as(half)
    return _blurred(torch.stack([half, tie, -half], -1).softmax(-1), reviewer, effects)


def rating_probabilities(logits: Tensor, reviewer: Tensor, effects: ReviewerEffects) -> Tensor:
    """``[S, M, R, 5]``: one star to five; arguments as of ``answer_probability``."""
    latent = _skilled(logits, reviewer, effects) + effects.generosity.gather(-1, reviewer)
    below = torch.sigmoid(effects.thresholds().unsqueeze(-2) - latent.unsqueeze(-1))
    ends = torch.zeros_like(below[..., :1])
    stars = torch.cat([ends, below, ends + 1], -1).diff(dim=-1)
    return _blurred(stars, reviewer, effects)


def resize_probability(
    wanted: Tensor, proposed: Tensor, reviewer: Tensor, effects: ReviewerEffects
) -> Tensor:
    """``[S, M, Q]``: the own weight is preferred to the proposed one.

    Args:
        wanted: ``[S, M, Q]`` logits of the own weights.
        proposed: ``[S, M, Q]`` logits of the proposed ones.
        reviewer: ``[S, M, Q]`` index of who answered.
        effects: reviewers' effects.
    """
    preferred = torch.sigmoid(_skilled(wanted - proposed, reviewer, effects))
    return _blurred(preferred, reviewer, effects)


def tag_probability(logits: Tensor, reviewer: Tensor, effects: ReviewerEffects) -> Tensor:
    """``[S, M, G, K]``: each reason is given.

    Args:
        logits: ``[S, M, G, K]`` of the reasons.
        reviewer: ``[S, M, G]`` index of who answered.
        effects: reviewers' effects.
    """
    skill = effects.skill.gather(-1, reviewer).unsqueeze(-1)
    return torch.sigmoid(skill * logits + effects.tagging.gather(-1, reviewer).unsqueeze(-1))


def log_prior(effects: ReviewerEffects) -> Tensor:
    """Log prior density up to a constant, ``[S, M]``."""
    habits = (effects.bias, effects.side, effects.generosity, effects.tagging)
    squares = [((effects.skill - 1) / _SKILL_SPREAD).square().sum(-1)]
    squares += [((effects.lapse_logit - _LAPSE) / _LAPSE_SPREAD).square().sum(-1)]
    squares += [(habit / _HABIT_SPREAD).square().sum(-1) for habit in habits]
    squares += [((effects.tie - _TIE) / _SCALE_SPREAD).square()]
    squares += [((effects.stars - _usual_stars()) / _SCALE_SPREAD).square().sum(-1)]
    return -0.5 * torch.stack(squares).sum(0)


def _usual_stars() -> Tensor:
    return torch.tensor([_FIRST_THRESHOLD, *_LOG_GAPS])


def _skilled(logits: Tensor, reviewer: Tensor, effects: ReviewerEffects) -> Tensor:
    return effects.skill.gather(-1, reviewer) * logits


def _blurred(p: Tensor, reviewer: Tensor, effects: ReviewerEffects) -> Tensor:
    """Mix with blind answers: over the last axis where it lists the choices, else yes or no."""
    lapse = torch.sigmoid(effects.lapse_logit).gather(-1, reviewer)
    if p.ndim == lapse.ndim:
        return lapse / 2 + (1 - lapse) * p
    return lapse.unsqueeze(-1) / p.shape[-1] + (1 - lapse.unsqueeze(-1)) * p
