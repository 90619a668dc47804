"""The trainer: it learns, repeats itself, stays inside its window and near its anchor."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    Training,
    apg,
    start_training,
    train,
    walk,
)
from trading_rlhf.agent.training import Task
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.errors import ConfigError
from trading_rlhf.market import Bars

COSTS, PROFIT = CostModel(), ProfitReward(5.0)
SHORT = TrainConfig(iterations=5, horizon=6, batch=8)


class Desk:
    """Approves everything with one probability."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, features, held, target):
        return torch.full_like(held, self.p)


class Recorder:
    """The profit reward, keeping what it was given."""

    def __init__(self) -> None:
        self.steps = []

    def __call__(self, log_growth, change, approval):
        self.steps.append((log_growth.detach(), change.detach(), approval))
        return PROFIT(log_growth, change, approval)


def policy(members: int = 1, seed: int = 0) -> Policy:
    return Policy(5, PolicyConfig(hidden=16), members, torch.Generator().manual_seed(seed))


def run(
    trained: Policy,
    market: MarketTensors,
    config: TrainConfig = SHORT,
    bars: range = range(100, 300),
    reward=PROFIT,
    costs: CostModel = COSTS,
    **settings,
) -> Training:
    training = start_training(trained, config, torch.Generator().manual_seed(1))
    return train(training, market, bars, costs, config, reward, **settings)


def weights(trained: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten(1) for p in trained.parameters()], 1)


@pytest.fixture(scope="module")
def learned(market):
    """Three policies before and after 60 gradient steps on the first 600 bars."""
    after = policy(members=3)
    before = after.select([0, 1, 2])
    config = TrainConfig(iterations=60, horizon=12, batch=24)
    training = run(after, market.tensors, config, range(600))
    return before, after, training


def reward_per_bar(policies: Policy, market: MarketTensors, first: int, last: int) -> torch.Tensor:
    """Mean reward ``[S]`` of the policies walked over bars (basis points)."""
    walked = walk(policies, market, torch.tensor([first]), last - first - 1, COSTS, GateConfig())
    return PROFIT(walked.log_growth, walked.executed, None).mean((0, 2)) * 1e4


def test_every_policy_improves_on_the_planted_market(learned, market):
    before, after, _ = learned
    gain = reward_per_bar(after, market.tensors, 0, 600)
    gain -= reward_per_bar(before, market.tensors, 0, 600)
    assert (gain > 1.0).all()


def test_what_was_learned_holds_on_later_bars(learned, market):
    before, after, _ = learned
    gain = reward_per_bar(after, market.tensors, 620, 900)
    gain -= reward_per_bar(before, market.tensors, 620, 900)
    assert float(gain.mean()) > 1.0


def test_it_prefers_the_planted_features(learned, market):
    """Scores rise with momentum and value, which drive the drift, not with the two decoys."""
    _, after, _ = learned
    features = torch.zeros(1, 6, 5)
    held = torch.full((3, 1, 6), 1 / 7)
    response = []
    for column in range(5):
        high = features.clone()
        high[..., column] = 1.0
        with torch.no_grad():
            up = after.decide(after.encode(high), held).score
            down = after.decide(after.encode(-high), held).score
        response.append(float((up - down).mean()))
    assert min(response[0], response[1]) > 2 * max(abs(response[3]), abs(response[4]))


def test_a_rollout_decides_on_the_bar_whose_next_return_it_earns():
    """A feature that knows the next return and nothing else: one bar late it is worth nothing."""
    generator = np.random.default_rng(2)
    moves = generator.choice([-0.01, 0.01], (400, 3))
    close = 100.0 * np.cumprod(1.0 + moves, axis=0)
    opens = np.vstack([close[:1], close[:-1]])
    dates = pd.bdate_range("2001-01-01", periods=400)
    bars = Bars(dates, ["A", "B", "C"], opens, None, None, close, None)
    features = np.zeros((400, 3, 5), dtype=np.float32)
    features[:-1, :, 0] = np.sign(moves[1:])
    tensors = MarketTensors.from_bars(bars, features)
    trained = policy()
    before = reward_per_bar(trained, tensors, 0, 399)
    run(trained, tensors, TrainConfig(iterations=60, horizon=6, batch=16), range(399))
    assert float(reward_per_bar(trained, tensors, 0, 399) - before) > 15.0


def test_progress_is_recorded(learned):
    training = learned[2]
    assert training.iteration == 60
    assert np.array(training.history).shape == (60, 3)


def test_the_same_seed_is_the_same_policy_bit_for_bit(market):
    one, same = policy(), policy()
    run(one, market.tensors)
    run(same, market.tensors)
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(policy()))


def test_policies_side_by_side_train_as_each_alone(market):
    """Same starts, same clipping of each by itself: stacking changes nothing but rounding."""
    both = policy(members=2)
    alone = both.select([1])
    run(both, market.tensors, SHORT.model_copy(update={"gradient_clip": 1e-3}))
    run(alone, market.tensors, SHORT.model_copy(update={"gradient_clip": 1e-3}))
    torch.testing.assert_close(weights(alone)[0], weights(both)[1], rtol=1e-3, atol=1e-5)
    assert float((weights(both)[0] - weights(both)[1]).abs().max()) > 0.1


def test_bars_outside_the_window_do_not_matter(market):
    tensors = market.tensors
    scrambled = MarketTensors(*(
        torch.where(
            ((torch.arange(900) >= 100) & (torch.arange(900) < 300)).view(-1, *[1] * (x.ndim - 1)),
            x,
            x.flip(0),
        )
        for x in (tensors.features, tensors.overnight, tensors.intraday, tensors.fillable,
                  tensors.days)
    ))  # fmt: skip
    assert not torch.equal(scrambled.features, tensors.features)
    config = TrainConfig(iterations=20, horizon=6, batch=64)
    one, other = policy(), policy()
    run(one, tensors, config)
    run(other, scrambled, config)
    assert torch.equal(weights(one), weights(other))


def test_the_whole_window_is_used(market):
    """The last bars are visited, too: a change of the very last return is noticed."""
    tensors = market.tensors
    last = tensors.intraday.clone()
    last[299] += 0.05
    changed = MarketTensors(
        tensors.features, tensors.overnight, last, tensors.fillable, tensors.days
    )
    config = TrainConfig(iterations=20, horizon=6, batch=64)
    one, other = policy(), policy()
    run(one, tensors, config)
    run(other, changed, config)
    assert not torch.equal(weights(one), weights(other))


def test_a_window_shorter_than_a_rollout_is_refused(market):
    with pytest.raises(ConfigError, match="at least horizon \\+ 2 = 8 bars; got 7 bars"):
        run(policy(), market.tensors, bars=range(10, 17))
    run(policy(), market.tensors, bars=range(10, 18))


def test_it_stops_and_goes_on(market):
    config = SHORT.model_copy(update={"iterations": 8})
    whole, parts = policy(), policy()
    run(whole, market.tensors, config)
    training = start_training(parts, config, torch.Generator().manual_seed(1))
    steps = []
    for until in (3, 3, 6, 100):
        train(
            training, market.tensors, range(100, 300), COSTS, config, PROFIT,
            until=until, on_step=steps.append,
        )  # fmt: skip
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert torch.equal(weights(parts), weights(whole))


def test_the_trust_region_freezes_who_has_gone_far_enough(market):
    config = TrainConfig(iterations=40, horizon=6, batch=16, trust_region=0.05)
    bound, free = policy(members=2), policy(members=2)
    anchor = bound.select([0, 1])
    training = run(bound, market.tensors, config, anchor=anchor)
    assert training.frozen.all()
    far = run(free, market.tensors, config)
    assert not far.frozen.any()
    moved = (weights(bound) - weights(anchor)).abs().mean(1)
    assert (moved < 0.7 * (weights(free) - weights(anchor)).abs().mean(1)).all()
    # Frozen is frozen: more steps change nothing.
    kept = weights(bound)
    config = config.model_copy(update={"iterations": 45})
    train(training, market.tensors, range(100, 300), COSTS, config, PROFIT, anchor=anchor)
    assert torch.equal(weights(bound), kept)


def test_a_frozen_policy_leaves_the_others_free(market):
    config = TrainConfig(iterations=4, horizon=6, batch=8)
    both = policy(members=2)
    training = start_training(both, config, torch.Generator().manual_seed(1))
    training.frozen[0] = True
    before = weights(both).clone()
    train(training, market.tensors, range(100, 300), COSTS, config, PROFIT)
    assert torch.equal(weights(both)[0], before[0])
    assert not torch.equal(weights(both)[1], before[1])


def test_what_the_desk_refuses_does_not_execute(market):
    """At 10% a trade, whoever trades shows it in growth."""
    dear = CostModel(commission_bps=1000.0)

    def worst(desk: Desk | None) -> float:
        recorder = Recorder()
        config = SHORT.model_copy(update={"iterations": 1})
        run(policy(), market.tensors, config, reward=recorder, costs=dear, desk=desk)
        assert all((approval is None) == (desk is None) for *_, approval in recorder.steps)
        return float(torch.stack([growth for growth, *_ in recorder.steps]).mean())

    assert worst(Desk(0.0)) > worst(Desk(0.5)) > worst(Desk(1.0))
    assert worst(Desk(1.0)) == pytest.approx(worst(None), abs=1e-3)


def test_a_refused_side_rests_in_training(market):
    """Half a trade passes the smooth gate at the threshold, but only until it is remembered."""

    def traded(cooldown: int) -> float:
        recorder = Recorder()
        config = SHORT.model_copy(update={"iterations": 1})
        gate = GateConfig(cooldown=cooldown)
        run(
            policy(), market.tensors, config, reward=recorder, desk=Desk(0.5), gate=gate,
            costs=CostModel(commission_bps=1000.0),
        )  # fmt: skip
        return float(torch.stack([growth for growth, *_ in recorder.steps]).mean())

    assert traded(10) > traded(0) + 1e-4


def test_single_precision_changes_the_reward_by_less_than_a_hundredth_of_a_basis_point(market):
    policies = policy(members=4)
    exact = reward_per_bar(policies, market.tensors, 0, 400)
    rough = reward_per_bar(policies, market.tensors.to(torch.float32), 0, 400)
    assert float((rough - exact).abs().max()) < 0.01


def test_risk_aversion_lowers_the_reward_of_a_swing():
    swing = torch.tensor([0.02, -0.02])
    assert ProfitReward(0.0)(swing, swing, None).sum() == 0.0
    assert float(ProfitReward(5.0)(swing, swing, None).sum()) == pytest.approx(-5 * 4e-4)


def slopes(market, **settings) -> torch.Tensor:
    trained, window = policy(), torch.arange(99, 112).expand(4, -1)
    task = Task(market.tensors.to(torch.float32), COSTS, PROFIT, None, GateConfig(), None, 1e6)
    rewards, _ = apg._rollout(trained, task, window, torch.Generator(), **settings)
    rewards.sum().backward()
    gradients = torch.cat([p.grad.flatten() for p in trained.parameters()])
    return torch.cat([rewards.detach(), gradients])


def test_truncation_changes_gradients_and_nothing_else(market):
    """Over the whole rollout it is none; over one bar what is held is a fact."""
    whole, same, one = slopes(market), slopes(market, truncation=12), slopes(market, truncation=1)
    assert torch.equal(whole, same)
    assert torch.equal(whole[:1], one[:1])
    relative = float((one - whole).norm() / whole.norm())
    half = float((slopes(market, truncation=6) - whole).norm() / whole.norm())
    assert relative > half > 1e-4


def test_a_weight_on_entropy_spreads_the_goals(market):
    """A large one leads to equal shares of all assets and cash."""
    config = TrainConfig(iterations=60, horizon=4, batch=8, learning_rate=1e-2, entropy=1.0)
    trained = policy()
    run(trained, market.tensors, config)
    features = market.tensors.features[100:200]
    with torch.no_grad():
        goal = trained.decide(trained.encode(features), torch.full((1, 100, 6), 1 / 7)).goal
    assert float((goal - 1 / 7).abs().max()) < 0.02


@pytest.mark.parametrize(
    "bad",
    [
        {"truncation": 0},
        {"entropy": -1.0},
        {"method": "sac"},
        {"horizon": 1},
        {"learning_rate": 0.0},
        {"epochs": 3},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        TrainConfig(**bad)
