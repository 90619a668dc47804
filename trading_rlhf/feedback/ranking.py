"""The active queue's memory: the order it asks in, and what was asked because of it.

Both are events of the proposal and answer streams, so that the audit chain covers why a trade was
put before a reviewer.
"""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from trading_rlhf.feedback.queue import Ranking
from trading_rlhf.store import append, find_events, last_event

__all__ = ["newest_ranking", "note_picked", "picked_keys", "record_ranking", "was_picked"]


def record_ranking(
    session: Session, values: dict[str, float], random_share: float, model_id: str
) -> None:
    """Store an order, best first; the newest one counts.

    Args:
        session: from ``store.write()``.
        values: expected value of an answer by proposal.
        random_share: share of all items kept apart (fraction).
        model_id: the reward model it comes from.
    """
    payload = {
        "model": model_id,
        "random_share": random_share,
        # A list: canonical JSON would sort a mapping by its keys.
        "order": [[name, float(f"{value:.6g}")] for name, value in values.items()],
    }
    append(session, "proposal", "ranked", payload, actor="system", subject=model_id)


def newest_ranking(session: Session, *, with_values: bool) -> Ranking | None:
    """Return the order to ask in, or None where there has never been one.

    Args:
        session: an open session.
        with_values: False keeps only which items stand apart. Once some were picked by value, the
            others are a random sample of nothing, also after the active queue was switched off.
    """
    event = last_event(session, "proposal", "ranked")
    if event is None:
        return None
    order = event.payload["order"] if with_values else []
    return Ranking(event.id, dict(order), event.payload["random_share"])


def note_picked(session: Session, reviewer: str, proposal_id: str, ranking: Ranking) -> None:
    """Remember that a reviewer was given an item for its value and not at random."""
    value = ranking.values.get(proposal_id)
    append(
        session,
        "answer",
        "picked",
        {"ranking": ranking.id, "value": value},
        actor=reviewer,
        subject=proposal_id,
        key=_key(reviewer, proposal_id),
    )


def was_picked(session: Session, reviewer: str, proposal_id: str) -> bool:
    """Tell whether this reviewer was given this item for its value."""
    return bool(find_events(session, "answer", "picked", [_key(reviewer, proposal_id)]))


def picked_keys(session: Session, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those (reviewer, proposal) pairs of these that were given for their value."""
    keys = [_key(reviewer, proposal_id) for reviewer, proposal_id in pairs]
    found = find_events(session, "answer", "picked", keys)
    return {(event.actor, str(event.subject)) for event in found}


def _key(reviewer: str, proposal_id: str) -> str:
    return f"{reviewer}/{proposal_id}"
