"""Which inputs moved a proposal: occlusion, one feature of one asset at a time."""

import torch
from torch import Tensor

from trading_rlhf.agent import Policy
from trading_rlhf.proposals.proposal import Reason

__all__ = ["occlusion", "top_reasons"]


@torch.no_grad()
def occlusion(policy: Policy, features: Tensor, held: Tensor) -> Tensor:
    """Change of each asset's target when one of its features is set to its mean (zero).

    Args:
        policy: a single policy (S = 1).
        features: ``[N, F]`` at the decision bar.
        held: ``[N]`` weights (fraction of equity).

    Returns:
        ``[N, F]`` target with all features minus target without this one (fraction of equity).
    """
    n_assets, n_features = features.shape
    asset = torch.arange(n_assets).repeat_interleave(n_features)
    feature = torch.arange(n_features).repeat(n_assets)
    rows = torch.arange(n_assets * n_features)
    occluded = features.expand(len(rows), n_assets, n_features).clone()
    occluded[rows, asset, feature] = 0.0
    held_rows = held.expand(1, len(rows), n_assets)
    without = policy.decide(policy.encode(occluded), held_rows).target[0]
    full = policy.decide(policy.encode(features[None]), held[None, None]).target[0, 0]
    return (full[asset] - without[rows, asset]).view(n_assets, n_features)


def top_reasons(
    contributions: Tensor, values: Tensor, names: tuple[str, ...], labels: dict[str, str]
) -> tuple[Reason, ...]:
    """The three features of one asset that moved its target most.

    Args:
        contributions: ``[F]`` from ``occlusion``.
        values: ``[F]`` the features (standard deviations).
        names: feature names in order.
        labels: plain words by feature name.

    Returns:
        Up to three reasons, largest absolute contribution first.
    """
    order = contributions.abs().argsort(descending=True, stable=True)[:3]
    return tuple(
        Reason(names[i], labels[names[i]], float(values[i]), float(contributions[i]))
        for i in order.tolist()
    )
