"""Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438)."""

import torch
from torch import Tensor

__all__ = ["advantages", "standardised"]


def advantages(
    rewards: Tensor, values: Tensor, done: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Advantage of each step: sum of later surprises, weighted by (gamma lambda)^distance.

    Args:
        rewards: ``[K, ...]``.
        values: ``[K + 1, ...]`` before each step and after the last.
        done: ``[K, ...]`` bool, whether the step ended an episode; what follows it is another.
        gamma: discount of a step.
        gae_lambda: 0 trusts the values, 1 the rewards.

    Returns:
        ``[K, ...]``; added to ``values[:-1]`` they are the returns.
    """
    goes_on = (~done).to(rewards.dtype)
    surprise = rewards + gamma * values[1:] * goes_on - values[:-1]
    result = torch.empty_like(rewards)
    later = torch.zeros_like(rewards[0])
    for step in range(len(rewards) - 1, -1, -1):
        later = surprise[step] + gamma * gae_lambda * goes_on[step] * later
        result[step] = later
    return result


def standardised(values: Tensor) -> Tensor:
    """``[S, M]`` with mean 0 and deviation 1 within each member."""
    centred = values - values.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True).sqrt() + 1e-8)
