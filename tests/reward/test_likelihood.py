"""P(approve) = lapse/2 + (1 - lapse) * sigmoid(skill * logit + bias), and its priors."""

import math

import pytest
import torch

from trading_rlhf.reward import ReviewerEffects, answer_probability, log_prior


def effects(skill: list[float], bias: list[float], lapse: float) -> ReviewerEffects:
    return ReviewerEffects(
        torch.tensor([[skill]]),
        torch.tensor([[bias]]),
        torch.tensor([[math.log(lapse / (1 - lapse))]]),
    )


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
    assert float(torch.sigmoid(neutral.lapse_logit)) == pytest.approx(0.2, abs=1e-3)
    best = float(log_prior(neutral))
    for skill, bias in (([0.5, 1.0], [0.0, 0.0]), ([1.0, 1.0], [0.0, 1.0])):
        assert float(log_prior(effects(skill, bias, 0.2))) < best
    # Beta(2, 8): the mode is 1/8.
    around = [float(log_prior(effects([1.0], [0.0], lapse))) for lapse in (0.1, 0.125, 0.15)]
    assert around[1] == max(around)


def test_models_and_members_have_reviewers_of_their_own():
    neutral = ReviewerEffects.neutral(2, 3, 4)
    assert neutral.skill.shape == neutral.bias.shape == (2, 3, 4)
    assert log_prior(neutral).shape == (2, 3)
