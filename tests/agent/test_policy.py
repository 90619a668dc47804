"""The policy's structure: assets alike, any number of them, policies stacked."""

import numpy as np
import pytest
import torch

from trading_rlhf.agent import Policy, PolicyConfig
from trading_rlhf.errors import CheckpointError

CONFIG = PolicyConfig(hidden=16)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def decide(policy: Policy, features: torch.Tensor, held: torch.Tensor):
    with torch.no_grad():
        return policy.decide(policy.encode(features), held)


@pytest.fixture
def policy() -> Policy:
    return Policy(3, CONFIG, 2, generator())


def test_assets_in_another_order_get_the_same_weights_in_that_order(policy):
    features, held = draw(1, 4, 7, 3), draw(2, 2, 4, 7).softmax(-1)
    order = torch.randperm(7, generator=generator(3))
    straight = decide(policy, features, held)
    permuted = decide(policy, features[:, order], held[..., order])
    for name in ("target", "goal", "gate", "score"):
        one, other = getattr(straight, name)[..., order], getattr(permuted, name)
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_assets", [1, 2, 30])
def test_a_policy_works_on_any_number_of_assets(policy, n_assets):
    held = torch.full((2, 5, n_assets), 0.5 / n_assets)
    decision = decide(policy, draw(4, 5, n_assets, 3), held)
    assert decision.target.shape == (2, 5, n_assets)
    assert (decision.target >= 0).all()
    assert (decision.goal.sum(-1) <= CONFIG.max_gross + 1e-6).all()


def test_equal_weights_look_alike_among_few_and_many(policy):
    """A weight is seen relative to equal weights, so that a policy fits another universe."""
    few = decide(policy, torch.ones(1, 4, 3), torch.full((2, 1, 4), 2 / 4)).score
    many = decide(policy, torch.ones(1, 20, 3), torch.full((2, 1, 20), 2 / 20)).score
    torch.testing.assert_close(many[..., :4], few)


def test_an_assets_score_depends_on_its_own_features_and_weight_only(policy):
    features, held = draw(5, 1, 4, 3), torch.full((2, 1, 4), 0.1)
    before = decide(policy, features, held).score
    other = features.clone()
    other[0, 2] += 1.0
    after = decide(policy, other, held).score
    assert torch.equal(after[..., [0, 1, 3]], before[..., [0, 1, 3]])
    assert not torch.equal(after[..., 2], before[..., 2])


def test_the_target_lies_between_held_and_goal(policy):
    held = draw(6, 2, 9, 5).softmax(-1)
    decision = decide(policy, draw(7, 9, 5, 3), held)
    moved = (decision.target - held) / (decision.goal - held)
    torch.testing.assert_close(moved, decision.gate, rtol=1e-3, atol=1e-3)
    assert (decision.gate > 0).all()
    assert (decision.gate < 1).all()
    assert (decision.score.abs() <= CONFIG.tilt).all()


def test_buys_and_sells_have_a_gate_each():
    policy = Policy(1, CONFIG, 1, generator())
    with torch.no_grad():
        policy.head_weight.zero_()
        policy.head_bias.copy_(torch.tensor([0.0, 20.0, -20.0]))
    held = torch.tensor([[[0.9, 0.0]]])
    decision = decide(policy, torch.zeros(1, 2, 1), held)
    # Equal scores with cash: a third each of what may be invested. The purchase goes all the way,
    # the sale not at all, so the target exceeds the limit and has to be settled.
    assert decision.target[0, 0].tolist() == pytest.approx([0.9, 0.98 / 3], abs=1e-5)


SHORTS = PolicyConfig(hidden=16, long_only=False, tilt=3.0)


def with_head(config: PolicyConfig, *bias: float) -> Policy:
    """A policy of which every score is ``bias[0]`` before the limit, and so on."""
    policy = Policy(1, config, 1, generator())
    with torch.no_grad():
        policy.head_weight.zero_()
        policy.head_bias.copy_(torch.tensor(bias))
    return policy


def test_with_shorts_the_sign_of_a_score_is_the_side_of_its_weight():
    policy = Policy(3, SHORTS, 2, generator())
    decision = decide(policy, draw(12, 50, 6, 3) * 5, draw(13, 2, 50, 6) / 10)
    assert torch.equal(decision.goal.sign(), decision.score.sign())
    assert 0.2 < float((decision.goal < 0).float().mean()) < 0.8
    assert (decision.goal.abs().sum(-1) <= SHORTS.max_gross).all()
    # A larger score is a larger weight, among the longs as among the shorts.
    assert torch.equal(decision.goal.argsort(-1), decision.score.argsort(-1))


def test_with_shorts_a_score_of_zero_is_flat_and_opposite_scores_are_opposite_weights():
    flat = decide(with_head(SHORTS, 0.0, 0.0, 0.0), torch.zeros(1, 4, 1), torch.zeros(1, 1, 4))
    assert torch.equal(flat.goal, torch.zeros(1, 1, 4))
    policy = with_head(SHORTS, 0.0, 0.0, 0.0)
    noise = torch.tensor([[[1.5, -1.5, 0.5, -0.5]]])
    with torch.no_grad():
        goal = policy.decide(policy.encode(torch.zeros(1, 4, 1)), torch.zeros(1, 1, 4), noise).goal
    assert float(goal[0, 0, 0]) == pytest.approx(-float(goal[0, 0, 1]))
    assert float(goal[0, 0, 2]) == pytest.approx(-float(goal[0, 0, 3]))
    # exp(s) - exp(-s) over the sum of both sides of all assets and cash.
    total = sum(np.exp(s) + np.exp(-s) for s in (1.5, -1.5, 0.5, -0.5)) + 1
    assert float(goal[0, 0, 0]) == pytest.approx(0.98 * 2 * np.sinh(1.5) / total, rel=1e-5)


def test_the_largest_scores_use_the_gross_limit_long_or_short():
    for side in (20.0, -20.0):
        policy = with_head(PolicyConfig(long_only=False, tilt=6.0), side, 20.0, 20.0)
        target = decide(policy, torch.zeros(1, 5, 1), torch.zeros(1, 1, 5)).target
        assert float(target.sum()) == pytest.approx(np.sign(side) * 0.98, rel=1e-3)


def test_with_shorts_buys_and_sales_have_a_gate_each():
    policy = with_head(SHORTS, 0.0, 20.0, -20.0)
    held = torch.tensor([[[0.4, -0.4, 0.0, 0.0]]])
    target = decide(policy, torch.zeros(1, 4, 1), held).target
    # All goals are flat: the short is bought back at once, the long is not sold.
    assert target[0, 0].tolist() == pytest.approx([0.4, 0.0, 0.0, 0.0], abs=1e-6)


def test_where_a_policy_without_a_past_decides_from():
    shape = torch.Size((2, 3, 4))
    assert torch.equal(Policy(3, CONFIG, 2, generator()).before(shape), torch.full(shape, 0.2))
    assert torch.equal(Policy(3, SHORTS, 2, generator()).before(shape), torch.zeros(shape))


@pytest.mark.parametrize("tilt", [0.1, 0.8, 5.0])
@pytest.mark.parametrize("long_only", [True, False])
def test_scores_stay_within_the_tilt(tilt, long_only):
    config = PolicyConfig(hidden=16, tilt=tilt, long_only=long_only)
    decision = decide(
        Policy(3, config, 2, generator()), draw(14, 40, 5, 3) * 100, torch.zeros(2, 40, 5)
    )
    assert (decision.score.abs() <= tilt).all()


@pytest.mark.parametrize("max_gross", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("long_only", [True, False])
def test_goals_stay_within_max_gross(max_gross, long_only):
    config = PolicyConfig(hidden=16, tilt=10.0, max_gross=max_gross, long_only=long_only)
    decision = decide(
        Policy(3, config, 2, generator()), draw(15, 40, 5, 3) * 100, torch.zeros(2, 40, 5)
    )
    gross = decision.goal.abs().sum(-1)
    assert (gross <= max_gross * (1 + 1e-6)).all()
    assert float(gross.max()) > 0.9 * max_gross


def test_the_policy_sees_what_it_holds(policy):
    features = draw(8, 1, 4, 3)
    flat = decide(policy, features, torch.zeros(2, 1, 4)).score
    assert not torch.allclose(flat, decide(policy, features, torch.full((2, 1, 4), 0.2)).score)


def test_it_can_leave_the_market():
    policy = Policy(1, PolicyConfig(hidden=4, tilt=10.0), 1, generator())
    with torch.no_grad():
        policy.head_weight.zero_()
        policy.head_bias.copy_(torch.tensor([-20.0, 0.0, 0.0]))
    goal = decide(policy, torch.zeros(1, 5, 1), torch.zeros(1, 1, 5)).goal
    assert float(goal.sum()) < 1e-3


def test_noise_moves_scores(policy):
    features, held = draw(9, 1, 4, 3), torch.zeros(2, 1, 4)
    noise = torch.tensor([0.5, 0.0, 0.0, -0.5]).expand(2, 1, 4)
    with torch.no_grad():
        shifted = policy.decide(policy.encode(features), held, noise)
    plain = decide(policy, features, held)
    torch.testing.assert_close(shifted.score - plain.score, noise)
    assert (shifted.goal[..., 0] > plain.goal[..., 0]).all()
    assert (shifted.goal[..., 3] < plain.goal[..., 3]).all()


def test_stacked_policies_are_the_policies_one_by_one(policy):
    features, held = draw(10, 6, 4, 3), draw(11, 2, 6, 4).softmax(-1)
    both = decide(policy, features, held).target
    for member in (0, 1):
        alone = decide(policy.select([member]), features, held[member : member + 1]).target
        torch.testing.assert_close(alone[0], both[member], rtol=1e-6, atol=1e-7)
    assert not torch.allclose(both[0], both[1])


def test_a_selection_is_a_copy(policy):
    chosen = policy.select([1, 0, 1])
    assert chosen.members == 3
    assert torch.equal(chosen.head_weight[0], policy.head_weight[1])
    with torch.no_grad():
        chosen.head_weight.zero_()
    assert policy.head_weight.abs().sum() > 0


@pytest.mark.parametrize("members", [[], [2], [-1], [0, 5]])
def test_a_member_that_does_not_exist_is_refused(policy, members):
    with pytest.raises(CheckpointError, match=r"members must lie in 0\.\.1"):
        policy.select(members)


def test_the_same_seed_is_the_same_policy():
    one, same, other = (Policy(3, CONFIG, 1, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.hidden_weight, same.hidden_weight)
    assert not torch.equal(one.hidden_weight, other.hidden_weight)


def test_a_plain_policy_decides_as_it_always_did():
    """Stored policies mean the same: weights of a seed, and what they make of an input."""
    features = torch.arange(12.0).view(1, 4, 3) / 6 - 1
    held = torch.tensor([0.1, 0.2, 0.3, 0.0]).expand(2, 1, 4)
    target = decide(Policy(3, CONFIG, 2, generator()), features, held).target
    expected = [
        [0.15679345, 0.19810157, 0.23584585, 0.08958019],
        [0.14302082, 0.19237198, 0.24442927, 0.10874715],
    ]
    torch.testing.assert_close(target[:, 0], torch.tensor(expected), rtol=1e-5, atol=1e-6)
