"""One interface for both ways of training."""

import time

import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    Training,
    start_training,
    train,
)
from trading_rlhf.errors import ConfigError

METHODS = ("apg", "ppo")


def settings(method: str, **changes) -> TrainConfig:
    chosen = {"iterations": 3, "horizon": 6, "batch": 8, "method": method, **changes}
    return TrainConfig(**{**chosen, "ppo": {"epochs": 2, "minibatch": 16}})


def policy(members: int = 2) -> Policy:
    return Policy(5, PolicyConfig(hidden=8), members, torch.Generator().manual_seed(0))


def run(trained: Policy, market, config: TrainConfig, reward=None, **more) -> Training:
    training = start_training(trained, config, torch.Generator().manual_seed(1))
    reward = ProfitReward(config.risk_aversion) if reward is None else reward
    return train(
        training, market.tensors, range(100, 300), CostModel(), config, reward, **more
    )  # fmt: skip


def weights(trained: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten(1) for p in trained.parameters()], 1)


@pytest.mark.parametrize("method", METHODS)
def test_both_train_report_and_repeat_themselves(market, method):
    one, same, steps = policy(), policy(), []
    training = run(one, market, settings(method), on_step=steps.append)
    run(same, market, settings(method))
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(policy()))
    assert (training.iteration, steps) == (3, [1, 2, 3])
    assert [len(row) for row in training.history] == [2, 2, 2]
    assert (training.critic is None) == (method == "apg")


@pytest.mark.parametrize("method", METHODS)
def test_both_stop_near_the_anchor(market, method):
    trained = policy()
    training = run(trained, market, settings(method, trust_region=1e-6), anchor=policy())
    assert training.frozen.all()
    kept = weights(trained)
    more = settings(method, trust_region=1e-6, iterations=5)
    train(
        training, market.tensors, range(100, 300), CostModel(), more, ProfitReward(5.0),
        anchor=policy(),
    )  # fmt: skip
    assert training.iteration == 5
    assert torch.equal(weights(trained), kept)


@pytest.mark.parametrize("method", METHODS)
def test_both_maximise_the_given_reward(market, method):
    """A reward of trading less leaves less to trade."""

    class Still:
        def __call__(self, log_growth, change, approval):
            return -change.abs().sum(-1)

    config = settings(method, iterations=30, batch=16, learning_rate=1e-2)
    training = run(policy(), market, config, Still())
    first, last = training.history[0], training.history[-1]
    assert all(after > 0.8 * before for before, after in zip(first, last, strict=True))


@pytest.mark.parametrize(("started", "wanted"), [("apg", "ppo"), ("ppo", "apg")])
def test_a_training_of_the_other_method_is_refused(market, started, wanted):
    training = start_training(policy(), settings(started), torch.Generator())
    with pytest.raises(ConfigError, match=f"a training by {wanted} must be started for it; got"):
        train(
            training, market.tensors, range(100, 300), CostModel(), settings(wanted),
            ProfitReward(5.0),
        )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_eight_seeds_side_by_side_cost_far_less_than_eight_runs(market, method):
    """Time on the processor, the best of three: 2 to 4 times one run's where it was measured."""

    def cost(members: int) -> float:
        best = float("inf")
        for _ in range(3):
            before = time.process_time()
            run(policy(members), market, settings(method))
            best = min(best, time.process_time() - before)
        return best

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert cost(8) < 5.5 * cost(1)
    finally:
        torch.set_num_threads(threads)
