"""What the events say now: standing answers, free places, what a reviewer has seen."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, String, and_, cast, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from trading_rlhf.feedback.queue import Candidate
from trading_rlhf.store import Event, canonical_json
from trading_rlhf.store.events import from_row
from trading_rlhf.store.schema import EventRow, LeaseRow, ProposalRow

__all__ = [
    "answered_by",
    "closed_ids",
    "count_answers",
    "last_answer",
    "latest_seen",
    "looking_at",
    "open_items",
    "says",
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


def count_answers(session: Session, reviewer: str) -> tuple[int, int]:
    """Return the standing answers of this reviewer, and those of the desk a fit may use."""
    count = select(func.count()).where(_standing())
    usable = count.where(
        says("certified", True), says("hindsight", False), ~says("verdict", "cannot_tell")
    )
    mine = session.scalar(count.where(EventRow.actor == reviewer))
    return mine or 0, session.scalar(usable) or 0


def says(name: str, value: str | bool) -> ColumnElement[bool]:
    """Condition on an event: its payload holds this field; canonical JSON has one spelling."""
    field = canonical_json({name: value}).strip("{}")
    return EventRow.payload.contains(field, autoescape=True)


def undone(session: Session, reviewer: str) -> list[str]:
    """Return the proposals whose answer this reviewer took back, the newest undo first."""
    query = (
        select(EventRow.subject)
        .where(EventRow.stream == "answer", EventRow.kind == "undo", EventRow.actor == reviewer)
        .order_by(EventRow.seq.desc())
    )
    return [name for name in dict.fromkeys(session.scalars(query)) if name is not None]


def closed_ids(session: Session, ids: Iterable[str] | None = None) -> set[str]:
    """Return those of the proposals (of all of them) that were closed."""
    query = select(EventRow.subject).where(EventRow.stream == "proposal", EventRow.kind == "closed")
    return {row.subject for row in _about(session, query, EventRow.subject, ids)}


def answered_by(session: Session, ids: Iterable[str] | None = None) -> dict[str, set[str]]:
    """Return the reviewers with a standing answer, by proposal."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    query = select(EventRow.subject, EventRow.actor).where(_standing())
    for row in _about(session, query, EventRow.subject, ids):
        found[row.subject].add(row.actor)
    return found


def looking_at(
    session: Session, now: datetime, ids: Iterable[str] | None = None
) -> dict[str, set[str]]:
    """Return the reviewers with a lease that has not run out, by proposal."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    query = select(LeaseRow.proposal_id, LeaseRow.reviewer).where(LeaseRow.until > now)
    for row in _about(session, query, LeaseRow.proposal_id, ids):
        found[row.proposal_id].add(row.reviewer)
    return found


def open_items(
    session: Session,
    reviewer: str,
    overlap: int,
    now: datetime,
    ids: Sequence[str] | None = None,
) -> Iterator[Candidate]:
    """Give the items (of these, or of all) that this reviewer may answer now.

    Args:
        session: an open session.
        reviewer: id of the account.
        overlap: reviewers per item.
        now: the present.
        ids: look at these proposals only.
    """
    closed = closed_ids(session, ids)
    answered = answered_by(session, ids)
    looking = looking_at(session, now, ids)
    query = select(ProposalRow.id, ProposalRow.mode, ProposalRow.expires_at).where(
        (ProposalRow.mode != "live") | (ProposalRow.expires_at > now)
    )
    nobody: set[str] = set()
    for row in _about(session, query, ProposalRow.id, ids):
        mine = answered.get(row.id, nobody)
        others = (mine | looking.get(row.id, nobody)) - {reviewer}
        if row.id not in closed and reviewer not in mine and len(others) < overlap:
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


def _about(
    session: Session,
    query: Select[*tuple[Any, ...]],
    column: InstrumentedAttribute[Any],
    ids: Iterable[str] | None,
) -> Iterator[Row[Any]]:
    """Give the rows whose column is one of the ids, or all rows."""
    if ids is None:
        yield from session.execute(query)
        return
    names = list(dict.fromkeys(ids))
    for start in range(0, len(names), _CHUNK):
        yield from session.execute(query.where(column.in_(names[start : start + _CHUNK])))
