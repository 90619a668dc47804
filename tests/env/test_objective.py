"""Several objectives, limits that are reported, and observations by handle."""

import numpy as np
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.env import ConstraintConfig, MarketTensors, ObjectiveConfig, VectorMarketEnv
from trading_rlhf.errors import AccountingError, ConfigError, DataError

TARGETS = np.random.default_rng(0).uniform(0, 0.4, (60, 2, 3))


def make(seed: int = 4, **settings) -> VectorMarketEnv:
    bars = random_bars(seed, 30, holes=True)
    features = np.random.default_rng(1).normal(size=(*bars.shape, 2)).astype(np.float32)
    env = VectorMarketEnv(bars, CostModel(), 2, features=features, episode_length=20, **settings)
    env.reset(seed=2, options={"start": 3})
    return env


def test_the_default_objective_is_log_growth_bit_for_bit():
    one, other = make(), make(objective=ObjectiveConfig())
    for target in TARGETS[:25]:
        assert torch.equal(one.step(target)[1], other.step(target)[1])


def test_the_reward_is_the_weighted_sum_of_the_objectives():
    config = ObjectiveConfig(growth=2.0, variance=4.0, turnover=0.001, drawdown=0.5)
    plain, env = make(), make(objective=config)
    equity, peak, deepest = np.ones(2), np.ones(2), np.zeros(2)
    for target in TARGETS[:20]:
        _, log_growth, *_ = plain.step(target)
        _, reward, *_, info = env.step(target)
        growth = log_growth.numpy()
        equity = equity * np.exp(growth)
        peak = np.maximum(peak, equity)
        fall = 1 - equity / peak
        turnover = np.abs(info["executed"].numpy()).sum(-1)
        expected = 2 * growth - 2 * growth**2 - 0.001 * turnover
        expected -= 0.5 * np.maximum(fall - deepest, 0)
        np.testing.assert_allclose(reward.numpy(), expected, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(info["drawdown"].numpy(), fall, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(info["turnover"].numpy(), turnover)
        deepest = fall
    assert deepest.any()


def test_breaches_are_reported_and_change_nothing():
    limits = ConstraintConfig(max_drawdown=0.01, max_exposure=0.5, max_turnover=0.3)
    plain, env = make(), make(limits=limits)
    seen = []
    for target in TARGETS[:40]:
        obs, reward, *_ = plain.step(target)
        own, own_reward, *_, info = env.step(target)
        assert torch.equal(own, obs)
        assert torch.equal(own_reward, reward)
        exposure = env.accounts.held.abs().sum(-1)
        assert torch.equal(info["exposure"], exposure)
        breaches = [info["drawdown"] > 0.01, exposure > 0.5, info["turnover"] > 0.3]
        assert torch.equal(info["violations"], torch.stack(breaches, -1))
        seen.append(info["violations"])
    rates = torch.stack(seen).float().mean((0, 1))
    assert (rates > 0).all()
    assert (rates < 1).all()


def test_a_restart_is_no_event():
    env = make(objective=ObjectiveConfig(drawdown=1.0, turnover=1.0), limits=ConstraintConfig())
    for target in TARGETS[:20]:
        *_, truncated, _ = env.step(target)
    assert truncated.all()
    _, reward, *_, info = env.step(TARGETS[20])
    for name in ("drawdown", "exposure", "turnover", "violations"):
        assert not info[name].any()
    assert not reward.any()
    assert (env.accounts.peak == 1.0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_handle_stands_for_the_full_observation(dtype):
    full, env = make(dtype=dtype), make(observation="handle", dtype=dtype)
    for target in TARGETS[:30]:
        obs, reward, *_ = full.step(target)
        handle, own_reward, *_ = env.step(target)
        assert set(handle) == {"t", "held", "pending", "wait", "cooldown"}
        # With handles the step is compiled: the same but for the order of sums.
        torch.testing.assert_close(env.gather(handle), obs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(own_reward, reward, rtol=1e-5, atol=1e-6)
        one = {name: value[0].numpy() for name, value in handle.items()}
        assert one in env.single_observation_space
    # Nothing is copied, features least of all.
    assert handle["held"] is env.accounts.held


def test_another_market_takes_the_place_of_the_bars():
    bars = random_bars(4, 30)
    features = np.zeros((30, 3, 2), dtype=np.float32)
    market = MarketTensors.from_bars(bars, features)
    calm = MarketTensors(
        market.features + 1, market.overnight * 0, market.intraday * 0, market.fillable, market.days
    )
    env = VectorMarketEnv(bars, CostModel(), 1, market=calm, dtype=torch.float32)
    obs, _ = env.reset(options={"start": 0})
    assert (obs[0, :6] == 1).all()
    *_, info = env.step(np.full((1, 3), 0.3))
    # Costs and nothing else.
    assert float(info["equity"]) == pytest.approx(1 - 0.9 * 3e-4, abs=1e-6)
    assert info["equity"].dtype == torch.float32
    with pytest.raises(DataError, match="comes with its own features"):
        VectorMarketEnv(bars, CostModel(), 1, market=calm, features=features)
    with pytest.raises(DataError, match="must have the bars' shape"):
        VectorMarketEnv(bars.window(0, 20), CostModel(), 1, market=calm)


def test_an_infinite_action_elsewhere_than_on_the_cpu_is_reported_by_the_next_reset():
    env = make()
    # A step does not wait for another device, so it only notes what came.
    env._infinite |= True
    with pytest.raises(AccountingError, match="target weights must be finite"):
        env.reset(seed=1)
    env.reset(seed=1)


@pytest.mark.parametrize("bad", [{"observation": "window"}, {"capital": 0.0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError, match=r"observation must be|capital must be"):
        make(**bad)
