"""Behaviour cloning beside the return: nearer to what reviewers wanted, and nothing else moved."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    BaseTrainConfig,
    Demonstrations,
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    Training,
    distance_from_wanted,
    start_training,
    train,
)
from trading_rlhf.agent import training as agent_training
from trading_rlhf.errors import ConfigError

BARS = range(100, 300)
METHODS = ("apg", "ppo")


def settings(method: str = "apg", **changes) -> TrainConfig:
    chosen = {"iterations": 8, "horizon": 6, "batch": 8, "method": method, **changes}
    return TrainConfig(**{**chosen, "ppo": {"epochs": 4, "minibatch": 24}})


def policy(members: int = 2) -> Policy:
    return Policy(5, PolicyConfig(hidden=8), members, torch.Generator().manual_seed(0))


def resizes(members: int = 2, count: int = 40, bars: range = BARS) -> Demonstrations:
    """Each names the weight of one asset: a third of what is held."""
    chance = torch.Generator().manual_seed(4)
    held = torch.rand(count, 6, generator=chance) / 6
    asset = torch.randint(6, (count,), generator=chance)
    wanted = torch.full((members, count, 6), torch.nan)
    wanted[:, torch.arange(count), asset] = held[torch.arange(count), asset] / 3
    t = torch.randint(bars.start, bars.stop, (count,), generator=chance)
    return Demonstrations(t, held, wanted, torch.ones(members, count))


def run(trained: Policy, market, config: TrainConfig, shown=None) -> Training:
    training = start_training(trained, config, torch.Generator().manual_seed(1))
    return train(
        training, market.tensors, BARS, CostModel(), config, ProfitReward(5.0),
        demonstrations=shown,
    )  # fmt: skip


def weights(trained: Policy) -> Tensor:
    return torch.cat([p.detach().flatten(1) for p in trained.parameters()], 1)


def test_the_distance_is_that_of_the_named_weights_alone(market):
    shown = resizes(members=1, count=3)
    shown = replace(shown, weight=torch.tensor([[1.0, 3.0, 0.0]]))
    made, features = policy(), market.tensors.features
    with torch.no_grad():
        encoded = made.encode_bars(features, shown.bars)
        target = made.decide(encoded, shown.held.expand(2, 3, 6)).target
        found = distance_from_wanted(made, features, shown)
    named = ~shown.wanted[0].isnan()
    assert named.sum(1).tolist() == [1, 1, 1]
    off = [(target[:, row] - shown.wanted[0, row])[:, named[row]].squeeze(1) for row in range(3)]
    assert torch.allclose(found, (off[0].square() + 3 * off[1].square()) / 4)


def test_a_whole_portfolio_counts_with_all_its_assets(market):
    features, made = market.tensors.features, policy(1)
    shown = resizes(members=1, count=1)
    whole = replace(shown, wanted=torch.zeros(1, 1, 6))
    with torch.no_grad():
        target = made.decide(made.encode_bars(features, shown.bars), shown.held[None]).target
        found = distance_from_wanted(made, features, whole)
    assert torch.allclose(found, target.square().sum((1, 2)))


@pytest.mark.parametrize("method", METHODS)
def test_training_brings_the_targets_nearer_to_what_was_wanted(market, method):
    shown, features = resizes(), market.tensors.features
    found = {}
    # A ppo iteration is many steps.
    steps = {"iterations": 20, "learning_rate": 2e-2} if method == "apg" else {"iterations": 12}
    for price in (0.0, 30.0):
        trained = policy()
        training = run(trained, market, settings(method, imitation=price, **steps), shown)
        with torch.no_grad():
            found[price] = distance_from_wanted(trained, features, shown)
    assert (found[30.0] < 0.8 * found[0.0]).all()
    assert training.figures["distance_from_wanted"].shape == (2,)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_price_nothing_changes(market, method):
    plain, priced, unpriced = policy(), policy(), policy()
    run(plain, market, settings(method))
    run(priced, market, settings(method, imitation=1.0))
    run(unpriced, market, settings(method), resizes())
    assert torch.equal(weights(plain), weights(priced))
    assert torch.equal(weights(plain), weights(unpriced))


@pytest.mark.parametrize("method", METHODS)
def test_stacked_policies_learn_each_from_its_own(market, method):
    """Of two policies the one whose decisions count for nothing is trained as without any."""
    shown = resizes()
    shown.weight[1] = 0.0
    plain, both = policy(), policy()
    run(plain, market, settings(method))
    run(both, market, settings(method, imitation=30.0), shown)
    assert torch.equal(weights(plain)[1], weights(both)[1])
    assert not torch.equal(weights(plain)[0], weights(both)[0])


def test_of_very_many_each_step_looks_at_some(market, monkeypatch):
    many, looked = resizes(count=700), []

    def noted(made, features, shown):
        looked.append(shown.bars)
        return distance_from_wanted(made, features, shown)

    monkeypatch.setattr(agent_training, "distance_from_wanted", noted)
    run(policy(), market, settings(imitation=30.0), many)
    run(policy(), market, settings(imitation=30.0), many)
    first, again = looked[:8], looked[8:]
    assert [len(bars) for bars in first] == [512] * 8
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))


@pytest.mark.parametrize("bar", [BARS.start - 1, BARS.stop])
def test_what_is_outside_the_bars_trained_on_is_refused(market, bar):
    shown = resizes()
    shown.bars[3] = bar
    with pytest.raises(ConfigError, match=r"must be of the bars trained on, 100 to 299; got .*\."):
        run(policy(), market, settings(imitation=1.0), shown)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("bars", torch.arange(3)),
        ("held", torch.zeros(39, 6)),
        ("wanted", torch.zeros(40, 6)),
        ("weight", torch.ones(40)),
        ("wanted", torch.full((2, 40, 6), torch.inf)),
        ("held", torch.full((40, 6), torch.nan)),
        ("weight", torch.full((2, 40), -1.0)),
    ],
)
def test_demonstrations_that_do_not_fit_are_refused(part, value):
    with pytest.raises(ConfigError, match=r"; got .*\."):
        replace(resizes(), **{part: value})


def test_a_base_policy_imitates_nobody():
    with pytest.raises(ValueError, match=r"comes before every answer; set shape\.imitation"):
        BaseTrainConfig(imitation=1.0)
