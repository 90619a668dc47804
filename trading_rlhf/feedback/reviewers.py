"""How far reviewers agree, and how much each of them may count."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from trading_rlhf.errors import ConfigError
from trading_rlhf.feedback.records import Answer
from trading_rlhf.types import FloatArray

__all__ = ["Agreement", "agreement", "krippendorff_alpha", "weights_by_reviewer"]

_FEWEST_PAIRS = 10


@dataclass(frozen=True)
class Agreement:
    """How far reviewers agree where several answered one trade.

    Attributes:
        items: trades with two or more answers.
        pairs: pairs of answers on one trade.
        share: fraction of pairs that agree, None below 10 pairs.
        alpha: Krippendorff's alpha, 1 for full agreement, 0 for chance; None below 10 pairs, or
            where all answers are the same, so that chance agreement is full as well.
    """

    items: int
    pairs: int
    share: float | None
    alpha: float | None

    @property
    def text(self) -> str:
        """The figures in a sentence, or that there are too few."""
        if self.share is None:
            return f"not enough answers yet: {self.pairs} of {_FEWEST_PAIRS} pairs"
        alpha = "not defined" if self.alpha is None else f"{self.alpha:.2f}"
        return f"{self.share:.0%} of {self.pairs:,} pairs agree, alpha {alpha}"


def agreement(answers: Iterable[Answer]) -> Agreement:
    """Measure agreement over the trades that two or more reviewers judged.

    Args:
        answers: standing answers; "cannot tell" is no judgement and is left out.
    """
    by_item: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for answer in answers:
        if answer.verdict != "cannot_tell":
            by_item[answer.proposal_id][answer.reviewer] = answer.verdict
    units = [list(said.values()) for said in by_item.values() if len(said) > 1]
    pairs = sum(len(unit) * (len(unit) - 1) // 2 for unit in units)
    if pairs < _FEWEST_PAIRS:
        return Agreement(len(units), pairs, None, None)
    same = sum(count * (count - 1) // 2 for unit in units for count in Counter(unit).values())
    return Agreement(len(units), pairs, same / pairs, krippendorff_alpha(units))


def krippendorff_alpha(units: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal data with missing answers.

    Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section C: one minus
    observed over expected disagreement, from the coincidence matrix.

    Args:
        units: the answers given to each item.

    Returns:
        Alpha, or None where it is not defined (no pair, or only one kind of answer).
    """
    weights: defaultdict[tuple[str, str], float] = defaultdict(float)
    for unit in units:
        for pair in permutations(unit, 2):
            weights[pair] += 1 / (len(unit) - 1)
    totals: defaultdict[str, float] = defaultdict(float)
    for (first, _), weight in weights.items():
        totals[first] += weight
    n = sum(totals.values())
    expected = n * n - sum(total * total for total in totals.values())
    if len(totals) < 2:
        return None
    observed = sum(weight for (first, second), weight in weights.items() if first != second)
    return float(1 - (n - 1) * observed / expected)


def weights_by_reviewer(answers: Sequence[Answer], cap: float = 0.4) -> FloatArray:
    """Weights of answers such that no reviewer carries more than a share of their sum.

    An answer weighs 1 unless its reviewer gave too many; what is cut is not given to others.
    With so few reviewers that the cap cannot hold (1 / cap or fewer), all count alike.

    Args:
        answers: the answers of a fit.
        cap: largest share of one reviewer (fraction).

    Returns:
        ``[len(answers)]`` weights in (0, 1].

    Raises:
        ConfigError: the cap is not in (0, 1].
    """
    if not 0 < cap <= 1:
        raise ConfigError("the cap must be a share above 0", f"{cap}", "Use 0.4.")
    counts = Counter(answer.reviewer for answer in answers)
    allowed = _capped(np.array([counts[name] for name in counts], dtype=float), cap)
    weight = {name: float(a) / counts[name] for name, a in zip(counts, allowed, strict=True)}
    return np.array([weight[answer.reviewer] for answer in answers])


def _capped(totals: FloatArray, cap: float) -> FloatArray:
    """Lower the largest totals to one level, which is ``cap`` of the new sum."""
    if len(totals) * cap < 1:
        # No weights can satisfy the cap; the nearest is the same total for everybody.
        return np.full_like(totals, totals.min(initial=np.inf))
    ranked = np.sort(totals)[::-1]
    for k in range(len(ranked)):
        # With k reviewers at the level: level = cap * (k * level + the others).
        level = cap * ranked[k:].sum() / (1 - cap * k)
        if ranked[k] <= level * (1 + 1e-9):
            return totals.clip(max=level)
    return totals
