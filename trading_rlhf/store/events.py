"""Append-only events, numbered and chained per stream."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from trading_rlhf.errors import StoreError
from trading_rlhf.store.chain import Chain, Link, canonical_json
from trading_rlhf.store.schema import EventRow, utc_text
from trading_rlhf.types import JsonDict

__all__ = [
    "STREAMS",
    "Draft",
    "Event",
    "append",
    "append_many",
    "find_events",
    "from_row",
    "last_event",
    "read_events",
]

STREAMS = (
    "data",
    "policy",
    "proposal",
    "answer",
    "reward_model",
    "signal",
    "order",
    "fill",
    "trial",
)

# Below the number of values that SQLite takes in one statement.
_CHUNK = 5_000


@dataclass(frozen=True)
class Event:
    """One stored event.

    Attributes:
        stream: one of ``STREAMS``.
        seq: place in its stream, from 1.
        kind: what happened.
        at: when, by the server's clock (UTC).
        actor: account, policy or program that did it.
        subject: what it is about (a proposal's id), if anything.
        key: name under which a repetition is recognised, if any.
        payload: the content.
        mac: code over the content and the event before.
        is_new: False when ``append`` found the event already stored.
    """

    stream: str
    seq: int
    kind: str
    at: datetime
    actor: str
    subject: str | None
    key: str | None
    payload: JsonDict
    mac: str
    is_new: bool = False

    @property
    def id(self) -> str:
        """Stream and sequence ("answer-17"), unique in the store and covered by the chain."""
        return f"{self.stream}-{self.seq}"


@dataclass(frozen=True)
class Draft:
    """An event before it has a number; fields as in ``Event``."""

    kind: str
    payload: JsonDict
    actor: str
    subject: str | None = None
    key: str | None = None


def append(
    session: Session,
    stream: str,
    kind: str,
    payload: JsonDict,
    *,
    actor: str,
    subject: str | None = None,
    key: str | None = None,
) -> Event:
    """Append one event, or return the one already stored under this stream, kind and key.

    Args:
        session: from ``store.write()``.
        stream: one of ``STREAMS``.
        kind: what happened.
        payload: plain JSON content.
        actor: account, policy or program that did it.
        subject: what it is about.
        key: a repeated call with the same key appends nothing.

    Raises:
        StoreError: the session only reads, the stream is unknown or the payload is not JSON.
    """
    return append_many(session, stream, [Draft(kind, payload, actor, subject, key)])[0]


def append_many(session: Session, stream: str, drafts: Iterable[Draft]) -> list[Event]:
    """Append events in order with one insert; a draft whose key is stored is not appended again.

    Returns:
        One event per draft, in the same order.

    Raises:
        StoreError: as for ``append``.
    """
    if stream not in STREAMS:
        raise StoreError("a stream must be known", stream, f"Use one of {', '.join(STREAMS)}.")
    if not session.info.get("writes"):
        raise StoreError("events need a writing session", "a reading one", "Use store.write().")
    drafts = list(drafts)
    chain: Chain = session.info["chain"]
    stored = _stored_keys(session, stream, drafts)
    last = last_event(session, stream)
    seq, mac = (last.seq, last.mac) if last else (0, "")
    now = session.info["clock"]()
    events: list[Event] = []
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        name = (draft.kind, draft.key)
        if draft.key is not None and name in stored:
            events.append(stored[name])
            continue
        seq += 1
        event, mac, row = _link(chain, mac, stream, seq, draft, now)
        rows.append(row)
        events.append(event)
        if draft.key is not None:
            stored[name] = _as_old(event)
    if rows:
        session.execute(insert(EventRow), rows)
    return events


def read_events(
    session: Session,
    stream: str,
    kind: str | None = None,
    subject: str | None = None,
    after: int = 0,
) -> list[Event]:
    """Return the events of a stream in order.

    Args:
        session: from ``store.read()`` or ``store.write()``.
        stream: one of ``STREAMS``.
        kind: only events of this kind.
        subject: only events about this.
        after: only events with a greater sequence number.
    """
    query = select(*EventRow.__table__.columns).where(
        EventRow.stream == stream, EventRow.seq > after
    )
    if kind is not None:
        query = query.where(EventRow.kind == kind)
    if subject is not None:
        query = query.where(EventRow.subject == subject)
    return [from_row(row) for row in session.execute(query.order_by(EventRow.seq))]


def last_event(
    session: Session, stream: str, kind: str | None = None, actor: str | None = None
) -> Event | None:
    """Return the newest event of a stream (of a kind, of an actor), or None."""
    query = select(*EventRow.__table__.columns).where(EventRow.stream == stream)
    if kind is not None:
        query = query.where(EventRow.kind == kind)
    if actor is not None:
        query = query.where(EventRow.actor == actor)
    row = session.execute(query.order_by(EventRow.seq.desc()).limit(1)).first()
    return from_row(row) if row is not None else None


def find_events(session: Session, stream: str, kind: str, keys: Iterable[str]) -> list[Event]:
    """Return the events stored under these keys, in no order."""
    wanted = sorted(set(keys))
    found: list[Event] = []
    for start in range(0, len(wanted), _CHUNK):
        query = select(*EventRow.__table__.columns).where(
            EventRow.stream == stream,
            EventRow.kind == kind,
            EventRow.key.in_(wanted[start : start + _CHUNK]),
        )
        found += [from_row(row) for row in session.execute(query)]
    return found


def from_row(row: Row[Any]) -> Event:
    """Read one row that holds every column of the events table."""
    return Event(
        stream=row.stream,
        seq=row.seq,
        kind=row.kind,
        at=row.at,
        actor=row.actor,
        subject=row.subject,
        key=row.key,
        payload=json.loads(row.payload),
        mac=row.mac,
    )


def _link(
    chain: Chain, previous: str, stream: str, seq: int, draft: Draft, at: datetime
) -> tuple[Event, str, dict[str, Any]]:
    """Return the event, its code and its row."""
    text = canonical_json(draft.payload)
    link = Link(stream, seq, draft.kind, utc_text(at), draft.actor, draft.subject, draft.key, text)
    mac = chain.mac(previous, link)
    event = Event(
        stream=stream,
        seq=seq,
        kind=draft.kind,
        at=datetime.fromisoformat(link.at),
        actor=draft.actor,
        subject=draft.subject,
        key=draft.key,
        payload=json.loads(text),
        mac=mac,
        is_new=True,
    )
    return event, mac, {**vars(link), "at": at, "mac": mac}


def _as_old(event: Event) -> Event:
    return Event(**{**vars(event), "is_new": False})


def _stored_keys(
    session: Session, stream: str, drafts: list[Draft]
) -> dict[tuple[str, str | None], Event]:
    """Find the events already stored under the keys of these drafts."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for draft in drafts:
        if draft.key is not None:
            keys[draft.kind].append(draft.key)
    return {
        (event.kind, event.key): event
        for kind in keys
        for event in find_events(session, stream, kind, keys[kind])
    }
