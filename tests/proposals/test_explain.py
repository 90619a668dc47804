"""Reasons: a feature's contribution is what the target loses without it."""

import pytest
import torch

from trading_rlhf.agent import Policy, PolicyConfig
from trading_rlhf.proposals.explain import occlusion, top_reasons


@pytest.fixture
def policy() -> Policy:
    return Policy(3, PolicyConfig(hidden=8), 1, torch.Generator().manual_seed(2))


def target(policy, features, held):
    with torch.no_grad():
        return policy.decide(policy.encode(features[None]), held[None, None]).target[0, 0]


def test_each_contribution_is_one_occlusion(policy):
    source = torch.Generator().manual_seed(3)
    features, held = torch.randn(4, 3, generator=source), torch.full((4,), 0.2)
    found = occlusion(policy, features, held)
    assert found.shape == (4, 3)
    full = target(policy, features, held)
    for asset in range(4):
        for column in range(3):
            without = features.clone()
            without[asset, column] = 0.0
            lost = full[asset] - target(policy, without, held)[asset]
            assert float(found[asset, column]) == pytest.approx(float(lost), abs=1e-6)
    assert float(found.abs().max()) > 1e-3


def test_a_feature_at_its_mean_explains_nothing(policy):
    features = torch.tensor([[0.0, 1.0, -1.0], [0.5, 0.0, 0.0]])
    found = occlusion(policy, features, torch.zeros(2))
    assert float(found[features == 0].abs().max()) < 1e-6
    assert float(found[features != 0].abs().min()) > 1e-4


def test_a_feature_that_the_policy_ignores_explains_nothing(policy):
    with torch.no_grad():
        policy.feature_weight[:, 1] = 0.0
    found = occlusion(policy, torch.ones(4, 3), torch.zeros(4))
    assert float(found[:, 1].abs().max()) < 1e-7
    assert float(found[:, 0].abs().min()) > 1e-6


def test_the_three_largest_come_first_with_their_words():
    names = ("a", "b", "c", "d")
    labels = {name: f"the {name}" for name in names}
    reasons = top_reasons(
        torch.tensor([0.01, -0.2, 0.0, 0.1]), torch.tensor([1.0, 2.0, 3.0, 4.0]), names, labels
    )
    assert [reason.feature for reason in reasons] == ["b", "d", "a"]
    assert [reason.label for reason in reasons] == ["the b", "the d", "the a"]
    assert [reason.value for reason in reasons] == [2.0, 4.0, 1.0]
    assert reasons[0].contribution == pytest.approx(-0.2)


def test_fewer_features_are_fewer_reasons():
    assert len(top_reasons(torch.ones(2), torch.ones(2), ("a", "b"), {"a": "a", "b": "b"})) == 2
