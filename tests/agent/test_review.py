"""Walk and trainer face the review of the environment: its delay, expiry, resize and memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel, ShareCommission
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    apg,
    start_training,
    train,
    walk,
)
from trading_rlhf.agent.training import Task
from trading_rlhf.env import GateConfig, MarketTensors, VectorMarketEnv
from trading_rlhf.errors import ConfigError

PROFIT = ProfitReward(5.0)


def moods(features, held, target):
    """A desk of many minds, in the precision of nets."""
    return (31.7 * target.float() + 17.3 * held.float() + features[..., 0]).sin() * 0.5 + 0.5


def policy(n_features: int, members: int = 1, seed: int = 0) -> Policy:
    return Policy(n_features, PolicyConfig(hidden=8), members, torch.Generator().manual_seed(seed))


gates = st.builds(
    GateConfig,
    delay=st.integers(0, 4),
    cooldown=st.integers(0, 5),
    answer_rate=st.sampled_from([1.0, 0.6]),
    expiry=st.integers(4, 7),
    resize_steps=st.sampled_from([0, 3]),
    min_trade=st.sampled_from([0.0, 0.002, 0.03]),
)


@given(seed=st.integers(0, 10_000), gate=gates, dollars=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_walk_is_the_environment_step_by_step(seed, gate, dollars):
    bars = random_bars(seed, 40, holes=True)
    features = np.random.default_rng(seed).normal(size=(40, 3, 2)).astype(np.float32)
    costs = CostModel(share_commission=ShareCommission() if dollars else None)
    market = MarketTensors.for_costs(bars, features, costs)
    env = VectorMarketEnv(
        bars, costs, 4, market=market, episode_length=25, desk=moods, gate=gate, capital=1e4
    )
    _, info = env.reset(seed=seed)
    walked = walk(
        policy(2, seed=seed), market, info["t"], 25, costs, gate,
        decider=moods, capital=1e4, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    for k in range(25):
        held, orders = env.accounts.held, env.accounts.orders
        torch.testing.assert_close(held, walked.held[k, 0], rtol=0, atol=1e-12)
        _, reward, *_, info = env.step(walked.target[k, 0])
        torch.testing.assert_close(info["executed"], walked.executed[k, 0], rtol=0, atol=1e-12)
        torch.testing.assert_close(reward, walked.log_growth[k, 0], rtol=0, atol=1e-12)
    end, orders = walked.end, env.accounts.orders
    torch.testing.assert_close(env.accounts.cooldown, end.cooldown[0])
    torch.testing.assert_close(orders.pending, end.orders.pending[0], rtol=0, atol=1e-12)
    assert torch.equal(orders.wait, end.orders.wait[0])


@pytest.fixture(scope="module")
def walks(market):
    """One policy under four delays."""
    gate, start = GateConfig(), torch.tensor([100, 300, 500])
    return {
        delay: walk(
            policy(5), market.tensors, start, 30, CostModel(),
            gate.model_copy(update={"delay": delay}), decider=moods,
        )
        for delay in (0, 1, 2, 5)
    }  # fmt: skip


def test_orders_come_later_the_longer_the_review(walks):
    for delay, walked in walks.items():
        traded = walked.executed.abs().sum((1, 2, 3))
        assert not traded[:delay].any()
        assert traded[delay] > 0
        assert torch.equal(walked.target[0], walks[0].target[0])


def test_a_policy_that_revises_every_bar_still_trades(walks):
    """It sees what it has ordered, and its orders survive its revisions."""
    for delay, walked in walks.items():
        after = walked.executed[delay:].abs().sum() / (30 - delay)
        first = walks[0].executed.abs().sum() / 30
        assert float(after / first) > 0.2 / (delay + 1)


def test_the_policy_sees_its_orders_as_its_position(market):
    """It goes on from where its orders lead: half the way, then half of what is left."""
    halfway = policy(5)
    with torch.no_grad():
        halfway.head_weight.zero_()
        halfway.head_bias.zero_()
    gate = GateConfig(delay=4, min_trade=0.0)
    walked = walk(halfway, market.tensors, torch.tensor([100]), 5, CostModel(), gate)
    goal = 0.98 / 7
    assert walked.target[0, 0, 0].tolist() == pytest.approx([goal / 2] * 6, rel=1e-6)
    assert walked.target[1, 0, 0].tolist() == pytest.approx([goal * 3 / 4] * 6, rel=0.05)
    # One order waits; the wish for more is not put to the desk before its answer.
    assert walked.shown[0].all()
    assert not walked.shown[1:].any()
    assert walked.executed[4].sum() == pytest.approx(0.42, rel=0.05)


def test_two_halves_of_a_delayed_walk_are_the_whole(market):
    start, gate = torch.tensor([100, 300]), GateConfig(delay=3)
    own = policy(5, members=2)
    whole = walk(own, market.tensors, start, 20, CostModel(), gate, decider=moods)
    one = walk(own, market.tensors, start, 6, CostModel(), gate, decider=moods)
    two = walk(
        own, market.tensors, start + 6, 14, CostModel(), gate, decider=moods, position=one.end
    )
    assert one.end.orders.pending.any()
    assert torch.equal(torch.cat([one.log_growth, two.log_growth]), whole.log_growth)
    assert torch.equal(two.end.orders.pending, whole.end.orders.pending)
    torch.testing.assert_close(
        whole.end.equity, 1e6 * whole.log_growth.sum(0).exp(), rtol=1e-9, atol=0
    )


def test_chance_needs_a_generator(market):
    gate = GateConfig(answer_rate=0.5)
    with pytest.raises(ConfigError, match="needs a random generator"):
        walk(policy(5), market.tensors, torch.tensor([100]), 5, CostModel(), gate)


class Recorder:
    """The profit reward, keeping what it was given."""

    def __init__(self) -> None:
        self.steps = []

    def __call__(self, log_growth, change, approval):
        self.steps.append((log_growth.detach(), change.detach()))
        return PROFIT(log_growth, change, approval)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_rollout_is_the_soft_environment_step_by_step(market, delay):
    """The trainer's gate is the environment's, so a policy trains under the desk it will face."""
    gate = GateConfig(delay=delay, cooldown=2)
    tensors = market.tensors.to(torch.float32)
    recorder, trained, seen = Recorder(), policy(5), []
    decide = trained.decide

    def watching(encoded, held, noise=None):
        decision = decide(encoded, held, noise)
        seen.append(decision.target.detach())
        return decision

    trained.decide = watching
    window = torch.arange(99, 112).expand(2, -1)
    generator = torch.Generator().manual_seed(0)
    task = Task(tensors, CostModel(), recorder, moods, gate, None, 1e6)
    apg._rollout(trained, task, window, generator)
    env = VectorMarketEnv(
        market.planted.bars, CostModel(), 2, market=tensors, desk=moods, gate=gate,
        soft_gate=True, dtype=torch.float32,
    )  # fmt: skip
    env.reset(options={"start": 0})
    start = torch.full((2,), 100)
    vars(env.accounts)["t"], vars(env.accounts)["held"] = start, seen[0][0]
    for target, (log_growth, _) in zip(seen[1:], recorder.steps, strict=True):
        _, reward, *_ = env.step(target[0])
        torch.testing.assert_close(reward, log_growth[0], rtol=0, atol=2e-6)


def test_it_learns_under_a_delay(market):
    """Held-out profit under the delay, compared with the policy as it was."""
    gate = GateConfig(delay=2)
    after = policy(5, members=3)
    before = after.select([0, 1, 2])
    config = TrainConfig(iterations=40, horizon=12, batch=24)
    training = start_training(after, config, torch.Generator().manual_seed(1))
    train(training, market.tensors, range(600), CostModel(), config, PROFIT, gate=gate)

    def profit(policies: Policy) -> torch.Tensor:
        start = torch.tensor([620])
        walked = walk(policies, market.tensors, start, 279, CostModel(), gate)
        return PROFIT(walked.log_growth, walked.executed, None).mean((0, 2)) * 1e4

    assert float((profit(after) - profit(before)).mean()) > 1.0


def test_the_gradient_of_a_delayed_order_reaches_its_decision(market):
    """A rollout of one decision that never fills teaches nothing; one bar more and it does."""
    window = torch.arange(99, 106).expand(4, -1)
    norms = []
    for delay in (4, 5, 6):
        trained = policy(5)
        tensors, gate = market.tensors.to(torch.float32), GateConfig(delay=delay)
        task = Task(tensors, CostModel(), PROFIT, None, gate, None, 1e6)
        rewards, _ = apg._rollout(trained, task, window, torch.Generator().manual_seed(0))
        if rewards.requires_grad:
            rewards.sum().backward()
        grads = [p.grad for p in trained.parameters() if p.grad is not None]
        norms.append(float(sum(g.abs().sum() for g in grads)))
    assert norms[0] > 0
    assert norms[1] > 0
    assert norms[2] == 0


def test_each_proposal_is_counted_once(market):
    """A price on disapproval is due when a trade is proposed, not at each close while it waits."""
    recorder, gate = Recorder(), GateConfig(delay=4, cooldown=0)
    task = Task(market.tensors.to(torch.float32), CostModel(), recorder, moods, gate, None, 1e6)
    window = torch.arange(99, 112).expand(4, -1)
    apg._rollout(policy(5), task, window, torch.Generator().manual_seed(0))
    proposed = torch.stack([change != 0 for _, change in recorder.steps])
    for k in range(1, 4):
        assert proposed[k].float().mean() < 0.5 * proposed[0].float().mean()
