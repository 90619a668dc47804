"""The gymnasium view is row b of the batched environment, bit for bit."""

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.env import TradingEnv, VectorMarketEnv


class LikesTheFirstFeature:
    """A desk whose opinion depends on what it sees, so that a wrong row would show."""

    def __call__(self, features, held, target):
        return torch.sigmoid(3 * features[..., 0] * (target - held).sign())


@pytest.mark.parametrize("desk", [None, LikesTheFirstFeature()])
@pytest.mark.parametrize("start", [0, 13])
def test_one_account_is_a_row_of_the_batch(bars, features, desk, start):
    settings = {"features": features, "episode_length": 20, "long_only": False, "desk": desk}
    batch, row = VectorMarketEnv(bars, CostModel(), 5, **settings), 3
    single = TradingEnv(bars, CostModel(), **settings)
    obs, _ = batch.reset(options={"start": start})
    own, info = single.reset(options={"start": start})
    assert info["t"] == start
    assert own.tobytes() == obs[row].numpy().tobytes()
    generator = np.random.default_rng(start)
    for _ in range(20):
        action = generator.uniform(-0.6, 0.9, (5, 3)).astype(np.float32)
        obs, reward, terminated, truncated, details = batch.step(action)
        own, own_reward, ended, cut, info = single.step(action[row])
        assert own.tobytes() == obs[row].numpy().tobytes()
        assert own_reward == float(reward[row])
        assert (ended, cut) == (bool(terminated[row]), bool(truncated[row]))
        assert info["t"] == int(details["t"][row])
        assert info["equity"] == float(details["equity"][row])
        assert info["executed"].tobytes() == details["executed"][row].numpy().tobytes()
    assert cut


def test_the_border_is_numpy_and_python(bars, features):
    env = TradingEnv(bars, features=features)
    obs, _info = env.reset(seed=3)
    assert isinstance(obs, np.ndarray)
    assert env.observation_space.contains(obs)
    obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(obs)
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
