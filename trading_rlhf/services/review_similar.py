"""The reviewed trades most like one, and what was said of them, as far as it may be told.

What others said of like trades pulls an answer towards theirs, and what one said oneself pulls it
towards one's own: either would spoil the share of trades drawn at random, by which accuracy,
agreement and self-consistency are measured. So:

- a trade of the random share (and so every historical and practice one) shows nothing beforehand,
  and only the reviewer's own answers once it is answered;
- any other trade shows the reviewer's own answers beforehand, the whole desk's once it is answered;
- the same trade asked again is no neighbour of itself;
- answers by simulated reviewers and with hindsight are never shown, others' only where certified;
- nothing names a neighbour's symbol or date, and notes, which may, are the reviewer's own and never
  stand beside a masked trade.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trading_rlhf.feedback import Answer, Neighbour, nearest
from trading_rlhf.proposals import Proposal
from trading_rlhf.services.review_views import SimilarTrade
from trading_rlhf.services.review_words import VERDICTS, step

__all__ = ["may_show", "similar_lines", "similar_summary", "similar_to"]

_SHOWN = 3
_COUNTED = 5
_FAR = 1.0
"""Root mean square over the features (standard deviations) beyond which trades are not alike."""

_REASONS = 3


def may_show(proposal: Proposal, answered: bool) -> bool:
    """Tell whether anything may be shown with this trade."""
    return answered or not _measured(proposal)


def similar_to(
    proposal: Proposal,
    reviewer: str,
    answers: Iterable[Answer],
    proposals: Mapping[str, Proposal],
    *,
    answered: bool,
) -> list[Neighbour]:
    """Find the like trades whose answers this reviewer may see now, the nearest first.

    Args:
        proposal: the trade on the screen, or the one just answered.
        reviewer: id of the account.
        answers: standing answers of the whole desk.
        proposals: what was answered, by id.
        answered: whether this reviewer has answered the trade.
    """
    if not may_show(proposal, answered):
        return []
    everyone = answered and not _measured(proposal)
    reviewed = [
        (proposals[answer.proposal_id], answer)
        for answer in answers
        if answer.proposal_id in proposals
        and not answer.simulated
        and not answer.hindsight
        and (answer.reviewer == reviewer or (everyone and answer.certified))
        and _alike(proposals[answer.proposal_id], proposal)
    ]
    return nearest(proposal, reviewed, _COUNTED if answered else _SHOWN)


def similar_lines(found: Sequence[Neighbour], notes: Mapping[str, str]) -> tuple[SimilarTrade, ...]:
    """Put each of the reviewer's own answers into a line.

    Args:
        found: from ``similar_to`` for a trade that is not answered yet.
        notes: notes by event id of their answers.
    """
    return tuple(
        SimilarTrade(
            verdict=VERDICTS[one.answer.verdict],
            trade=f"{_side(one.proposal)} {step(one.proposal.held, one.proposal.target)}",
            reasons=", ".join(one.answer.tags[:_REASONS]),
            note=notes.get(one.answer.event_id, ""),
        )
        for one in found
    )


def similar_summary(reviewer: str, found: Sequence[Neighbour]) -> str:
    """Count what was said ("Of like trades you rejected 2, approved 1 (too costly)").

    Args:
        reviewer: id of the account.
        found: from ``similar_to`` for the trade just answered.
    """
    if not found:
        return ""
    counts = Counter(one.answer.verdict for one in found)
    said = ", ".join(
        f"{VERDICTS[verdict].lower()} {count}" for verdict, count in counts.most_common()
    )
    tags = Counter(tag for one in found for tag in one.answer.tags)
    reasons = ", ".join(tag for tag, _ in tags.most_common(_REASONS))
    who = "you" if all(one.answer.reviewer == reviewer for one in found) else "the desk"
    return f"Of trades like it {who} {said}{f' ({reasons})' if reasons else ''}"


def _measured(proposal: Proposal) -> bool:
    return proposal.random_share or proposal.mode != "live"


def _alike(one: Proposal, other: Proposal) -> bool:
    """Tell whether two trades are alike, but not the same asked twice."""
    same = (one.market, one.symbol, one.bar) == (other.market, other.symbol, other.bar)
    if same or one.feature_names != other.feature_names or one.change * other.change <= 0:
        return False
    apart = np.subtract(one.features, other.features)
    return float(np.sqrt(np.mean(apart**2))) <= _FAR


def _side(proposal: Proposal) -> str:
    return "a buy" if proposal.change > 0 else "a sale"
