"""What every environment promises to whoever steps it: gymnasium, Stable-Baselines3, a trainer."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.env import GateConfig, MarketTensors, VectorMarketEnv
from trading_rlhf.market import Bars, PlantedMarket, load_sample, planted_market

NAME = "trading_rlhf/Market-v0"


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars(1, n_bars=180, holes=True)


@pytest.fixture(scope="module")
def close_only() -> Bars:
    return random_bars(2, n_bars=160, n_assets=5, has_open=False)


def make(bars: Bars, **settings) -> gymnasium.Env:
    return gymnasium.make(NAME, bars=bars, costs=CostModel(), **settings)


@pytest.mark.parametrize("settings", [{}, {"episode_length": 7}, {"long_only": False}])
@pytest.mark.parametrize("market", ["bars", "close_only"])
# Advice on taste: weights of a long-only account lie in 0..1, features have no bounds.
@pytest.mark.filterwarnings("ignore:.*We recommend using a symmetric and normalized space")
@pytest.mark.filterwarnings("ignore:.*value is -?infinity. This is probably too")
def test_gymnasium_accepts_it(market, settings, request):
    env = make(request.getfixturevalue(market), **settings)
    check_env(env.unwrapped, skip_render_check=True)


def test_a_market_by_name_steps_from_start_to_end(bars):
    env = make(load_sample("us4").window(1200, 1400))
    _, info = env.reset(seed=1)
    steps, truncated = 0, False
    while not truncated:
        *_, terminated, truncated, _ = env.step(np.full(4, 0.2, dtype=np.float32))
        assert not terminated
        steps += 1
    assert steps == 199 - info["t"]


def test_the_same_seed_is_the_same_run(bars):
    def run(seed: int) -> list[float]:
        env = make(bars, episode_length=5)
        obs, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        return [
            *obs.tolist(),
            *(env.step(env.action_space.sample())[1] for _ in range(5)),
        ]

    assert run(3) == run(3)
    assert run(3) != run(4)


@pytest.fixture
def vector_env(bars):
    return gymnasium.make_vec(
        NAME,
        num_envs=4,
        vectorization_mode="vector_entry_point",
        bars=bars,
        costs=CostModel(),
        episode_length=3,
    )


def test_the_batch_is_a_gymnasium_vector_environment(vector_env):
    assert vector_env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert vector_env.num_envs == 4
    vector_env.action_space.seed(0)
    obs, _ = vector_env.reset(seed=0)
    for step in range(1, 9):
        assert obs.shape == vector_env.observation_space.shape
        assert obs[0].numpy() in vector_env.single_observation_space
        obs, reward, terminated, truncated, _ = vector_env.step(vector_env.action_space.sample())
        assert [tuple(x.shape) for x in (reward, terminated, truncated)] == [(4,)] * 3
        assert obs.isfinite().all()
        # Three steps and the restart: every fourth step begins an episode.
        assert truncated.tolist() == [step % 4 == 3] * 4


def test_the_batch_takes_tensors(vector_env):
    vector_env.reset(seed=0)
    _, reward, *_ = vector_env.step(torch.full((4, 3), 0.3))
    assert reward.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_of_handles_is_one_too(bars, dtype):
    env = gymnasium.make_vec(
        NAME, num_envs=3, vectorization_mode="vector_entry_point", bars=bars, costs=CostModel(),
        observation="handle", dtype=dtype, gate=GateConfig(delay=2),
    )  # fmt: skip
    handle, _ = env.reset(seed=0)
    for _ in range(4):
        assert {name: value.numpy() for name, value in handle.items()} in env.observation_space
        handle, *_ = env.step(env.action_space.sample())
    assert handle["pending"].any()
    assert env.unwrapped.gather(handle).isfinite().all()


@pytest.mark.filterwarnings("ignore:.*We recommend using a symmetric and normalized space")
@pytest.mark.filterwarnings("ignore:.*value is -?infinity. This is probably too")
def test_gymnasium_accepts_handles_and_slow_reviews(bars):
    for settings in ({"observation": "handle"}, {"gate": GateConfig(delay=2, answer_rate=0.5)}):
        check_env(make(bars, **settings).unwrapped, skip_render_check=True)


def test_stable_baselines3_steps_one_account():
    market = planted_market(np.random.default_rng(1), n_bars=400, n_assets=4)
    env = make(market.bars, features=market.features, episode_length=32)
    model = stable_baselines3.PPO("MlpPolicy", env, n_steps=128, n_epochs=1, seed=1, device="cpu")
    model.learn(256)
    episodes = model.ep_info_buffer
    assert {episode["l"] for episode in episodes} == {32}
    assert all(np.isfinite(episode["r"]) and episode["r"] != 0.0 for episode in episodes)


class Batch(VecEnv):
    """The batch as Stable-Baselines3 wants it."""

    def __init__(self, env: VectorMarketEnv) -> None:
        self.env, self.actions, self.render_mode = env, None, None
        spaces = env.single_observation_space, env.single_action_space
        super().__init__(env.num_envs, *spaces)

    def reset(self):
        return self.env.reset(seed=0)[0].numpy()

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        obs, reward, terminated, truncated, _ = self.env.step(self.actions)
        done = (terminated | truncated).numpy()
        ends = [
            {"terminal_observation": row} if end else {} for row, end in zip(obs, done, strict=True)
        ]
        return obs.numpy(), reward.numpy().astype(np.float32), done, ends

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [getattr(self.env, attr_name)] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_method(self, method_name, *args, indices=None, **kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


def strong(planted: PlantedMarket, first: int, last: int) -> tuple[Bars, MarketTensors]:
    """Bars of a planted market whose drift is five times as large: little training shows."""
    bars = planted.bars.window(first, last)
    market = MarketTensors.from_bars(bars, planted.features[first:last])
    drift = torch.tensor(planted.drift[first:last])
    return bars, replace(market, intraday=market.intraday + 4 * drift)


def score(bars: Bars, market: MarketTensors, decide) -> float:
    """Log growth per bar (basis points) over all bars."""
    env = VectorMarketEnv(bars, CostModel(), 1, market=market)
    obs, _ = env.reset(options={"start": 0})
    rewards, done = [], False
    while not done:
        obs, reward, terminated, truncated, _ = env.step(decide(obs))
        rewards.append(float(reward))
        done = bool(terminated | truncated)
    return float(np.mean(rewards)) * 1e4


def test_stable_baselines3_learns_the_planted_task():
    """On later bars the policy earns far more than it did untrained, equal weights, or cash."""
    planted = planted_market(np.random.default_rng(0), n_bars=5000, n_assets=3)
    bars, market = strong(planted, 0, 4000)
    later = strong(planted, 4000, 5000)
    env = VectorMarketEnv(bars, CostModel(), 64, market=market, episode_length=256)
    # A decision earns its drift at once: gamma 0, and Stable-Baselines3's own noise, made smaller.
    model = stable_baselines3.PPO(
        "MlpPolicy", Batch(env), n_steps=16, batch_size=512, n_epochs=10, gamma=0.0, gae_lambda=0.0,
        learning_rate=3e-3, seed=0, device="cpu", policy_kwargs={"log_std_init": -1.0},
    )  # fmt: skip

    def act(obs: torch.Tensor) -> np.ndarray:
        return model.predict(obs.numpy(), deterministic=True)[0]

    untrained = score(*later, act)
    equal = score(*later, lambda obs: np.full((1, 3), 0.98 / 3))
    model.learn(65_536)
    trained = score(*later, act)
    assert trained > max(untrained, equal, 0.0) + 10.0
