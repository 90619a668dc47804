"""Attributions sum to the change, name what drives a trade, and are said in plain words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    start_training,
    train,
)
from trading_rlhf.env import MarketTensors
from trading_rlhf.market import planted_market
from trading_rlhf.proposals import Attribution, Book, Reason, attribute, explain
from trading_rlhf.proposals.sentence import say_why

EVERYONE = torch.arange(4)
CONFIGS = {
    "mlp": {},
    "short": {"long_only": False},
    "gru": {"encoder": "gru", "window": 5},
    "conv": {"encoder": "conv", "window": 5},
    "attention": {"context": "attention", "heads": 2},
    "pooled": {"context": "pooled"},
    "window and others": {"encoder": "gru", "window": 3, "context": "attention"},
}


def make_policy(size: float = 1.0, seed: int = 2, **settings) -> Policy:
    """A policy of three features whose weights are ``size`` times the usual first ones."""
    policy = Policy(3, PolicyConfig(hidden=8, **settings), 1, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weights in policy.parameters():
            weights.mul_(size)
    return policy


def make_inputs(policy: Policy, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """What it sees of four assets at the last of 12 bars, and the weights held."""
    features = torch.randn(12, 4, 3, generator=torch.Generator().manual_seed(seed))
    return policy.look(features, torch.tensor(11)), torch.tensor([0.3, 0.0, 0.4, 0.05])


def decide(policy, seen, held, noise=None):
    exact = Policy(3, policy.config, 1, torch.Generator()).double()
    exact.load_state_dict({name: value.double() for name, value in policy.state_dict().items()})
    with torch.no_grad():
        shifted = None if noise is None else noise.double()[None, None]
        held = held.double()[None, None]
        return exact.decide(exact.encode(seen.double()[None]), held, shifted)


def total(found: Attribution) -> torch.Tensor:
    return found.features.sum(1) + found.other_assets + found.held + found.restraint


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [1.0, 4.0])
def test_all_parts_sum_to_the_change(name, size):
    policy = make_policy(size, **CONFIGS[name])
    seen, held = make_inputs(policy)
    found = attribute(policy, seen, held, EVERYONE)
    decision = decide(policy, seen, held)
    change = decision.target[0, 0] - held.double()
    assert float(found.residual.max()) < 1e-4
    torch.testing.assert_close(found.change, change, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(total(found), change, rtol=0, atol=1e-6)
    assert float(found.features.abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_the_parts_are_those_of_the_baseline(name):
    """With every feature at its mean: where it would go, and what its gate would hold back."""
    policy = make_policy(3.0, **CONFIGS[name])
    seen, held = make_inputs(policy)
    noise = torch.tensor([0.5, -0.5, 0.2, 0.0])
    found = attribute(policy, seen, held, EVERYONE, noise)
    idle, full = decide(policy, seen * 0, held, noise), decide(policy, seen, held, noise)
    wish = full.goal[0, 0] - held.double()
    gates = torch.sigmoid(idle.paces[0, 0])
    side = torch.where(wish > 0, gates[:, 0], gates[:, 1])
    torch.testing.assert_close(found.held, idle.goal[0, 0] - held.double())
    torch.testing.assert_close(found.restraint, -(1 - side) * wish)
    torch.testing.assert_close(found.change, full.target[0, 0] - held.double())


def test_some_assets_are_explained_as_among_all():
    policy = make_policy(context="attention")
    seen, held = make_inputs(policy)
    everyone = attribute(policy, seen, held, EVERYONE)
    some = attribute(policy, seen, held, torch.tensor([3, 1]))
    torch.testing.assert_close(some.features, everyone.features[[3, 1]], rtol=0, atol=1e-9)
    torch.testing.assert_close(some.other_assets, everyone.other_assets[[3, 1]], rtol=0, atol=1e-9)


def test_a_feature_at_its_mean_or_ignored_explains_nothing():
    policy = make_policy()
    with torch.no_grad():
        policy.feature_weight[:, 1] = 0.0
    seen = torch.tensor([[0.0, 1.0, -1.0], [0.5, 1.0, 0.0]])
    found = attribute(policy, seen, torch.zeros(2), torch.arange(2)).features
    assert found[0, 0] == found[1, 2] == 0
    assert float(found[:, 1].abs().max()) == 0
    assert min(abs(float(found[0, 2])), abs(float(found[1, 0]))) > 1e-4


def test_only_what_lies_in_the_window_before_the_decision_is_not_latest():
    policy = make_policy(2.0, **CONFIGS["gru"])
    seen, held = make_inputs(policy)
    past = seen.clone()
    past[-1] = 0.0
    before = attribute(policy, past, held, EVERYONE)
    assert float(before.latest.abs().max()) == 0
    assert float(before.features.abs().max()) > 1e-4
    now = attribute(policy, seen - past, held, EVERYONE)
    torch.testing.assert_close(now.latest, now.features)


def test_others_explain_an_asset_that_shows_nothing_itself():
    policy = make_policy(2.0, context="attention")
    seen, held = make_inputs(policy)
    seen[0] = 0.0
    found = attribute(policy, seen, held, EVERYONE)
    assert float(found.features[0].abs().max()) == 0
    assert abs(float(found.other_assets[0])) > 1e-3


def test_the_policy_is_left_as_it_was():
    policy = make_policy()
    attribute(policy, *make_inputs(policy), EVERYONE)
    assert policy.feature_weight.dtype == torch.float32
    assert policy.feature_weight.requires_grad
    assert policy.feature_weight.grad is None


def planted(signal: int, seed: int) -> MarketTensors:
    """800 bars of six assets and five features, one of which alone drives the drift."""
    source = np.random.default_rng(seed)
    base = planted_market(source, n_bars=800, n_assets=6).bars
    shocks = source.standard_normal((800, 6, 5))
    features = np.zeros_like(shocks)
    for t in range(1, 800):
        features[t] = 0.9 * features[t - 1] + np.sqrt(1 - 0.9**2) * shocks[t]
    returns = 0.003 * features[..., signal] + 0.003 * source.standard_normal((800, 6))
    close = 50.0 * np.cumprod(1.0 + returns, 0)
    opens = np.vstack([np.full((1, 6), 50.0), close[:-1]])
    return MarketTensors.from_bars(
        replace(base, open=opens, close=close), features.astype(np.float32)
    )


def top_reasons(policy: Policy, market: MarketTensors, signal: int) -> tuple[float, float]:
    """How often the signal is the top reason of a trade, on unseen bars.

    Of all trades, and of those in which it is a quarter of a deviation or more from its mean: a
    signal at its mean explains nothing, and the trade then takes back an earlier one.
    """
    held, named, away = torch.full((6,), 1 / 7), [], []
    for seen in market.features[650:750]:
        found = attribute(policy, seen, held, torch.arange(6))
        asked = found.change.abs() >= 0.0005
        named += (found.features[asked].abs().argmax(1) == signal).tolist()
        away += (seen[asked, signal].abs() >= 0.25).tolist()
        held = held + found.change.float()
    assert sum(away) > 50
    return float(np.mean(named)), float(np.mean(np.array(named)[away]))


@pytest.mark.parametrize("signal", [2, 4])
def test_the_signal_of_a_planted_market_is_the_top_reason(signal):
    market, size = planted(signal, seed=0), PolicyConfig(hidden=16, tilt=2.0)
    config = TrainConfig(iterations=60, horizon=12, batch=32, learning_rate=5e-3)
    policy = Policy(5, size, 1, torch.Generator().manual_seed(0))
    assert max(top_reasons(policy, market, signal)) < 0.6
    training = start_training(policy, config, torch.Generator().manual_seed(1))
    costs = CostModel(commission_bps=2.0)
    trained = train(training, market, range(640), costs, config, ProfitReward(5.0)).policy
    of_all, of_clear = top_reasons(trained, market, signal)
    assert of_all >= 0.8
    assert of_clear >= 0.95


def one_asset(*features: float, latest: float = 0.0) -> Attribution:
    row = torch.tensor([features], dtype=torch.float64)
    part = torch.tensor([0.01], dtype=torch.float64)
    change = row.sum(1) + part + part * 2 - part
    return Attribution(row, row * latest, part, part * 2, -part, change, part * 0)


def test_the_three_largest_come_first_with_their_words_and_the_rest_is_kept():
    names = ("a", "b", "c", "d")
    labels = {name: f"the {name}" for name in names}
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    reasons, rest = explain(one_asset(0.01, -0.2, 0.004, 0.1, latest=0.5), 0, values, names, labels)
    assert reasons == (
        Reason("b", "the b", 2.0, -0.2, -0.1),
        Reason("d", "the d", 4.0, 0.1, 0.05),
        Reason("a", "the a", 1.0, 0.01, 0.005),
    )
    assert rest.other_signals == pytest.approx(0.004)
    assert (rest.other_assets, rest.held, rest.restraint) == (0.01, 0.02, -0.01)
    summed = sum(reason.contribution for reason in reasons)
    assert summed + 0.004 + 0.02 == pytest.approx(0.01 - 0.2 + 0.004 + 0.1 + 0.02)


def test_fewer_features_are_fewer_reasons():
    labels = {"a": "a", "b": "b"}
    reasons, rest = explain(one_asset(1.0, 2.0), 0, torch.ones(2), ("a", "b"), labels)
    assert len(reasons) == 2
    assert rest.other_signals == 0


def reason(label: str, value: float, contribution: float) -> Reason:
    return Reason("x", label, value, contribution)


TREND = reason("60-day trend", 1.83, 0.05)
CALM = reason("20-day volatility", -1.2, 0.02)


@pytest.mark.parametrize(
    ("side", "reasons", "others", "held", "restraint", "sentence"),
    [
        (
            1, (TREND, CALM), 0.0, 0.0, -0.03,
            "60-day trend +1.8 sd, 20-day volatility low; held back by cost and caution",
        ),
        (1, (TREND, CALM), 0.0, 0.0, -0.001, "60-day trend +1.8 sd, 20-day volatility low"),
        (1, (reason("5-day move", -2.0, 0.05),), 0.004, 0.0, 0.0, "5-day move -2.0 sd"),
        (
            -1, (TREND, reason("20-day volatility", 1.6, -0.06)), -0.01, -0.05, 0.0,
            "20-day volatility very high, holds more than usual; held back by 60-day trend +1.8 sd",
        ),
        (
            -1, (), -0.03, 0.02, 0.018,
            "other assets stronger; held back by how little is held, cost and caution",
        ),
        (1, (reason("volume", 0.2, 0.01),), 0.02, 0.0, 0.0,
         "other assets weaker, volume near its mean"),
        (1, (), 0.0, 0.0, 0.0, "no single signal"),
    ],
)  # fmt: skip
def test_a_trade_is_said_in_a_sentence(side, reasons, others, held, restraint, sentence):
    assert say_why(side, reasons, others, held, restraint) == sentence


def test_a_proposal_carries_the_sum_of_its_change(desk, book):
    made = desk.maker.at(150, book, "live", noise=torch.tensor([0.3, -0.2, 0.0, 0.1]))
    assert len(made) >= 3
    for proposal in made:
        rest = proposal.explanation
        assert rest is not None
        parts = sum(one.contribution for one in proposal.reasons)
        parts += rest.other_signals + rest.other_assets + rest.held + rest.restraint
        assert parts == pytest.approx(proposal.change, abs=1e-6)
        assert rest.residual < 1e-4
        assert rest.sentence


def test_nothing_after_the_bar_changes_the_explanation(desk, make, us4, book):
    later = desk.features.clone()
    later[151:] = 9.0
    changed = make(us4, features=later).maker.at(150, book, "live")
    assert changed == desk.maker.at(150, book, "live")


def test_a_flat_book_is_explained(desk):
    flat = Book(torch.zeros(4), torch.ones(4), 1e6)
    assert all(proposal.explanation for proposal in desk.maker.at(150, flat, "history"))
