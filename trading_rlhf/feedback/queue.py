"""The order in which items are shown.

Live items first, soonest deadline first: they are worth nothing afterwards. Among items that can
wait alike there are two orders:

- **random**, by hash, another one for each reviewer: it is the same on every machine, needs no
  state, and reviewers who work side by side rarely want the same item;
- **active**, by what an answer is expected to teach: the disagreement of the reward model's
  members (Lakshminarayanan et al. 2017, arXiv 1612.01474; as a query rule Christiano et al. 2017,
  arXiv 1706.03741, section 2.2.4) times what is traded, the more the nearer the deadline, per
  second of the reviewer's time, and less for a trade like one that was already asked about.

What is asked because a model was unsure says nothing of how good the model is in general. So the
active order keeps a share of the items apart, chosen by hash before anything is known of them:
these are only ever drawn at random, and the model is measured on them alone.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from trading_rlhf.errors import ConfigError
from trading_rlhf.types import FloatArray

__all__ = ["Candidate", "Choice", "Ranking", "choose", "expected_value", "most_instructive"]

_DAY = 86_400.0


@dataclass(frozen=True)
class Candidate:
    """An item that could be shown; ``deadline`` is None unless it is live."""

    proposal_id: str
    deadline: datetime | None


@dataclass(frozen=True)
class Ranking:
    """What a reward model would learn most from.

    Attributes:
        id: names the ranking ("proposal-812", the event that holds it).
        values: expected value of an answer by proposal, best first (``most_instructive``).
        random_share: share of all items that is kept apart, and of the turns that go to them.
    """

    id: str
    values: Mapping[str, float]
    random_share: float


@dataclass(frozen=True)
class Choice:
    """The item to show next.

    Attributes:
        proposal_id: the item.
        random: drawn at random; False where the ranking had a part in it.
    """

    proposal_id: str
    random: bool


def choose(
    candidates: Iterable[Candidate],
    reviewer: str,
    seed: int,
    ranking: Ranking | None = None,
    turn: int = 0,
) -> Choice | None:
    """Return the item to show this reviewer next, or None when there is none.

    Args:
        candidates: what could be shown.
        reviewer: id of the account.
        seed: of every draw.
        ranking: the active order; None draws at random.
        turn: how many answers the reviewer has given; decides whether this turn is a random one.
    """
    urgent = _most_urgent(candidates)
    if not urgent:
        return None
    if ranking is None:
        return Choice(_draw(urgent, reviewer, seed), random=True)
    apart = [name for name in urgent if _chance(f"{seed}/apart/{name}") < ranking.random_share]
    valued = set(urgent).difference(apart).intersection(ranking.values)
    random_turn = _chance(f"{seed}/turn/{reviewer}/{turn}") < ranking.random_share
    if valued and not (random_turn and apart):
        best = next(name for name in ranking.values if name in valued)
        return Choice(best, random=False)
    # What a ranking has left over is no random sample either; only what was kept apart is.
    return Choice(_draw(apart or urgent, reviewer, seed), random=bool(apart))


def _most_urgent(candidates: Iterable[Candidate]) -> list[str]:
    """Ids of the items with the soonest deadline, or of all where none has one."""
    items = list(candidates)
    soonest = min((item.deadline for item in items if item.deadline is not None), default=None)
    return [item.proposal_id for item in items if item.deadline == soonest]


def _draw(names: Sequence[str], reviewer: str, seed: int) -> str:
    return min(names, key=lambda name: _digest(f"{seed}/{reviewer}/{name}"))


def _chance(text: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(_digest(text)[:8], "big") / 2**64


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


def expected_value(
    disagreement: FloatArray, notional: FloatArray, seconds_left: FloatArray, seconds: FloatArray
) -> FloatArray:
    """What an answer to each of P items is expected to teach, per second of the reviewer's time.

    Disagreement times notional, times an urgency that grows from 1 for what can wait to 2 at the
    deadline, halving its distance to 1 with every day.

    Args:
        disagreement: ``[P]`` standard deviation over members of the probability of approval.
        notional: ``[P]`` size of the trade (USD, or any unit that is the same for all; or a power
            of it, for a compromise with counting all trades alike).
        seconds_left: ``[P]`` until the deadline; infinite for items without one.
        seconds: ``[P]`` that the answer is expected to take.

    Returns:
        ``[P]`` values; only their order and ratios mean something.

    Raises:
        ConfigError: an answer is expected to take no time.
    """
    if len(seconds) and float(seconds.min()) <= 0:
        raise ConfigError(
            "an answer is expected to take some time", f"{seconds.min()} s", "Pass seconds above 0."
        )
    urgency = 1.0 + np.exp2(-np.maximum(seconds_left, 0.0) / _DAY)
    return np.asarray(disagreement * notional * urgency / seconds, dtype=np.float64)


def most_instructive(
    values: FloatArray, points: FloatArray, asked: FloatArray, count: int, nearness: float
) -> tuple[list[int], list[float]]:
    """Choose a batch greedily, each item worth less the nearer it is to one already asked about.

    An item is worth ``value * (1 - exp(-d^2 / (2 * nearness^2)))``, where d is the distance to the
    nearest item that was answered or is already in the batch: root mean square over the inputs,
    each in standard deviations. Two equal trades are asked about once.

    Args:
        values: ``[P]`` from ``expected_value``.
        points: ``[P, D]`` the items as the model sees them.
        asked: ``[A, D]`` the items already answered; A may be 0.
        count: size of the batch.
        nearness: distance (standard deviations) within which two items are alike; 0 ignores
            likeness.

    Returns:
        Indices of up to ``count`` items, best first (of equals the first), and what each was worth
        when it was chosen.
    """
    if nearness <= 0:
        order = np.argsort(-values, kind="stable")[:count]
        return order.tolist(), values[order].tolist()
    points, asked = _standardised(points, asked)
    squared = _nearest(points, asked)
    left = np.ones(len(values), dtype=bool)
    chosen: list[int] = []
    worth: list[float] = []
    for _ in range(min(count, len(values))):
        now = values * -np.expm1(-squared / (2 * nearness**2))
        best = int(np.argmax(np.where(left, now, -np.inf)))
        left[best] = False
        chosen.append(best)
        worth.append(float(now[best]))
        squared = np.minimum(squared, ((points - points[best]) ** 2).mean(axis=1))
    return chosen, worth


def _standardised(points: FloatArray, asked: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both sets in standard deviations of the first; an input that never varies counts nothing."""
    spread = points.std(axis=0) if len(points) else np.ones(points.shape[1])
    scale = np.where(spread > 0, spread, np.inf)
    return points / scale, asked / scale


def _nearest(points: FloatArray, asked: FloatArray) -> FloatArray:
    """``[P]`` mean squared distance to the nearest of the others, infinite without any."""
    if not len(asked):
        return np.full(len(points), np.inf)
    # |a - b|^2 = |a|^2 - 2ab + |b|^2: one product instead of P * A differences.
    products = points @ asked.T
    squared = (points**2).sum(1)[:, None] - 2 * products + (asked**2).sum(1)
    return np.asarray(np.maximum(squared.min(axis=1), 0.0) / points.shape[1])
