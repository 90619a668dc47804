"""What encoders see: a window that ends at the decision, and assets that are all alike."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from tests.agent.architectures import ARCHITECTURES, WINDOW
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    load_policy,
    save_policy,
    start_training,
    train,
    walk,
)
from trading_rlhf.agent.encoders import Convolution, Recurrent
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import Bars

COSTS, PROFIT = CostModel(), ProfitReward(5.0)
T, N, F = 30, 6, 3
LAST = 20


def called(config: PolicyConfig) -> str:
    return f"{config.encoder}-{config.context}-{'long' if config.long_only else 'short'}"


every = pytest.mark.parametrize("config", ARCHITECTURES, ids=called)
windowed = pytest.mark.parametrize(
    "config", [c for c in ARCHITECTURES if c.window > 1 and c.long_only], ids=called
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def policy(config: PolicyConfig, members: int = 2) -> Policy:
    return Policy(F, config, members, generator()).double()


def encode(made: Policy, features: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return made.encode_bars(features, t)


@every
def test_bars_are_encoded_as_what_is_seen_at_each(config):
    """Side by side, alone, repeated, close together or far apart: the same encoding."""
    made, features = policy(config), draw(1, T, N, F)
    far = draw(1, 2000, N, F)
    for source, bars in (
        (features, [[4, 5, 6, 7], [20, 19, 19, 3]]),
        (features, [[0, 1, 2, 3]]),
        (features, [[T - 1]]),
        (far, [[7, 1999, 7]]),
    ):
        t = torch.tensor(bars)
        together = encode(made, source, t)
        assert together.shape == (2, *t.shape, N, 8)
        with torch.no_grad():
            seen = made.encode(made.look(source, t))
            alone = [made.encode(made.look(source, bar)) for bar in t.flatten()]
        torch.testing.assert_close(together, seen)
        torch.testing.assert_close(together.flatten(1, 2), torch.stack(alone, 1))


@every
def test_nothing_after_the_decision_is_seen(config):
    made, features = policy(config), draw(1, T, N, F)
    other = features.clone()
    other[LAST + 1 :] = draw(2, T - LAST - 1, N, F)
    t = torch.arange(LAST + 1)
    assert torch.equal(encode(made, features, t), encode(made, other, t))
    other[LAST] += 1.0
    changed = encode(made, features, t) != encode(made, other, t)
    assert changed[:, LAST].all()
    assert not changed[:, :LAST].any()


@windowed
def test_the_window_is_seen_to_its_first_bar_and_no_further(config):
    made, features = policy(config), draw(1, T, N, F)
    for back in range(WINDOW + 2):
        other = features.clone()
        other[LAST - back] += 1.0
        t = torch.tensor([LAST])
        differ = not torch.equal(encode(made, features, t), encode(made, other, t))
        assert differ == (back < WINDOW)


@windowed
def test_before_the_first_bar_the_first_is_repeated(config):
    made, features = policy(config), draw(1, T, N, F)
    longer = torch.cat([features[:1]] * (WINDOW - 1) + [features])
    t = torch.arange(8)
    torch.testing.assert_close(encode(made, features, t), encode(made, longer, t + WINDOW - 1))


@windowed
def test_the_order_of_the_bars_matters(config):
    made, features = policy(config), draw(1, T, N, F)
    swapped = features.clone()
    swapped[[LAST - 2, LAST - 1]] = features[[LAST - 1, LAST - 2]]
    t = torch.tensor([LAST])
    change = (encode(made, features, t) - encode(made, swapped, t)).abs().amax((1, 2, 3))
    assert (change > 1e-3).all()


@every
def test_assets_in_another_order_get_the_same_decisions_in_that_order(config):
    made, features, t = policy(config), draw(1, T, N, F), torch.tensor([3, 9, 10])
    held = draw(2, 2, 3, N) / 10
    order = torch.randperm(N, generator=generator(3))
    with torch.no_grad():
        straight = made.decide(made.encode_bars(features, t), held)
        permuted = made.decide(made.encode_bars(features[:, order], t), held[..., order])
    for name in ("target", "goal", "gate", "score"):
        torch.testing.assert_close(getattr(permuted, name), getattr(straight, name)[..., order])


@every
@pytest.mark.parametrize("n_assets", [1, 2, 25])
def test_a_policy_applies_to_another_universe(config, n_assets):
    made, t = policy(config), torch.tensor([0, 9])
    encoded = encode(made, draw(1, T, n_assets, F), t)
    with torch.no_grad():
        decision = made.decide(encoded, torch.zeros(2, 2, n_assets, dtype=torch.float64))
    assert decision.target.shape == (2, 2, n_assets)
    assert decision.target.isfinite().all()
    assert (decision.goal.abs().sum(-1) <= config.max_gross).all()


@pytest.mark.parametrize("encoder", ["mlp", "gru", "conv"])
def test_only_with_a_context_do_other_assets_matter(encoder):
    window = 1 if encoder == "mlp" else WINDOW
    features, t = draw(1, T, N, F), torch.tensor([LAST])
    other = features.clone()
    other[LAST, 2] += 1.0
    for context in ("none", "pooled", "attention"):
        made = policy(PolicyConfig(hidden=8, encoder=encoder, window=window, context=context))
        changed = (encode(made, features, t) != encode(made, other, t)).any(-1)[:, 0]
        assert changed[:, 2].all()
        assert changed.all() == (context != "none")


@pytest.mark.parametrize("context", ["pooled", "attention"])
def test_a_universe_twice_over_is_seen_as_once(context):
    """A summary of all assets, not a sum: more of the same changes nothing."""
    made = policy(PolicyConfig(hidden=8, context=context))
    features, t = draw(1, T, N, F), torch.tensor([LAST])
    twice = encode(made, torch.cat([features, features], 1), t)
    torch.testing.assert_close(twice[:, :, :N], encode(made, features, t))


@every
def test_every_parameter_has_a_gradient_and_members_are_apart(config):
    made, features = policy(config), draw(1, T, N, F)
    t = torch.tensor([3, 9])
    held = draw(2, 2, 2, N) / 10
    target = made.decide(made.encode_bars(features, t), held).target
    target[0].square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.ndim == 3, name
        assert parameter.grad[0].abs().sum() > 0, name
        assert parameter.grad[1].abs().sum() == 0, name


@every
def test_gradients_are_those_of_differences(config):
    made, t = policy(config, members=1), torch.tensor([4, 6, 6])
    features = draw(1, 8, 3, F).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: made.encode_bars(x, t), features)


@every
def test_single_precision_is_double_precision_rounded(config):
    made, features = policy(config), draw(1, T, N, F)
    t = torch.arange(T)
    rough = Policy(F, config, 2, generator())
    with torch.no_grad():
        encoded = rough.encode_bars(features.float(), t)
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded.double(), encode(made, features, t), rtol=1e-4, atol=1e-5)


@every
def test_members_chosen_are_copies_of_all_that_they_are(config):
    made, features = policy(config), draw(1, T, N, F)
    t = torch.tensor([3, 9])
    chosen = made.select([1, 0, 1])
    assert [name for name, _ in chosen.named_parameters()] == [
        name for name, _ in made.named_parameters()
    ]
    torch.testing.assert_close(encode(chosen, features, t), encode(made, features, t)[[1, 0, 1]])
    with torch.no_grad():
        for parameter in chosen.parameters():
            parameter.zero_()
    assert all(parameter.abs().sum() > 0 for parameter in made.parameters())


@every
def test_a_checkpoint_brings_back_the_whole_policy(config, tmp_path):
    made = Policy(F, config, 2, generator())
    stored = save_policy(made, tmp_path, ("a", "b", "c"), "f" * 64, "base")
    again, _ = load_policy(tmp_path, stored.id)
    assert again.config == config
    pairs = zip(made.named_parameters(), again.named_parameters(), strict=True)
    assert all(one[0] == two[0] and torch.equal(one[1], two[1]) for one, two in pairs)


def test_the_recurrent_net_is_that_of_torch():
    made = Recurrent(F, 4, WINDOW, 1, generator()).double()
    with torch.random.fork_rng():
        other = torch.nn.GRU(F, 4).double()
    with torch.no_grad():
        other.weight_ih_l0.copy_(made.gru_input_weight[0].T)
        other.weight_hh_l0.copy_(made.gru_state_weight[0].T)
        other.bias_ih_l0.copy_(made.gru_input_bias[0, 0])
        other.bias_hh_l0.copy_(made.gru_state_bias[0, 0])
    rows = draw(1, WINDOW, N, F)
    with torch.no_grad():
        _, expected = other(rows)
        found = made(rows, torch.tensor([WINDOW - 1]))
    torch.testing.assert_close(found[0, 0], expected[0])


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 9, 16, 100])
def test_convolutions_reach_exactly_the_window(length):
    assert sum(Convolution(F, 4, length, 1, generator()).distances) == length - 1


def reward_per_bar(made: Policy, market: MarketTensors, first: int, length: int) -> float:
    """Mean reward of a policy (basis points)."""
    walked = walk(made, market, torch.tensor([first]), length, COSTS, GateConfig())
    return float(PROFIT(walked.log_growth, walked.executed, None).mean()) * 1e4


def trained(made: Policy, market: MarketTensors, bars: range, iterations: int = 30) -> None:
    settings = TrainConfig(iterations=iterations, horizon=8, batch=16, learning_rate=1e-2)
    training = start_training(made, settings, generator(1))
    train(training, market, bars, COSTS, settings, PROFIT)


@pytest.mark.parametrize(
    "config",
    [c for c in ARCHITECTURES if c.context != "pooled" and c.long_only == (c.context == "none")],
    ids=called,
)
def test_training_improves_policies_of_every_kind(config, market):
    made = Policy(5, config, 1, generator())
    before = reward_per_bar(made, market.tensors, 0, 599)
    trained(made, market.tensors, range(600))
    assert reward_per_bar(made, market.tensors, 0, 599) - before > 1.0


@pytest.fixture(scope="module")
def late() -> MarketTensors:
    """A feature that tells the return three bars later, and nothing else does."""
    draws = np.random.default_rng(2)
    moves = draws.choice([-0.01, 0.01], (400, 3))
    close = 100.0 * np.cumprod(1.0 + moves, axis=0)
    opens = np.vstack([close[:1], close[:-1]])
    dates = pd.bdate_range("2001-01-01", periods=400)
    bars = Bars(dates, ["A", "B", "C"], opens, None, None, close, None)
    features = draws.normal(size=(400, 3, 5)).astype(np.float32) * 0.1
    features[:-3, :, 0] = np.sign(moves[3:])
    return MarketTensors.from_bars(bars, features)


@pytest.mark.parametrize(("encoder", "window"), [("mlp", 1), ("gru", 4), ("conv", 4)])
def test_a_window_finds_what_an_earlier_bar_tells(encoder, window, late):
    config = PolicyConfig(hidden=8, encoder=encoder, window=window)
    made = Policy(5, config, 1, generator())
    before = reward_per_bar(made, late, 0, 399)
    trained(made, late, range(399), 80)
    gain = reward_per_bar(made, late, 0, 399) - before
    assert (gain > 15.0) == (encoder != "mlp"), gain


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"encoder": "gru"}, "the encoder gru needs a window of at least 2 bars"),
        ({"encoder": "conv", "window": 1}, "the encoder conv needs a window of at least 2 bars"),
        ({"window": 16}, "an mlp sees one bar"),
        ({"context": "attention", "heads": 5}, "heads=5 must divide hidden=32"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        PolicyConfig(**settings)


@every
def test_gradients_of_several_outputs_may_be_taken_at_once(config):
    """What explanations do: one backward pass for all assets."""
    made, features = policy(config, members=1), draw(1, 3, WINDOW, N, F)
    seen = features[:, -1] if config.window == 1 else features
    seen = seen.clone().requires_grad_()
    out = made.encode(seen).sum((0, 1, 3))
    (together,) = torch.autograd.grad(
        out, seen, torch.eye(N).double(), is_grads_batched=True, retain_graph=True
    )
    for asset in range(N):
        (alone,) = torch.autograd.grad(out[asset], seen, retain_graph=True)
        torch.testing.assert_close(together[asset], alone)
