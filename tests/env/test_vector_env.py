"""B accounts: observations, rewards, ends and new starts, the desk's gate, and bad input."""

import math

import numpy as np
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import GateConfig, VectorMarketEnv
from trading_rlhf.errors import AccountingError, DataError
from trading_rlhf.market import DEFAULT_FEATURES, Bars, compute_features, warmup

COSTS = CostModel(commission_bps=5.0)


class Desk:
    """Approves what it is told to, whatever is proposed; remembers what it was asked."""

    def __init__(self, *p: float) -> None:
        self.p, self.asked = torch.tensor(p), []

    def __call__(self, features, held, target):
        self.asked.append((features, held, target))
        return self.p.expand(held.shape)


def make(bars, features, **settings) -> VectorMarketEnv:
    return VectorMarketEnv(bars, COSTS, features=features, **settings)


def actions(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.0, 0.4, shape)


@pytest.mark.parametrize("long_only", [True, False])
def test_equity_is_that_of_the_backtest(bars, features, long_only):
    n_bars, n_assets = bars.shape
    targets = actions(1, 2, n_bars, n_assets) - (0.0 if long_only else 0.2)
    targets[:, 7] = np.nan
    env = make(bars, features, num_envs=2, long_only=long_only)
    env.reset(options={"start": 0})
    curve, rewards = [np.ones(2)], []
    for t in range(n_bars - 1):
        _, reward, terminated, truncated, info = env.step(targets[:, t])
        curve.append(info["equity"].numpy())
        rewards.append(reward.numpy())
        assert not terminated.any()
        assert bool(truncated.all()) == (t == n_bars - 2)
    result = run_backtest(bars, targets, COSTS)
    np.testing.assert_allclose(np.stack(curve, 1), result.equity, rtol=1e-12)
    # Rewards are log growth from close to close, so they add up to the log of equity.
    np.testing.assert_allclose(np.exp(np.sum(rewards, 0)), result.equity[:, -1], rtol=1e-12)


def test_what_is_observed(bars, features):
    env = make(bars, features, num_envs=2, episode_length=5)
    obs, info = env.reset(options={"start": 4})
    assert obs.dtype == torch.float32
    assert info["t"].tolist() == [4, 4]
    flat = features[4].ravel()
    assert obs[0].tolist() == pytest.approx([*flat, *[0.0] * 6, 1.0])
    obs, *_ = env.step(np.full((2, 3), 0.2))
    held = env.accounts.held[0]
    assert held.any()
    assert obs[0, :6].tolist() == pytest.approx(features[5].ravel())
    assert obs[0, 6:9].tolist() == pytest.approx(held.tolist())
    assert float(obs[0, -1]) == pytest.approx(1.0 - float(held.sum()))


def test_default_features_start_after_their_warm_up():
    bars = random_bars(2, n_bars=140)
    env = VectorMarketEnv(bars, COSTS, 3)
    first = warmup(DEFAULT_FEATURES)
    assert env.first_bar == first
    obs, _info = env.reset(options={"start": first})
    assert obs[0, :15].tolist() == compute_features(bars)[first].ravel().tolist()


def test_episodes_start_anywhere_by_seed_and_restart_at_the_next_step(bars, features):
    env = make(bars, features, num_envs=16, episode_length=3)
    _, info = env.reset(seed=5)
    starts = info["t"].clone()
    assert len(set(starts.tolist())) > 4
    for k in (1, 2, 3):
        _, reward, _, truncated, info = env.step(actions(k, 16, 3))
        assert info["t"].tolist() == (starts + k).tolist()
        assert truncated.all() == (k == 3)
    # gymnasium's NEXT_STEP: this action is ignored, a new episode is observed, reward 0.
    obs, reward, terminated, truncated, info = env.step(actions(4, 16, 3))
    assert not (terminated.any())
    assert not (truncated.any())
    assert not reward.any()
    assert not info["executed"].any()
    assert (info["equity"] == 1.0).all()
    assert (obs[:, -1] == 1.0).all()
    _, _, _, truncated, again = env.step(actions(5, 16, 3))
    assert again["t"].tolist() == (info["t"] + 1).tolist()
    assert not truncated.any()
    _, info = env.reset(seed=5)
    assert info["t"].tolist() == starts.tolist()


def test_every_other_step_restarts_an_episode_of_one_bar(bars, features):
    env = make(bars, features, num_envs=2, episode_length=1)
    env.reset(seed=0)
    ends = [env.step(actions(k, 2, 3))[3].tolist() for k in range(4)]
    assert ends == [[True] * 2, [False] * 2] * 2


def test_an_episode_may_end_at_the_last_bar_and_go_on(bars, features):
    env = make(bars, features, num_envs=2)
    env.reset(options={"start": 0})
    for _ in range(bars.shape[0] - 1):
        *_, truncated, info = env.step(np.full((2, 3), 0.3))
    assert truncated.all()
    assert info["t"].tolist() == [bars.shape[0] - 1] * 2
    *_, truncated, info = env.step(np.full((2, 3), 0.3))
    assert info["t"].tolist() == [0, 0]


def test_ruin_terminates():
    calm = random_bars(9, n_bars=12, n_assets=2, volatility=0.001)
    factor = np.ones((12, 1))
    factor[5:] = 3.0
    bars = Bars(calm.dates, calm.symbols, None, None, None, calm.close * factor, None)
    env = make(bars, np.zeros((12, 2, 1)), num_envs=2, long_only=False)
    env.reset(options={"start": 0})
    steps = [env.step(np.array([[-0.9, 0.0], [0.9, 0.0]])) for _ in range(5)]
    _, reward, terminated, truncated, info = steps[4]
    assert terminated.tolist() == [True, False]
    assert not truncated.any()
    assert info["equity"][0] == 0.0
    assert reward[0] < -20.0
    *_, info = env.step(np.zeros((2, 2)))
    assert info["equity"][0] == 1.0
    assert info["t"].tolist()[1] == 6


def test_nan_holds(bars, features):
    env = make(bars, features)
    env.reset(options={"start": 0})
    env.step(np.array([[0.3, 0.2, 0.1]]))
    *_, info = env.step(np.full((1, 3), np.nan))
    assert not info["executed"].any()
    assert env.accounts.held.any()


def test_a_refused_trade_does_not_happen_and_its_side_rests():
    bars = random_bars(3, n_bars=12)
    features, desk = np.zeros((12, 3, 1)), Desk(0.9, 0.5, 0.1)
    env = make(bars, features, desk=desk, gate=GateConfig(cooldown=2, threshold=0.5))
    env.reset(options={"start": 0})
    buy = np.array([[0.2, 0.2, 0.2]])
    obs, *_, info = env.step(buy)
    assert info["approval"][0].tolist() == pytest.approx([0.9, 0.5, 0.1])
    # At the threshold is not above it.
    assert info["executed"][0].tolist() == pytest.approx([0.2, 0.0, 0.0])
    assert obs[0, 6:9].tolist() == [0.0, 1.0, 1.0]
    desk.p = torch.tensor([1.0, 1.0, 1.0])
    for left in ([0.0, 0.5, 0.5], [0.0, 0.0, 0.0]):
        obs, *_, info = env.step(buy)
        assert not info["executed"][0, 1:].any()
        assert obs[0, 6:9].tolist() == left
    *_, info = env.step(buy)
    assert info["executed"][0, 1:].tolist() == pytest.approx([0.2, 0.2], abs=0.01)


def test_the_other_side_does_not_rest():
    bars = random_bars(3, n_bars=12)
    desk = Desk(1.0, 1.0, 1.0)
    env = make(bars, np.zeros((12, 3, 1)), desk=desk)
    env.reset(options={"start": 0})
    env.step(np.array([[0.3, 0.3, 0.3]]))
    desk.p = torch.tensor([0.0, 0.0, 0.0])
    env.step(np.array([[0.32, 0.32, 0.32]]))
    desk.p = torch.tensor([1.0, 1.0, 1.0])
    *_, info = env.step(np.array([[0.32, 0.1, 0.32]]))
    assert info["executed"][0].tolist() == pytest.approx([0.0, -0.2, 0.0], abs=0.02)


def test_small_trades_are_not_proposed():
    bars = random_bars(3, n_bars=12)
    env = make(
        bars, np.zeros((12, 3, 1)), desk=Desk(1.0, 1.0, 0.0), gate=GateConfig(min_trade=0.05)
    )
    env.reset(options={"start": 0})
    *_, info = env.step(np.array([[0.049, 0.051, 0.049]]))
    assert info["executed"][0].tolist() == pytest.approx([0.0, 0.051, 0.0])
    # What was not proposed was not refused either.
    assert not env.accounts.cooldown.any()


def test_the_desk_sees_the_whole_wish_and_cash_is_settled_after_it():
    """What passes may be scaled down, never up: the desk has approved every share that trades."""
    desk = Desk(1.0, 1.0, 1.0)
    env = make(random_bars(3, n_bars=12), np.zeros((12, 3, 1)), desk=desk)
    env.reset(options={"start": 0})
    *_, info = env.step(np.array([[1.0, 1.0, 1.0]]))
    _, held, target = desk.asked[0]
    assert not held.any()
    assert target[0].tolist() == [1.0, 1.0, 1.0]
    assert float(info["executed"].sum()) == pytest.approx(0.98)


def test_refused_sales_leave_no_cash_for_approved_purchases():
    desk = Desk(1.0, 1.0, 1.0)
    bars = random_bars(3, n_bars=12, volatility=1e-6)
    env = make(bars, np.zeros((12, 3, 1)), desk=desk)
    env.reset(options={"start": 0})
    env.step(np.array([[0.9, 0.0, 0.0]]))
    desk.p = torch.tensor([0.0, 1.0, 1.0])
    *_, info = env.step(np.array([[0.0, 0.9, 0.0]]))
    assert info["executed"][0].tolist() == pytest.approx([0.0, 0.08, 0.0], abs=1e-3)


@pytest.mark.parametrize("bad", [np.full((1, 3), np.inf), np.zeros((1, 2)), np.zeros(3)])
def test_bad_actions_are_refused_in_one_sentence(bars, features, bad):
    env = make(bars, features)
    env.reset(seed=1)
    with pytest.raises(AccountingError, match=r"target weights must be finite and of shape \(1, 3"):
        env.step(bad)


@pytest.mark.parametrize("start", [-1, 37, 400])
def test_a_start_outside_the_bars_is_refused(bars, features, start):
    env = make(bars, features, episode_length=3)
    with pytest.raises(DataError, match="an episode must start at a bar from 0 to 36"):
        env.reset(options={"start": start})


@pytest.mark.parametrize("length", [0, 40, 1000])
def test_an_episode_must_fit(bars, features, length):
    with pytest.raises(DataError, match="an episode must fit into the 39 bars"):
        make(bars, features, episode_length=length)


def test_reward_is_the_log_of_growth(bars, features):
    env = make(bars, features, episode_length=5)
    env.reset(options={"start": 3})
    _, reward, *_, info = env.step(np.array([[0.5, 0.2, 0.1]]))
    assert float(reward) == pytest.approx(math.log(float(info["equity"])), rel=1e-12)
