"""What a user may hand to an environment: each mistake is one sentence, what is plain works."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.env import MarketTensors, TradingEnv, VectorMarketEnv
from trading_rlhf.errors import AccountingError, ConfigError, DataError

NAMES = ("t", "held", "pending", "wait", "cooldown")


def make(bars, features, **settings) -> VectorMarketEnv:
    return VectorMarketEnv(bars, **{"features": features, "num_envs": 2, **settings})


def one_sentence(caught, start: str) -> None:
    message = str(caught.value)
    assert message.startswith(start), message
    assert "\n" not in message
    assert len(message) < 250


WRONG_SETTINGS = [
    *[({"num_envs": x}, "num_envs must be a whole number") for x in (0, -1, 2.5, "a", True, None)],
    *[
        ({"episode_length": x}, "episode_length must be a whole number")
        for x in (2.5, "a", math.nan)
    ],
    *[({"first_bar": x}, "first_bar must be a whole number") for x in (-1, 1.5, "a", math.nan)],
    *[({"max_gross": x}, "max_gross must be a number") for x in (-1, math.nan, "a", None)],
    *[({"capital": x}, "capital must be positive") for x in (0, math.nan, "a", None, 10**400)],
    *[({"device": x}, "device must be") for x in ("nope", "meta", "cuda:99", 5, None)],
    *[({"dtype": x}, "dtype must be torch.float32") for x in (torch.int32, torch.float16, "f8")],
    *[({"observation": x}, "observation must be") for x in ("Full", None, ["full"])],
    *[
        ({name: x}, f"{name} must be True or False")
        for name in ("long_only", "soft_gate")
        for x in ("no", None, 1)
    ],
    *[
        ({name: x}, f"{name} must be ")
        for name in ("desk", "gate", "objective", "limits", "costs", "market")
        for x in (5, "x", {})
    ],
]


@pytest.mark.parametrize(("setting", "start"), WRONG_SETTINGS)
def test_a_wrong_setting_is_one_sentence(bars, features, setting, start):
    with pytest.raises(ConfigError) as caught:
        make(bars, features, **setting)
    one_sentence(caught, start)


@pytest.mark.parametrize("no_bars", [None, "us4", {}])
def test_bars_are_bars(features, no_bars):
    with pytest.raises(ConfigError) as caught:
        TradingEnv(no_bars, features=features)
    one_sentence(caught, "bars must be of class Bars; got ")


def test_many_accounts_are_another_environment(bars, features):
    with pytest.raises(ConfigError, match="Use VectorMarketEnv"):
        TradingEnv(bars, features=features, num_envs=3)


@pytest.mark.parametrize("features", ["a", None, [[1, "b"]], {"a": 1}, 1j])
def test_features_are_numbers(bars, features):
    given = [features] if features is None else features
    with pytest.raises(DataError) as caught:
        make(bars, given)
    one_sentence(caught, "features must be an array of numbers; got ")


def test_features_come_in_any_array(bars, features):
    expected = make(bars, features).market.features
    for same in (features.tolist(), features.astype(object), torch.tensor(features)):
        assert torch.equal(make(bars, same).market.features, expected)


def test_a_market_is_that_of_the_bars(bars, features):
    short = bars.window(0, 20)
    market = MarketTensors.for_costs(short, features[:20], CostModel())
    with pytest.raises(DataError, match=r"a market must have the bars' shape \(40, 3\); got shape"):
        make(bars, None, market=market)
    with pytest.raises(DataError, match="a market comes with its own features"):
        make(short, features[:20], market=market)
    with pytest.raises(AccountingError, match="commission_bps must be one number or 3"):
        make(short, None, market=market, costs=CostModel(commission_bps=(1.0, 2.0)))
    away = MarketTensors(**{**vars(market), "overnight": market.overnight.to("meta")})
    with pytest.raises(DataError, match=r"lie on the device that is asked for \(cpu\); got meta"):
        make(short, None, market=away)


def test_bars_that_end_before_the_first_start(bars, features):
    for first in (39, 40, 1000):
        with pytest.raises(DataError) as caught:
            make(bars, features, first_bar=first)
        one_sentence(caught, "an environment needs a bar after the first start; got 40 bars")


@pytest.mark.parametrize("seed", [-1, 2**64, 2**70, [10**5001], "a", 1.5, [], [1, "a"], True, {}])
def test_a_wrong_seed_is_one_sentence(bars, features, seed):
    for env in (make(bars, features), TradingEnv(bars, features=features)):
        with pytest.raises(ConfigError) as caught:
            env.reset(seed=seed)
        one_sentence(caught, "a seed must be a whole number from 0 to 2**64 - 1")


def test_a_seed_may_be_any_whole_number_or_a_list(bars, features):
    env = make(bars, features, episode_length=3, num_envs=6)
    first = env.reset(seed=7)[1]["t"].tolist()
    for same in (np.int64(7), [7, 8], (7, None)):
        assert env.reset(seed=same)[1]["t"].tolist() == first
    env.reset(seed=2**64 - 1)
    single = TradingEnv(bars, features=features, episode_length=3)
    assert single.reset(seed=np.int64(7))[1] == single.reset(seed=7)[1]


@pytest.mark.parametrize("options", [{"strat": 3}, {"start": 3, "end": 5}, "x", 5, []])
def test_unknown_options_are_one_sentence(bars, features, options):
    with pytest.raises(ConfigError) as caught:
        make(bars, features).reset(options=options)
    one_sentence(caught, "reset knows one option, start; got ")


@pytest.mark.parametrize("start", ["a", None, 3.7, [3, 4], math.nan, True])
def test_a_start_is_a_bar(bars, features, start):
    env = make(bars, features, episode_length=3)
    with pytest.raises(DataError) as caught:
        env.reset(options={"start": start})
    one_sentence(caught, "an episode must start at a bar from 0 to 36; got ")


def test_a_refused_reset_changes_nothing(bars, features):
    """Neither the accounts nor the random numbers that come next."""
    env, same = (make(bars, features, num_envs=6, episode_length=3) for _ in range(2))
    for each in (env, same):
        each.reset(seed=7)
    with pytest.raises(DataError):
        env.reset(seed=1, options={"start": -1})
    assert env.reset()[1]["t"].tolist() == same.reset()[1]["t"].tolist()


@pytest.mark.parametrize("observation", ["full", "handle"])
@pytest.mark.parametrize(
    "action",
    [
        "a", None, np.full((2, 3), "0.2"), np.full((2, 3), None), np.full((2, 3), 1j),
        torch.zeros((2, 3), dtype=torch.complex64), [[0.1, 0.2], [0.3]], {"a": 1},
    ],
)  # fmt: skip
def test_actions_are_numbers(bars, features, observation, action):
    batch = make(bars, features, observation=observation)
    single = TradingEnv(bars, features=features)
    for env in (batch, single):
        env.reset(seed=1)
        with pytest.raises(AccountingError) as caught:
            env.step(action)
        one_sentence(caught, "target weights must be an array of numbers; got ")


@pytest.mark.parametrize("action", [0.1, np.zeros((1, 3)), np.zeros(2)])
def test_one_account_is_told_its_own_shape(bars, features, action):
    env = TradingEnv(bars, features=features)
    env.reset(seed=1)
    with pytest.raises(AccountingError) as caught:
        env.step(action)
    one_sentence(caught, "target weights must be finite and of shape (3,); got shape ")


@pytest.mark.parametrize("observation", ["full", "handle"])
def test_actions_come_in_any_array(bars, features, observation):
    wanted = np.random.default_rng(4).uniform(0, 0.3, (2, 3))
    frozen = wanted.copy()
    frozen.flags.writeable = False
    alike = [
        wanted.tolist(), wanted.astype(object), wanted[::-1].copy()[::-1], frozen,
        wanted.astype(">f8"), wanted.astype(np.longdouble), pd.DataFrame(wanted),
        torch.tensor(wanted).to_sparse(),
    ]  # fmt: skip
    env, rewards = make(bars, features, observation=observation, episode_length=3), []
    for action in (wanted, *alike):
        env.reset(options={"start": 4})
        rewards.append(env.step(action)[1].tolist())
    assert all(rewards[0])
    assert rewards == [rewards[0]] * len(rewards)


def wrong_handles(handle):
    t, held = handle["t"], handle["held"]
    yield from (None, {}, torch.zeros(2, 13), {**handle, "t": None}, {**handle, "t": "a"})
    for wrong in (t + 1000, t * 0 - 1, t.double(), t.bool(), t[0], t[:1], t[None]):
        yield {**handle, "t": wrong}
    for name in NAMES[1:]:
        yield {**handle, name: held[:, :2]}
        yield {**handle, name: held[0]}
        yield {other: value for other, value in handle.items() if other != name}


def test_a_wrong_handle_is_one_sentence(bars, features):
    env = make(bars, features, observation="handle")
    handle, _ = env.reset(seed=0)
    for wrong in wrong_handles(handle):
        with pytest.raises(AccountingError) as caught:
            env.gather(wrong)
        assert "of a handle must be" in str(caught.value) or "a handle must" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_handle_may_be_numpy_or_of_some_accounts(bars, features):
    env = make(bars, features, observation="handle", num_envs=4)
    env.reset(seed=0)
    handle, *_ = env.step(np.full((4, 3), 0.2))
    whole = env.gather(handle)
    arrays = {name: value.numpy() for name, value in handle.items()}
    assert torch.equal(env.gather(arrays), whole)
    some = {name: value[1:3] for name, value in handle.items()}
    assert torch.equal(env.gather(some), whole[1:3])
    none = {name: value[:0] for name, value in handle.items()}
    assert env.gather(none).shape == (0, whole.shape[1])


def test_no_limit_of_exposure(bars, features):
    """An infinite limit scales nothing down, in either path."""
    rewards = []
    for observation in ("full", "handle"):
        env = make(bars, features, observation=observation, max_gross=math.inf, episode_length=3)
        env.reset(options={"start": 2})
        *_, info = env.step(np.full((2, 3), 0.9))
        assert info["executed"].sum(1).tolist() == pytest.approx([2.7, 2.7])
        rewards.append(info["equity"].tolist())
    assert rewards[0] == pytest.approx(rewards[1], rel=1e-12)
