"""Pre-training: the encoder learns what the features tell of themselves, from its own bars."""

from dataclasses import replace

import pytest
import torch

from tests.agent.architectures import ARCHITECTURES, WINDOW
from trading_rlhf.agent import Policy, PolicyConfig, PretrainConfig, pretrain
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import ConfigError, TrainingError

BARS = range(50, 500)
TASKS = ("next", "masked")
DECIDING = {"held_weight", "hidden_weight", "hidden_bias", "head_weight", "head_bias"}


def policy(config: PolicyConfig | None = None, members: int = 2, n_features: int = 5) -> Policy:
    config = PolicyConfig(hidden=8) if config is None else config
    return Policy(n_features, config, members, torch.Generator().manual_seed(0))


def learned(
    made: Policy, market: MarketTensors, task: str = "next", seed: int = 2, **changes
) -> list[list[float]]:
    settings = PretrainConfig(task=task, **{"iterations": 20, "batch": 16, **changes})
    return pretrain(made, market, BARS, settings, torch.Generator().manual_seed(seed))


def same(one: Policy, other: Policy) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("config", ARCHITECTURES[::2], ids=lambda c: f"{c.encoder}-{c.context}")
def test_the_encoder_learns_and_what_decides_stays(market, config, task):
    made, before, again = policy(config), policy(config), policy(config)
    losses = learned(made, market.tensors, task)
    learned(again, market.tensors, task)
    moved = {
        name
        for name, value in made.named_parameters()
        if not torch.equal(value, before.get_parameter(name))
    }
    assert moved == {name for name, _ in made.named_parameters()} - DECIDING
    assert same(made, again)
    assert len(losses) == 20
    assert len(losses[0]) == 2
    assert all(value.grad is None for value in made.parameters())


def test_it_tells_as_much_of_the_next_bar_as_there_is_to_tell(market):
    """Of an autoregression's change a share of (1 - persistence) / 2 can be known: 7% here."""
    losses = torch.tensor(learned(policy(), market.tensors, iterations=400, batch=128))
    end = losses[-50:].mean(0)
    assert (losses[0] > 1.0).all()
    assert ((end > 0.88) & (end < 0.96)).all()


def test_what_is_hidden_is_told_from_its_copy(market):
    twice = replace(market.tensors, features=market.tensors.features[..., :2].repeat(1, 1, 2))
    made = policy(PolicyConfig(hidden=16), n_features=4)
    losses = torch.tensor(learned(made, twice, "masked", iterations=400, batch=64))
    assert (losses[-50:].mean(0) < 0.6).all()
    alone = policy(PolicyConfig(hidden=16), n_features=2)
    single = replace(twice, features=twice.features[..., :2])
    losses = torch.tensor(learned(alone, single, "masked", iterations=400, batch=64))
    assert (losses[-50:].mean(0) > 0.9).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("encoder", ["mlp", "gru"])
def test_it_sees_no_bar_after_its_own(market, task, encoder):
    config = PolicyConfig(hidden=8, encoder=encoder, window=1 if encoder == "mlp" else WINDOW)
    features = market.tensors.features.clone()
    one, other, within = policy(config), policy(config), policy(config)
    learned(one, market.tensors, task)
    features[BARS.stop :] = 7.0
    learned(other, replace(market.tensors, features=features), task)
    assert same(one, other)
    features[BARS.stop - 1] = 7.0
    learned(within, replace(market.tensors, features=features), task, batch=256)
    assert not same(one, within)


@pytest.mark.parametrize("task", TASKS)
def test_an_asset_that_is_not_listed_yet_does_not_count(market, task):
    listed = torch.ones(market.tensors.shape, dtype=torch.bool)
    listed[:300, 0] = False
    features = market.tensors.features.clone()
    one, other = policy(), policy()
    learned(one, replace(market.tensors, listed=listed), task)
    features[:300, 0] = 9.0
    learned(other, replace(market.tensors, listed=listed, features=features), task)
    assert same(one, other)


def test_too_few_bars_are_refused(market):
    with pytest.raises(ConfigError, match=r"at least 2 bars; got 1\."):
        pretrain(
            policy(), market.tensors, range(5, 6), PretrainConfig(iterations=1), torch.Generator()
        )


def test_what_explodes_stops_in_one_sentence(market):
    with pytest.raises(TrainingError, match=r"must stay finite.*train\.pretrain\.learning_rate"):
        learned(policy(), market.tensors, learning_rate=1e25)
