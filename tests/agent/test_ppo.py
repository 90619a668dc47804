"""Proximal policy optimisation: it learns, keeps to the desk and trains members as if alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    PpoConfig,
    ProfitReward,
    TrainConfig,
    Training,
    orthogonal_start,
    ppo,
    start_training,
    train,
    walk,
)
from trading_rlhf.agent.critic import Critic
from trading_rlhf.agent.exploration import explore
from trading_rlhf.agent.training import Task
from trading_rlhf.env import GateConfig, MarketTensors, VectorMarketEnv
from trading_rlhf.market import Bars

PROFIT = ProfitReward(5.0)
SMALL = TrainConfig(
    method="ppo", iterations=3, horizon=6, batch=8, ppo=PpoConfig(epochs=2, minibatch=16)
)
LAGS, SIGMA, COST = 4, 0.01, 0.0002
PLAIN = CostModel(
    commission_bps=1e4 * COST, half_spread_bps=0.0, slippage_bps=0.0, borrow_bps_per_year=0.0
)


def policy(members: int = 1, seed: int = 0, **shape) -> Policy:
    config = PolicyConfig(hidden=8, **shape)
    return Policy(5, config, members, torch.Generator().manual_seed(seed))


def weights(trained: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten(1) for p in trained.parameters()], 1)


def run(trained: Policy, market, config: TrainConfig = SMALL, **more) -> Training:
    training = start_training(trained, config, torch.Generator().manual_seed(1))
    return train(
        training, market.tensors, range(100, 300), CostModel(), config, PROFIT, **more
    )  # fmt: skip


def change(**ppo_settings) -> TrainConfig:
    given = SMALL.ppo.model_copy(update=ppo_settings)
    return SMALL.model_copy(update={"ppo": given})


# What is learned


def autoregressive(seed: int, n_bars: int = 6000) -> tuple[np.ndarray, MarketTensors]:
    """One asset whose return is a fifth of the last one plus noise; its lags are the features."""
    shocks = np.random.default_rng(seed).normal(0, SIGMA, n_bars)
    returns = shocks.copy()
    for t in range(1, n_bars):
        returns[t] += 0.2 * returns[t - 1]
    close = 100.0 * np.cumprod(1.0 + returns)[:, None]
    opens = np.vstack([close[:1], close[:-1]])
    features = np.zeros((n_bars, 1, LAGS), dtype=np.float32)
    for lag in range(LAGS):
        features[lag:, 0, lag] = returns[: n_bars - lag] / SIGMA
    dates = pd.bdate_range("2001-01-01", periods=n_bars)
    bars = Bars(dates, ["A"], opens, None, None, close, None)
    return returns, MarketTensors.from_bars(bars, features, dtype=torch.float32)


def reference(returns: np.ndarray) -> float:
    """Return per bar of the best rule that takes a side on returns beyond a threshold."""
    best = -1.0
    for threshold in np.linspace(0, SIGMA, 21):
        place = np.where(np.abs(returns) > threshold, np.arange(len(returns)), 0)
        side = 0.98 * np.sign(returns[np.maximum.accumulate(place)])
        profit = side[:-1] * returns[1:] - COST * np.abs(np.diff(side, prepend=0.0))[:-1]
        best = max(best, float(profit.mean()))
    return best


def test_it_learns_a_planted_market_and_what_it_learns_holds_on_another_path():
    _, past = autoregressive(1)
    returns, held_out = autoregressive(2)
    generator = torch.Generator().manual_seed(0)
    trained = Policy(LAGS, PolicyConfig(hidden=16, tilt=4.0, long_only=False), 1, generator)
    orthogonal_start(trained, generator)
    config = TrainConfig(
        method="ppo", iterations=8, horizon=32, batch=64,
        ppo=PpoConfig(gamma=0.0, minibatch=256, epochs=8),
    )  # fmt: skip
    training = start_training(trained, config, generator)
    train(training, past, range(LAGS, 6000), PLAIN, config, ProfitReward(0.0))
    start = LAGS + torch.arange(20) * 299
    walked = walk(trained, held_out, start, 299, PLAIN, GateConfig(min_trade=0.0))
    profit = float((walked.log_growth.exp() - 1.0).mean())
    assert profit > 0.5 * reference(returns) > 5e-4


# Members, chance and resumption


@pytest.mark.parametrize("target_kl", [1e-5, 2e-4, 1e9])
def test_members_side_by_side_train_as_each_alone(market, target_kl):
    """Also where two rest for the epochs that the third still takes."""
    config = change(target_kl=target_kl, epochs=4)
    stack = policy(members=3)
    alone = [stack.select([member]) for member in range(3)]
    critics = start_training(stack, config, torch.Generator().manual_seed(1)).critic
    for member, single in enumerate(alone):
        training = start_training(single, config, torch.Generator().manual_seed(1))
        copy_member(critics, training.critic, member)
        training.generator.manual_seed(5)
        train(training, market.tensors, range(100, 300), CostModel(), config, PROFIT)
    training = start_training(stack, config, torch.Generator().manual_seed(1))
    training.generator.manual_seed(5)
    train(training, market.tensors, range(100, 300), CostModel(), config, PROFIT)
    singles = torch.cat([weights(single) for single in alone])
    torch.testing.assert_close(weights(stack), singles, rtol=0, atol=2e-5)
    assert float((weights(stack) - weights(policy(members=3))).abs().max()) > 1e-3


def copy_member(stacked: Critic, single: Critic, member: int) -> None:
    state = {name: value[[member]] for name, value in stacked.state_dict().items()}
    single.load_state_dict(state)


# Epochs and clipping


def gradient_steps(monkeypatch, trained, market, config) -> int:
    steps = []
    original = ppo.step_members
    monkeypatch.setattr(
        ppo, "step_members", lambda *given: (steps.append(1), original(*given))[1]
    )  # fmt: skip
    run(trained, market, config)
    return len(steps)


def test_epochs_end_once_a_policy_has_moved_far_enough(monkeypatch, market):
    """48 decisions are 3 minibatches; each of 3 iterations takes one epoch of 5, or all."""
    small = change(target_kl=1e-12, epochs=5)
    assert gradient_steps(monkeypatch, policy(), market, small) == 3 * 3
    large = change(target_kl=1e9, epochs=5)
    assert gradient_steps(monkeypatch, policy(), market, large) == 3 * 3 * 5


def batch_of(market, advantage: float, moved: float):
    """Decisions whose log density has changed by ``moved`` since they were drawn."""
    trained = policy()
    critic = start_training(trained, SMALL, torch.Generator().manual_seed(1)).critic
    task = Task(
        market.tensors.to(torch.float32), CostModel(), PROFIT, None, GateConfig(), None, 1e6
    )
    window = torch.arange(99, 106).expand(4, -1)
    seen = explore(trained, critic, task, window, torch.Generator().manual_seed(0))
    batch = ppo._prepare(seen, critic, task.market, SMALL)
    vars(batch)["advantage"] = torch.full_like(batch.advantage, advantage)
    vars(batch)["log_prob"] = batch.log_prob - moved
    loss, (divergence, _, _) = ppo._loss(trained, critic, task.market, batch, SMALL)
    loss.backward()
    slope = sum(float(p.grad.abs().sum()) for p in trained.parameters() if p.grad is not None)
    return slope, float(divergence)


@pytest.mark.parametrize(
    ("advantage", "moved", "pulls"),
    [(1.0, 0.0, True), (1.0, 0.3, False), (1.0, -0.3, True),
     (-1.0, 0.0, True), (-1.0, -0.3, False), (-1.0, 0.3, True)],
)  # fmt: skip
def test_a_change_beyond_the_clip_no_longer_pays(market, advantage, moved, pulls):
    slope, divergence = batch_of(market, advantage, moved)
    assert (slope > 1e-6) == pulls
    assert divergence == pytest.approx(np.exp(moved) - 1.0 - moved, abs=1e-4)


# Rollouts


def moods(features, held, target):
    """Approves what the first feature likes."""
    return torch.sigmoid(4.0 * features[..., 0] * torch.ones_like(target))


class Recorder:
    def __init__(self) -> None:
        self.steps = []

    def __call__(self, log_growth, change, approval):
        self.steps.append((log_growth, change, approval))
        return PROFIT(log_growth, change, approval)


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("desk", [None, moods])
@pytest.mark.parametrize("whole_shares", [False, True])
def test_a_rollout_is_the_environment_step_by_step(market, desk, delay, whole_shares):
    """With the hard gate: the same log growth as the environment's for the same targets."""
    gate = GateConfig(delay=delay, cooldown=2, min_trade=0.01)
    costs, bars = CostModel(whole_shares=whole_shares), market.planted.bars
    tensors = MarketTensors.for_costs(bars, market.planted.features, costs, dtype=torch.float32)
    recorder, seen = Recorder(), []
    trained = policy()
    act, decide = trained.act, trained.decide
    trained.decide = lambda *given: (decide(*given), seen.clear())[0]

    def watching(*given):
        decision = act(*given)
        seen.append(decision.target)
        return decision

    start = trained.decide(
        trained.encode_bars(tensors.features, torch.tensor([[99] * 2])),
        trained.before(torch.Size((1, 1, 2, 6))),
    ).target[0, 0]
    trained.act = watching
    critic = start_training(policy(), SMALL, torch.Generator().manual_seed(1)).critic
    task = Task(tensors, costs, recorder, desk, gate, None, 5e3)
    window = torch.arange(99, 119).expand(2, -1)
    rolled = explore(trained, critic, task, window, torch.Generator().manual_seed(0))
    env = VectorMarketEnv(
        bars, costs, 2, market=tensors, desk=desk, gate=gate, dtype=torch.float32, capital=5e3,
    )  # fmt: skip
    env.reset(options={"start": 0})
    vars(env.accounts)["t"], vars(env.accounts)["held"] = torch.full((2,), 100), start
    assert len(seen) == len(recorder.steps) == 19
    for target, (log_growth, *_) in zip(seen, recorder.steps, strict=True):
        _, reward, *_ = env.step(target[0])
        torch.testing.assert_close(reward, log_growth[0], rtol=0, atol=2e-6)
    if desk is None:
        # What waits for its answer counts as held, so the next wish starts from this one.
        gap = (rolled.own[1] - seen[0]).abs().max()
        assert float(gap) < (0.2 if whole_shares and not delay else 0.02)


def test_nothing_executes_that_the_desk_refuses(market):
    """Under a desk that refuses all, what a trade would cost makes no difference."""

    def growth(p: float, commission: float) -> torch.Tensor:
        recorder = Recorder()
        costs = CostModel(commission_bps=commission)
        training = start_training(policy(2), SMALL, torch.Generator().manual_seed(1))
        train(
            training, market.tensors, range(100, 300), costs, SMALL, recorder, until=1,
            desk=lambda features, held, target: torch.full_like(held, p),
        )  # fmt: skip
        assert any((wanted != 0).any() for _, wanted, _ in recorder.steps)
        return torch.stack([each for each, *_ in recorder.steps])

    assert torch.equal(growth(0.499, 1000.0), growth(0.499, 1.0))
    assert not torch.equal(growth(0.501, 1000.0), growth(0.501, 1.0))


@pytest.mark.parametrize("delay", [0, 1])
def test_a_ruined_account_starts_anew_and_its_episode_is_over(market, delay):
    tensors = market.tensors.to(torch.float32)
    crash = tensors.intraday.clone()
    crash[103] = -1.5
    ruin = MarketTensors(tensors.features, tensors.overnight, crash, tensors.fillable, tensors.days)
    trained = policy()
    critic = start_training(trained, SMALL, torch.Generator().manual_seed(1)).critic
    full = PolicyConfig(hidden=8, max_gross=1.0, tilt=10.0)
    trained = Policy(5, full, 1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        trained.head_bias[:] = 9.0
    task = Task(ruin, CostModel(), PROFIT, None, GateConfig(delay=delay), None, 1e6)
    window = torch.arange(99, 108).expand(3, -1)
    seen = explore(trained, critic, task, window, torch.Generator().manual_seed(0))
    assert seen.done[:, 0].all(1).tolist() == [False, False, True, *[False] * 5]
    assert torch.equal(seen.own[3], torch.zeros_like(seen.own[3]))
    assert all(torch.isfinite(each).all() for each in (seen.own, seen.reward, seen.log_prob))


# The critic


def test_the_running_scale_is_that_of_all_returns_and_the_values_stay():
    generator = torch.Generator().manual_seed(0)
    critic = Critic(3, 8, 2, 0.5, generator)
    with torch.no_grad():
        critic.head_weight.normal_(generator=generator)
    features, held = torch.randn(9, 4, 3, generator=generator), torch.full((2, 9, 4), 0.2)
    parts = [torch.randn(2, n, generator=generator) * 3.0 + n for n in (5, 40, 7)]
    critic.observe(parts[0])
    before = critic.value(features, held)
    for part in parts[1:]:
        critic.observe(part)
    whole = torch.cat(parts, 1)
    torch.testing.assert_close(critic.scale[:, 0], whole.mean(1))
    torch.testing.assert_close(critic.scale[:, 1], whole.var(1, correction=0))
    torch.testing.assert_close(critic.value(features, held), before, rtol=1e-4, atol=1e-4)
    scaled = critic.normalised(whole)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(2), rtol=0, atol=1e-5)


def test_the_order_of_assets_does_not_matter_to_the_value():
    generator = torch.Generator().manual_seed(0)
    critic = Critic(3, 8, 2, 0.5, generator)
    with torch.no_grad():
        critic.head_weight.normal_(generator=generator)
    features = torch.randn(9, 4, 3, generator=generator)
    held = torch.rand(2, 9, 4, generator=generator)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        critic(features[:, order], held[..., order]), critic(features, held)
    )  # fmt: skip


def test_an_orthogonal_start_has_orthogonal_weights_for_every_member():
    trained = policy(members=2)
    orthogonal_start(trained, torch.Generator().manual_seed(0))
    for member in range(2):
        square = trained.hidden_weight[member].detach()
        torch.testing.assert_close(square @ square.T, 2.0 * torch.eye(8))
    assert not torch.equal(trained.hidden_weight[0], trained.hidden_weight[1])
    assert float(trained.head_weight.detach().abs().max()) < 0.011
    assert not trained.hidden_bias.any()
