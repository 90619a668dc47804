"""Reviewers whose mistakes are the same: two answers that are one."""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from trading_rlhf.reward.answers import Verdicts
from trading_rlhf.reward.calibration import predicted_answers
from trading_rlhf.reward.fit import Fitted

__all__ = ["Alike", "suspiciously_alike"]

_FEWEST_SHARED = 20
_CHANCE = 0.01
_HIGHEST = 0.999


@dataclass(frozen=True)
class Alike:
    """Two reviewers who deviate from the model alike, on trades that both judged.

    Attributes:
        first: index of a reviewer.
        second: index of the other.
        shared: trades that both judged.
        correlation: of their residuals.
        usual: median correlation over all pairs of reviewers.
    """

    first: int
    second: int
    shared: int
    correlation: float
    usual: float


def suspiciously_alike(fitted: Fitted, verdicts: Verdicts, item: Tensor) -> list[Alike]:
    """Pairs of reviewers whose residuals agree far more than those of other pairs do.

    A residual is an answer less the probability that the model gave it for that reviewer, over its
    standard deviation; honest mistakes are independent. What the model misses is common to
    all, so a pair is compared with the median pair: by Fisher's z, at 1% over all pairs together.

    Args:
        fitted: the model (S = 1).
        verdicts: the P answers (S = 1).
        item: ``[P]`` number of the judged trade, 0 or more.

    Returns:
        Suspicious pairs, the most alike first; a pair needs 20 shared trades and three reviewers
        a comparison.
    """
    residual, judged = _residuals(fitted, verdicts, item)
    shared = judged @ judged.T
    both = (residual * judged) @ (residual * judged).T
    own = (residual * judged).square() @ judged.T
    correlation = both / (own * own.T).clamp(min=1e-12).sqrt()
    row, column = torch.triu_indices(len(shared), len(shared), 1)
    enough = shared[row, column] >= _FEWEST_SHARED
    row, column = row[enough], column[enough]
    if len(row) < 2:
        return []
    found, count = correlation[row, column], shared[row, column]
    usual = found.quantile(0.5)
    limit = NormalDist().inv_cdf(1 - _CHANCE / len(row))
    z = (_fisher(found) - _fisher(usual)) * (count - 3).sqrt()
    pairs = [
        Alike(int(row[k]), int(column[k]), int(count[k]), float(found[k]), float(usual))
        for k in torch.nonzero(z > limit).flatten()
    ]
    return sorted(pairs, key=lambda pair: -pair.correlation)


def _residuals(fitted: Fitted, verdicts: Verdicts, item: Tensor) -> tuple[Tensor, Tensor]:
    """``[J, items]`` standardised residuals, and 1 where a reviewer judged, else 0."""
    p = predicted_answers(fitted, verdicts)[0].clamp(0.01, 0.99).double()
    value = (verdicts.approved[0].double() - p) / (p * (1 - p)).sqrt()
    shape = (verdicts.reviewers, int(item.max()) + 1)
    residual, judged = torch.zeros(2, *shape, dtype=torch.float64)
    place = (verdicts.reviewer[0], item)
    return residual.index_put(place, value), judged.index_put(place, torch.ones_like(value))


def _fisher(correlation: Tensor) -> Tensor:
    return torch.atanh(correlation.clamp(-_HIGHEST, _HIGHEST))
