"""What the events say now: standing answers, free places, what a reviewer has seen."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, cast, exists, func, select
from sqlalchemy.orm import Session, aliased

from trading_rlhf.feedback.queue import Candidate
from trading_rlhf.store import Event
from trading_rlhf.store.events import from_row
from trading_rlhf.store.schema import EventRow, LeaseRow, ProposalRow

__all__ = [
    "answered_by",
    "closed_ids",
    "last_answer",
    "latest_seen",
    "looking_at",
    "open_items",
    "standing_query",
    "undone",
]

_CHUNK = 5_000


def standing_query() -> Select[Any]:
    """Select the verdicts that no undo has taken back, in order."""
    return select(*EventRow.__table__.columns).where(_standing()).order_by(EventRow.seq)


def last_answer(session: Session, reviewer: str) -> Event | None:
    """Return this reviewer's newest standing answer."""
    query = select(*EventRow.__table__.columns).where(_standing(), EventRow.actor == reviewer)
    row = session.execute(query.order_by(EventRow.seq.desc()).limit(1)).first()
    return from_row(row) if row is not None else None


def undone(session: Session, reviewer: str) -> list[str]:
    """Return the proposals whose answer this reviewer took back, the newest undo first."""
    query = (
        select(EventRow.subject)
        .where(EventRow.stream == "answer", EventRow.kind == "undo", EventRow.actor == reviewer)
        .order_by(EventRow.seq.desc())
    )
    return [name for name in dict.fromkeys(session.scalars(query)) if name is not None]


def closed_ids(session: Session, ids: Iterable[str]) -> set[str]:
    """Return those of the proposals that were closed."""
    found: set[str] = set()
    for part in _chunks(ids):
        query = select(EventRow.subject).where(
            EventRow.stream == "proposal", EventRow.kind == "closed", EventRow.subject.in_(part)
        )
        found.update(name for name in session.scalars(query) if name is not None)
    return found


def answered_by(session: Session, ids: Iterable[str]) -> dict[str, set[str]]:
    """Return the reviewers with a standing answer, by proposal."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for part in _chunks(ids):
        query = select(EventRow.subject, EventRow.actor).where(
            _standing(), EventRow.subject.in_(part)
        )
        for row in session.execute(query):
            found[row.subject].add(row.actor)
    return found


def looking_at(session: Session, ids: Iterable[str], now: datetime) -> dict[str, set[str]]:
    """Return the reviewers with a lease that has not run out, by proposal."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for part in _chunks(ids):
        query = select(LeaseRow).where(LeaseRow.proposal_id.in_(part), LeaseRow.until > now)
        for lease in session.scalars(query):
            found[lease.proposal_id].add(lease.reviewer)
    return found


def open_items(
    session: Session, reviewer: str, overlap: int, now: datetime, only: Iterable[str] | None = None
) -> Iterator[Candidate]:
    """Give the items that this reviewer may answer now.

    Args:
        session: an open session.
        reviewer: id of the account.
        overlap: reviewers per item.
        now: the present.
        only: look at these proposals only.
    """
    closed = exists().where(
        EventRow.stream == "proposal",
        EventRow.kind == "closed",
        EventRow.subject == ProposalRow.id,
    )
    query = select(ProposalRow.id, ProposalRow.mode, ProposalRow.expires_at).where(
        (ProposalRow.mode != "live") | (ProposalRow.expires_at > now),
        ~closed,
        ~_has_answered(reviewer),
        _answers() + _looking(reviewer, now) < overlap,
    )
    if only is not None:
        query = query.where(ProposalRow.id.in_(list(only)))
    for row in session.execute(query):
        yield Candidate(row.id, row.expires_at if row.mode == "live" else None)


def latest_seen(session: Session, reviewer: str, market: str) -> datetime | None:
    """Return the newest close of a market that this reviewer was shown or judged unmasked."""
    query = (
        select(func.max(ProposalRow.known_at))
        .join(EventRow, EventRow.subject == ProposalRow.id)
        .where(
            EventRow.stream == "answer",
            EventRow.kind.in_(["shown", "verdict"]),
            EventRow.actor == reviewer,
            ProposalRow.mode == "live",
            ProposalRow.market == market,
        )
    )
    return session.scalar(query)


def _standing() -> ColumnElement[bool]:
    """Condition on an event: a verdict whose sequence number no undo names."""
    undo = aliased(EventRow)
    taken_back = exists().where(
        undo.stream == "answer", undo.kind == "undo", undo.key == cast(EventRow.seq, String)
    )
    return and_(EventRow.stream == "answer", EventRow.kind == "verdict", ~taken_back)


def _has_answered(reviewer: str) -> ColumnElement[bool]:
    """Condition on a proposal: this reviewer has a standing answer on it."""
    return exists().where(
        _standing(), EventRow.subject == ProposalRow.id, EventRow.actor == reviewer
    )


def _answers() -> ColumnElement[int]:
    """Number of reviewers with a standing answer on a proposal."""
    return (
        select(func.count(EventRow.actor.distinct()))
        .where(_standing(), EventRow.subject == ProposalRow.id)
        .scalar_subquery()
    )


def _looking(reviewer: str, now: datetime) -> ColumnElement[int]:
    """Number of others with a lease on a proposal."""
    return (
        select(func.count())
        .select_from(LeaseRow)
        .where(
            LeaseRow.proposal_id == ProposalRow.id,
            LeaseRow.reviewer != reviewer,
            LeaseRow.until > now,
        )
        .scalar_subquery()
    )


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    names = list(dict.fromkeys(ids))
    for start in range(0, len(names), _CHUNK):
        yield names[start : start + _CHUNK]
