"""What each kind of answer says about a trade, by hand, and the priors of reviewers."""

import math
from dataclasses import replace

import pytest
import torch

from trading_rlhf.reward import (
    ReviewerEffects,
    answer_probability,
    comparison_probabilities,
    log_prior,
    rating_probabilities,
    resize_probability,
    tag_probability,
)

FIRST = torch.zeros(1, 1, 1, dtype=torch.long)


def effects(skill: list[float], bias: list[float], lapse: float) -> ReviewerEffects:
    neutral = ReviewerEffects.neutral(1, 1, len(skill))
    blind = torch.full((1, 1, len(skill)), math.log(lapse / (1 - lapse)))
    return replace(
        neutral, skill=torch.tensor([[skill]]), bias=torch.tensor([[bias]]), lapse_logit=blind
    )


def logit(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1), value)


def test_by_hand():
    logits = torch.tensor([[[2.0, 2.0, -1.0]]])
    reviewer = torch.tensor([[[0, 1, 2]]])
    given = effects([1.0, 0.0, 0.5], [0.0, 0.0, 0.3], lapse=0.2)
    p = answer_probability(logits, reviewer, given)[0, 0].tolist()
    assert p == pytest.approx(
        [0.1 + 0.8 / (1 + math.exp(-2.0)), 0.5, 0.1 + 0.8 / (1 + math.exp(0.2))], abs=1e-6
    )


def test_a_lapse_bounds_what_an_answer_can_say():
    p = answer_probability(
        torch.tensor([[[50.0, -50.0]]]), torch.zeros(1, 1, 2, dtype=torch.long),
        effects([1.0], [0.0], lapse=0.2),
    )  # fmt: skip
    assert p[0, 0].tolist() == pytest.approx([0.9, 0.1], abs=1e-6)


def test_the_prior_is_highest_at_a_skilled_unbiased_reviewer():
    neutral = ReviewerEffects.neutral(1, 1, 2)
    assert torch.sigmoid(neutral.lapse_logit).flatten().tolist() == pytest.approx(
        [0.2] * 2, abs=1e-3
    )
    best = float(log_prior(neutral))
    for skill, bias in (([0.5, 1.0], [0.0, 0.0]), ([1.0, 1.0], [0.0, 1.0])):
        assert float(log_prior(effects(skill, bias, 0.2))) < best
    around = [float(log_prior(effects([1.0], [0.0], lapse))) for lapse in (0.15, 0.2, 0.25)]
    assert around[1] == max(around)
    for name in ("side", "generosity", "tagging", "tie", "stars"):
        odd = replace(neutral, **{name: getattr(neutral, name) + 0.3})
        assert float(log_prior(odd)) < best


def test_models_and_members_have_reviewers_of_their_own():
    neutral = ReviewerEffects.neutral(2, 3, 4)
    assert neutral.skill.shape == neutral.bias.shape == (2, 3, 4)
    assert log_prior(neutral).shape == (2, 3)


def test_a_comparison_by_hand():
    """Davidson (1970): proportions exp(d/2), nu, exp(-d/2), of which a fifth is blind."""
    given = effects([0.5], [9.0], lapse=0.2)
    given = replace(given, side=torch.full((1, 1, 1), 0.4), tie=torch.full((1, 1), math.log(0.8)))
    p = comparison_probabilities(logit(2.0), logit(-1.0), FIRST, given)[0, 0, 0].tolist()
    d = 0.5 * 3.0 + 0.4
    parts = [math.exp(d / 2), 0.8, math.exp(-d / 2)]
    assert p == pytest.approx([0.2 / 3 + 0.8 * part / sum(parts) for part in parts], abs=1e-6)


def test_swapping_the_sides_swaps_the_answer_but_for_the_habit():
    plain = effects([1.3], [0.0], lapse=0.1)
    one = comparison_probabilities(logit(0.7), logit(-0.4), FIRST, plain)
    other = comparison_probabilities(logit(-0.4), logit(0.7), FIRST, plain)
    assert torch.allclose(one, other.flip(-1))


def test_a_rating_by_hand():
    given = replace(
        effects([2.0], [9.0], lapse=0.25),
        generosity=torch.full((1, 1, 1), 0.3),
        stars=torch.tensor([[[-1.0, 0.0, 0.0, math.log(2.0)]]]),
    )
    assert given.thresholds()[0, 0].tolist() == pytest.approx([-1.0, 0.0, 1.0, 3.0])
    p = rating_probabilities(logit(0.6), FIRST, given)[0, 0, 0].tolist()
    below = [1 / (1 + math.exp(-(cut - 1.5))) for cut in (-1.0, 0.0, 1.0, 3.0)]
    exact = [b - a for a, b in zip([0.0, *below], [*below, 1.0], strict=True)]
    assert p == pytest.approx([0.05 + 0.75 * value for value in exact], abs=1e-6)


def test_more_liking_is_more_stars():
    stars = torch.arange(1.0, 6.0)
    neutral = ReviewerEffects.neutral(1, 1, 1)
    mean = [
        float((rating_probabilities(logit(x), FIRST, neutral) * stars).sum()) for x in (-3, 0, 3)
    ]
    assert mean[0] < mean[1] < mean[2]
    assert mean[1] == pytest.approx(3.0, abs=0.05)


def test_a_resize_and_a_reason_by_hand():
    given = replace(effects([0.5], [9.0], lapse=0.2), tagging=torch.full((1, 1, 1), -1.0))
    p = float(resize_probability(logit(1.0), logit(-2.0), FIRST, given))
    assert p == pytest.approx(0.1 + 0.8 / (1 + math.exp(-1.5)), abs=1e-6)
    reasons = tag_probability(torch.tensor([[[[4.0, -2.0]]]]), FIRST, given)[0, 0, 0].tolist()
    assert reasons == pytest.approx([1 / (1 + math.exp(-1.0)), 1 / (1 + math.exp(2.0))], abs=1e-6)


def test_skill_for_learning_is_relative_to_the_best():
    found = effects([0.8, 0.2, -0.8], [0.0] * 3, lapse=0.2).relative().skill[0, 0].tolist()
    assert found == pytest.approx([1.0, 0.25, -1.0])
    # Whoever is alone is the best, however little has been explained so far.
    for skill in (2.0, 0.1, -0.4):
        assert float(effects([skill], [0.0], lapse=0.2).relative().skill) == 1.0
