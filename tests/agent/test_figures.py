"""What ppo tells of an iteration, each figure worked out again from the rollouts."""

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    PpoConfig,
    ProfitReward,
    TrainConfig,
    Training,
    start_training,
    train,
    trainer,
)
from trading_rlhf.agent.exploration import Rollouts, explore, log_probability
from trading_rlhf.agent.training import Task
from trading_rlhf.env import GateConfig

BARS = range(100, 300)
PROFIT = ProfitReward(5.0)


def settings(epochs: int) -> TrainConfig:
    """One minibatch an epoch; a step large enough that some decisions are clipped."""
    own = PpoConfig(epochs=epochs, minibatch=48, learning_rate=0.1, target_kl=1e9, gamma=0.9)
    return TrainConfig(method="ppo", iterations=1, horizon=6, batch=8, ppo=own)


def started(config: TrainConfig) -> Training:
    policy = Policy(5, PolicyConfig(hidden=8), 2, torch.Generator().manual_seed(0))
    training = start_training(policy, config, torch.Generator().manual_seed(1))
    with torch.no_grad():
        # A critic that says something.
        training.critic.head_weight.normal_(generator=torch.Generator().manual_seed(2))
    return training


def trained(market, epochs: int) -> Training:
    training = started(settings(epochs))
    return train(training, market.tensors, BARS, CostModel(), settings(epochs), PROFIT)


@pytest.fixture(scope="module")
def seen(market) -> Rollouts:
    """What every training here rolls out."""
    training = started(settings(1))
    task = Task(
        market.tensors.to(torch.float32), CostModel(), PROFIT, None, GateConfig(), None, 1e6
    )
    window = trainer._draw_windows(BARS, settings(1), training.generator)
    return explore(training.policy, training.critic, task, window, training.generator)


def test_the_divergence_and_what_is_clipped_are_of_the_last_epoch(market, seen) -> None:
    first, second = trained(market, 1).figures, trained(market, 2).figures
    assert first["kl"].abs().max() < 1e-6
    assert not first["clip_fraction"].any()
    # The second epoch finds the policy where one step has brought it.
    moved = trained(market, 1)
    features = market.tensors.features.to(torch.float32)
    with torch.no_grad():
        ratios = []
        for step in range(6):
            own, bars = seen.own[step], seen.t[step]
            score, paces = moved.policy.mean_action(moved.policy.encode_bars(features, bars), own)
            log_prob = log_probability(
                moved.critic, moved.policy.config.tilt, score, paces,
                seen.score[step], seen.pace[step], seen.buys[step],
            )  # fmt: skip
            ratios.append((log_prob - seen.log_prob[step]).double().exp().numpy())
    ratio = np.stack(ratios)
    divergence = (ratio - 1.0 - np.log(ratio)).mean((0, 2))
    clipped = (np.abs(ratio - 1.0) > 0.2).mean((0, 2))
    assert (clipped > 0).all()
    np.testing.assert_allclose(second["kl"].numpy(), divergence, rtol=1e-3)
    np.testing.assert_allclose(second["clip_fraction"].numpy(), clipped, atol=1e-6)


def test_the_critic_s_figures_are_of_the_values_before_the_step(market, seen) -> None:
    figures, critic = trained(market, 1).figures, started(settings(1)).critic
    features = market.tensors.features.to(torch.float32)
    with torch.no_grad():
        values = torch.stack(
            [critic(features[seen.t[step]], seen.own[step]) for step in range(7)]
        ).numpy()  # fmt: skip
    rewards, done = seen.reward.numpy(), seen.done.numpy()
    assert not done.any()
    gained, later = np.zeros_like(rewards), 0.0
    for step in range(5, -1, -1):
        later = rewards[step] + 0.9 * values[step + 1] - values[step] + 0.9 * 0.95 * later
        gained[step] = later
    returns = gained + values[:-1]
    explained = 1.0 - gained.var((0, 2)) / returns.var((0, 2))
    np.testing.assert_allclose(figures["explained_variance"].numpy(), explained, rtol=1e-3)
    # In units of the returns seen: before the first ones, the head spoke in such units already.
    centred = (returns - returns.mean((0, 2), keepdims=True)) / returns.std((0, 2), keepdims=True)
    loss = np.square(values[:-1] - centred).mean((0, 2))
    np.testing.assert_allclose(figures["value_loss"].numpy(), loss, rtol=1e-3)


def test_the_exploration_is_that_after_the_iteration(market) -> None:
    training = trained(market, 2)
    deviation = training.critic.log_std.detach()[:, 0, 0].exp()
    assert torch.equal(training.figures["exploration_std"], deviation)
    assert (deviation - 1.0).abs().min() > 1e-3


def test_every_figure_is_one_number_per_policy(market) -> None:
    training = trained(market, 2)
    assert set(training.figures) == {
        "kl", "clip_fraction", "value_loss", "explained_variance", "exploration_std",
        "gradient_norm",
    }  # fmt: skip
    assert all(values.shape == (2,) for values in training.figures.values())
