"""The joint likelihood of every kind of answer, for S sets and M members at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.reward.answers import Answers
from trading_rlhf.reward.likelihood import (
    ReviewerEffects,
    answer_probability,
    comparison_probabilities,
    rating_probabilities,
    resize_probability,
    tag_probability,
)

__all__ = ["Evidence"]

_LEAST_P = 1e-6


@dataclass(frozen=True)
class Evidence:
    """Answers laid out so that one pass of the networks scores all of them.

    Attributes:
        answers: what was said.
        inputs: ``[S, R, I]`` rows of verdicts, first and second trades of pairs, ratings, own
            and proposed weights of resizes, in this order.
        sizes: rows of each of these parts.
    """

    answers: Answers
    inputs: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, answers: Answers) -> "Evidence":
        """Lay out the answers."""
        none = answers.verdicts.inputs[:, :0]
        pairs, ratings, resizes = answers.comparisons, answers.ratings, answers.resizes
        parts = [
            answers.verdicts.inputs,
            none if pairs is None else pairs.first,
            none if pairs is None else pairs.second,
            none if ratings is None else ratings.inputs,
            none if resizes is None else resizes.wanted,
            none if resizes is None else resizes.proposed,
        ]
        return cls(answers, torch.cat(parts, 1), tuple(part.shape[1] for part in parts))

    def log_likelihoods(
        self, logits: Tensor, tag_logits: Tensor | None, effects: ReviewerEffects
    ) -> dict[str, Tensor]:
        """Log likelihood of every answer, ``[S, M, count]`` by name of the kind.

        Args:
            logits: ``[S, M, R]`` of ``inputs``.
            tag_logits: ``[S, M, G, K]`` of the reasons, None without tags.
            effects: how reviewers answer.
        """
        answers, found = self.answers, {}
        members = logits.shape[1]
        verdict, first, second, rated, wanted, proposed = torch.split(logits, list(self.sizes), -1)
        who = {
            name: kind.reviewer.unsqueeze(1).expand(-1, members, -1)
            for name, kind in answers.kinds.items()
        }
        p = answer_probability(verdict, who["verdicts"], effects)
        found["verdicts"] = _log_of(p, answers.verdicts.approved.unsqueeze(1))
        if answers.comparisons is not None and "comparisons" in who:
            three = comparison_probabilities(first, second, who["comparisons"], effects)
            found["comparisons"] = _log_of_choice(three, answers.comparisons.preferred)
        if answers.ratings is not None and "ratings" in who:
            five = rating_probabilities(rated, who["ratings"], effects)
            found["ratings"] = _log_of_choice(five, answers.ratings.stars - 1)
        if "resizes" in who:
            p = resize_probability(wanted, proposed, who["resizes"], effects)
            refused = 1 - answer_probability(proposed, who["resizes"], effects)
            found["resizes"] = p.clamp(min=_LEAST_P).log() + refused.clamp(min=_LEAST_P).log()
        if answers.tags is not None and tag_logits is not None:
            p = tag_probability(tag_logits, who["tags"], effects)
            found["tags"] = _log_of(p, answers.tags.given.unsqueeze(1)).sum(-1)
        return found


def _log_of(p: Tensor, said: Tensor) -> Tensor:
    p = p.clamp(_LEAST_P, 1 - _LEAST_P)
    return said * p.log() + (1 - said) * (1 - p).log()


def _log_of_choice(p: Tensor, chosen: Tensor) -> Tensor:
    index = chosen.unsqueeze(1).expand(p.shape[:-1]).unsqueeze(-1)
    return p.gather(-1, index).squeeze(-1).clamp(min=_LEAST_P).log()
