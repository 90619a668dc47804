"""Generalised advantages: the recursion is the sum that defines it."""

import pytest
import torch

from trading_rlhf.agent.advantages import advantages, standardised


@pytest.fixture(scope="module")
def steps():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(7, 2, 3, generator=generator, dtype=torch.float64)
    values = torch.randn(8, 2, 3, generator=generator, dtype=torch.float64)
    done = torch.rand(7, 2, 3, generator=generator) < 0.2
    assert 0 < int(done.sum()) < done.numel()
    return rewards, values, done


def by_definition(rewards, values, done, gamma, lam):
    """The sum of (gamma lambda)^l times the surprise l steps later, up to the episode's end."""
    out = torch.zeros_like(rewards)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in rewards.shape)).tolist():
        first, member, row = index
        weight = 1.0
        for k in range(first, len(rewards)):
            over = bool(done[k, member, row])
            after = 0.0 if over else float(values[k + 1, member, row])
            surprise = rewards[k, member, row] + gamma * after - values[k, member, row]
            out[first, member, row] += weight * surprise
            weight *= gamma * lam
            if over:
                break
    return out


@pytest.mark.parametrize(("gamma", "lam"), [(0.0, 0.95), (0.9, 0.0), (0.99, 0.95), (1.0, 1.0)])
def test_they_equal_a_plain_loop(steps, gamma, lam):
    torch.testing.assert_close(advantages(*steps, gamma, lam), by_definition(*steps, gamma, lam))


def test_with_both_weights_at_one_they_are_rewards_to_go_less_the_value(steps):
    rewards, values, _ = steps
    never = torch.zeros(7, 2, 3, dtype=torch.bool)
    to_go = rewards.flip(0).cumsum(0).flip(0) + values[-1]
    expected = to_go - values[:-1]
    torch.testing.assert_close(advantages(rewards, values, never, 1.0, 1.0), expected)


def test_what_follows_an_end_does_not_matter(steps):
    rewards, values, done = steps
    done = torch.zeros_like(done)
    done[3] = True
    other_rewards, other_values = rewards.clone(), values.clone()
    other_rewards[4:] += 5.0
    other_values[4:] -= 3.0
    one = advantages(rewards, values, done, 0.9, 0.9)
    other = advantages(other_rewards, other_values, done, 0.9, 0.9)
    assert torch.equal(one[:4], other[:4])
    assert not torch.equal(one[4:], other[4:])


def test_each_member_is_standardised_by_itself():
    values = torch.tensor([[1.0, 2.0, 3.0], [10.0, 200.0, 30.0]])
    scaled = standardised(values)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.square().mean(1), torch.ones(2))
    torch.testing.assert_close(scaled[:1], standardised(values[:1]))
    assert torch.equal(standardised(torch.ones(1, 4)), torch.zeros(1, 4))
