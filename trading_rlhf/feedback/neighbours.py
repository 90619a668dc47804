"""Reviewed trades that look most like the one on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trading_rlhf.feedback.records import Answer
from trading_rlhf.proposals import Proposal
from trading_rlhf.types import FloatArray

__all__ = ["Neighbour", "nearest"]

# The side is not standardised: where nearly all reviewed trades are buys, a sale would be far
# from everything by its side alone. A buy and a sale are two deviations apart.
_SIDE = 1.0


@dataclass(frozen=True)
class Neighbour:
    """A reviewed trade and how far it is from the one asked about.

    Attributes:
        proposal: the trade.
        answer: what was said of it.
        distance: root mean square over the features and the side (standard deviations).
    """

    proposal: Proposal
    answer: Answer
    distance: float


def nearest(
    proposal: Proposal, reviewed: Sequence[tuple[Proposal, Answer]], k: int = 3
) -> list[Neighbour]:
    """Return the ``k`` reviewed trades nearest in feature space, the nearest first.

    Features are standardised over the reviewed trades, so that none counts more for its unit; the
    side (+1 buy, -1 sale) is one more feature. A trade with other features cannot be compared and
    is left out, as is the proposal itself.

    Args:
        proposal: the trade asked about.
        reviewed: trades with an answer each; a trade that several reviewers judged may come
            several times and is returned once per answer.
        k: how many.
    """
    usable = [
        (other, answer)
        for other, answer in reviewed
        if other.id != proposal.id and other.feature_names == proposal.feature_names
    ]
    if not usable or k < 1:
        return []
    points = np.array([_point(other) for other, _ in usable])
    spread = points.std(axis=0)
    spread[spread == 0] = 1.0
    spread[-1] = _SIDE
    distance = np.sqrt((((points - _point(proposal)) / spread) ** 2).mean(axis=1))
    order = np.argsort(distance, kind="stable")[:k]
    return [Neighbour(usable[i][0], usable[i][1], float(distance[i])) for i in order]


def _point(proposal: Proposal) -> FloatArray:
    """Return ``[F + 1]`` features and side."""
    return np.array([*proposal.features, np.sign(proposal.change)], dtype=float)
