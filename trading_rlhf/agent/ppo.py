"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) on the market as it is.

Nothing is differentiated but the policy, so whole shares, caps and the desk's hard decisions count
as they are. Actions are Gaussian around the scores and gate logits that the policy gives; scores
are cut at the policy's limit after the draw and not squashed, because the best action often lies
at the limit, where a squashed draw would hardly move. S stacked policies are trained at once.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trading_rlhf.agent.advantages import advantages, standardised
from trading_rlhf.agent.critic import Critic
from trading_rlhf.agent.exploration import Rollouts, explore, gather_rollouts, log_probability
from trading_rlhf.agent.policy import Policy
from trading_rlhf.agent.training import (
    Task,
    TrainConfig,
    Training,
    average_gradients,
    clip_each,
    imitation_loss,
    step_members,
)
from trading_rlhf.env import MarketTensors

__all__ = ["ppo_step", "orthogonal_start"]

_LIMIT = 1.5
"""Epochs end once the divergence is this many times its target."""

_MEASURED = ("kl", "clip_fraction", "value_loss")
"""Means over the last epoch: divergence from the policy that drew (nats), share of decisions
beyond the clip, squared error of the critic in its own units."""


@dataclass(frozen=True)
class _Batch:
    """Decisions of one batch of rollouts, M in all.

    Attributes:
        t: ``[M]`` bars.
        explained: ``[S]`` share of the returns' variance that the critic foresaw.
        own: ``[S, M, N]`` weights held and ordered.
        score: ``[S, M, N]`` drawn scores before the cut.
        pace: ``[S, M, N]`` drawn gate logits.
        buys: ``[S, M, N]`` bool, whose gate it was.
        log_prob: ``[S, M]`` when drawn.
        advantage: ``[S, M]`` standardised.
        value: ``[S, M]`` returns in the critic's units.
    """

    t: Tensor
    explained: Tensor
    own: Tensor
    score: Tensor
    pace: Tensor
    buys: Tensor
    log_prob: Tensor
    advantage: Tensor
    value: Tensor

    def some(self, rows: Tensor) -> "_Batch":
        """The decisions at ``rows`` ``[m]``."""
        return _Batch(
            self.t[rows],
            self.explained,
            *(
                each.index_select(1, rows)
                for each in (
                    self.own, self.score, self.pace, self.buys, self.log_prob, self.advantage,
                    self.value,
                )
            ),
        )  # fmt: skip


def ppo_step(
    training: Training, task: Task, window: Tensor, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Roll out over ``window`` ``[B, K + 1]`` with exploration, then several epochs on that.

    Returns:
        Mean reward per bar ``[S]`` of the exploring policies, and the distance ``[S]`` of their
        mean targets from the anchor's (mean sum of absolute weights; 0 without an anchor).

    Raises:
        ValueError: the training has no critic.
    """
    critic = training.critic
    if critic is None:
        raise ValueError("the training was started for another method")
    seen = explore(training.policy, critic, task, window, training.generator)
    seen = gather_rollouts(seen, window, task.ranks)
    batch = _prepare(seen, critic, task.market, config)
    training.figures["explained_variance"] = batch.explained
    n_rows = len(batch.t)
    size = min(config.ppo.minibatch, n_rows)
    steps = math.ceil(n_rows / size)
    resting = training.frozen.clone()
    for epoch in range(config.ppo.epochs):
        order = torch.randperm(n_rows, generator=training.generator)
        measured = torch.zeros(len(_MEASURED), training.policy.members)
        for rows in torch.split(order, size):
            share = task.ranks.share(len(rows))
            some = batch.some(rows[share.rows])
            loss, found = _loss(training.policy, critic, task.market, some, config)
            training.optimizer.zero_grad()
            loss = loss + imitation_loss(training, task, config).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            (found,) = average_gradients(training, task.ranks, share.weight, found)
            clip_each(training, config.gradient_clip)
            step_members(training, resting)
            measured += found / steps
        training.figures.update(zip(_MEASURED, measured, strict=True))
        resting = resting | (training.figures["kl"] > _LIMIT * config.ppo.target_kl)
        if bool(resting.all()):
            _count(training, (config.ppo.epochs - 1 - epoch) * steps)
            # Chance goes on as beside a policy that does not rest.
            for _ in range(epoch + 1, config.ppo.epochs):
                torch.randperm(n_rows, generator=training.generator)
            break
    training.figures["exploration_std"] = critic.log_std.detach()[:, 0, 0].exp()
    return seen.reward.mean((0, 2)), seen.shift


def _prepare(seen: Rollouts, critic: Critic, market: MarketTensors, config: TrainConfig) -> _Batch:
    """Advantages and returns of rollouts, with the decisions in one row per member."""
    length, n_members = seen.own.shape[0] - 1, seen.own.shape[1]

    def flat(values: Tensor) -> Tensor:
        """``[K, S, B, ...]`` as ``[S, K * B, ...]``."""
        return values.transpose(0, 1).flatten(1, 2)

    with torch.no_grad():
        features = market.features[seen.t.flatten()]
        values = critic.value(features, flat(seen.own))
        values = values.view(n_members, length + 1, -1).transpose(0, 1)
        gained = advantages(seen.reward, values, seen.done, config.ppo.gamma, config.ppo.gae_lambda)
        returns = flat(gained + values[:-1])
        critic.observe(returns)
        explained = 1.0 - flat(gained).var(1) / returns.var(1).clamp(min=1e-16)
        return _Batch(
            seen.t[:-1].flatten(), explained, flat(seen.own[:-1]), flat(seen.score),
            flat(seen.pace), flat(seen.buys), flat(seen.log_prob), standardised(flat(gained)),
            critic.normalised(returns),
        )  # fmt: skip


def _loss(
    policy: Policy, critic: Critic, market: MarketTensors, some: _Batch, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Loss summed over members, and what is measured of each one ``[3, S]``."""
    settings = config.ppo
    encoded = policy.encode_bars(market.features, some.t)
    score, paces = policy.mean_action(encoded, some.own)
    log_prob = log_probability(
        critic, policy.config.tilt, score, paces, some.score, some.pace, some.buys
    )
    change = log_prob - some.log_prob
    ratio = change.exp()
    within = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
    gain = torch.minimum(ratio * some.advantage, within * some.advantage).mean(1)
    error = (critic(market.features[some.t], some.own) - some.value).square().mean(1)
    loss = settings.value_coefficient * error - gain
    if settings.entropy:
        loss = loss - settings.entropy * critic.log_std.sum((1, 2))
    # Schulman's estimate: never negative and of little variance.
    divergence = (ratio.detach() - 1.0 - change.detach()).mean(1)
    clipped = (ratio != within).float().mean(1)
    return loss.sum(), torch.stack([divergence, clipped, error.detach()])


def _count(training: Training, steps: int) -> None:
    """Count gradient steps that no member took: beside one that does not rest, they count."""
    for state in training.optimizer.state.values():
        state["step"] += steps


@torch.no_grad()
def orthogonal_start(policy: Policy, generator: torch.Generator) -> None:
    """Give a policy orthogonal first weights (Saxe et al. 2014, arXiv 1312.6120), biases of 0.

    The head's are a hundredth: all policies start near score 0, and exploration decides.

    Args:
        policy: S policies, changed in place.
        generator: source of the weights.
    """
    for name, parameter in policy.named_parameters():
        if "bias" in name:
            parameter.zero_()
            continue
        gain = 0.01 if name == "head_weight" else math.sqrt(2.0)
        for member in parameter:
            nn.init.orthogonal_(member, gain, generator=generator)
