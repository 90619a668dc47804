"""What every environment promises to whoever steps it: gymnasium, Stable-Baselines3, a trainer."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.market import Bars, load_sample, planted_market

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


@pytest.fixture(scope="module")
def trained():
    """Stable-Baselines3's PPO after 512 steps on a planted market, and before."""
    stable_baselines3 = pytest.importorskip("stable_baselines3", reason="bench extra")
    market = planted_market(np.random.default_rng(1), n_bars=400, n_assets=4)
    env = make(market.bars, features=market.features, episode_length=32)
    model = stable_baselines3.PPO(
        "MlpPolicy", env, n_steps=128, batch_size=64, n_epochs=2, seed=1, device="cpu"
    )
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(512)
    return model, before


def test_stable_baselines3_trains_on_it(trained):
    model, before = trained
    after = list(model.policy.parameters())
    assert model.num_timesteps == 512
    assert all(p.isfinite().all() for p in after)
    assert any(not torch.equal(p, old) for p, old in zip(after, before, strict=True))
    episodes = model.ep_info_buffer
    assert {episode["l"] for episode in episodes} == {32}
    assert all(np.isfinite(episode["r"]) and episode["r"] != 0.0 for episode in episodes)
