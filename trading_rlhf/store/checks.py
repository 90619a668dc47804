"""What an audit reads in the database: every event, every proposal, every note."""

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, String, select, type_coerce
from sqlalchemy.orm import Session

from trading_rlhf.errors import StoreError
from trading_rlhf.store.chain import Chain, Link, sha256_hex
from trading_rlhf.store.notes import note_hash
from trading_rlhf.store.proposals import COLUMNS
from trading_rlhf.store.schema import EventRow, NoteRow, ProposalRow, UtcTime, utc_text

__all__ = ["Finding", "StreamCheck", "check_notes", "check_proposals", "check_stream"]

_BATCH = 1_000


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one event."""

    stream: str
    seq: int
    text: str


@dataclass(frozen=True)
class StreamCheck:
    """What the chain of one stream holds: number of events, end of the chain, findings."""

    count: int
    seq: int
    mac: str
    findings: list[Finding]


def check_stream(session: Session, chain: Chain, stream: str) -> StreamCheck:
    """Recompute every code of a stream from the first event on."""
    findings: list[Finding] = []
    count, seq, mac = 0, 0, ""
    columns = [_raw(column) for column in EventRow.__table__.columns]
    query = select(*columns).where(EventRow.stream == stream).order_by(EventRow.seq)
    for row in session.execute(query.execution_options(yield_per=_BATCH)):
        count += 1
        gap = row.seq != seq + 1
        if gap:
            missing = range(seq + 1, row.seq) if isinstance(row.seq, int) else [seq + 1]
            findings += [Finding(stream, number, "the event is missing") for number in missing]
        # After a gap the code before is unknown, so this event cannot be checked.
        if not gap and not _matches(chain, mac, row):
            findings.append(
                Finding(stream, row.seq, "the event was changed, moved or signed with another key")
            )
        seq, mac = row.seq, row.mac
    return StreamCheck(count, seq, mac, findings)


def check_proposals(session: Session) -> Iterator[Finding]:
    """Compare each proposal's row with the hash in its event, and its columns with its payload."""
    columns = [_raw(column).label(f"row_{column.name}") for column in ProposalRow.__table__.columns]
    query = (
        select(EventRow.seq, EventRow.subject, EventRow.payload, *columns)
        .outerjoin(ProposalRow, ProposalRow.id == EventRow.subject)
        .where(EventRow.stream == "proposal", EventRow.kind == "proposed")
        .order_by(EventRow.seq)
    )
    last = 0
    for row in session.execute(query.execution_options(yield_per=_BATCH)):
        last = row.seq
        if row.row_payload is None:
            yield Finding("proposal", row.seq, "the row of the proposal is missing")
        elif sha256_hex(str(row.row_payload)) != _field(row.payload, "sha256"):
            yield Finding("proposal", row.seq, "the content of the proposal was changed")
        elif changed := _changed_columns(row):
            names = ", ".join(changed)
            yield Finding("proposal", row.seq, f"the proposal's {names} was changed")
    extra = (
        select(ProposalRow.id)
        .outerjoin(
            EventRow,
            (EventRow.subject == ProposalRow.id)
            & (EventRow.stream == "proposal")
            & (EventRow.kind == "proposed"),
        )
        .where(EventRow.seq.is_(None))
    )
    for name in session.scalars(extra):
        yield Finding("proposal", last, f"a proposal after it has no event: {name}")


def check_notes(session: Session) -> Iterator[Finding]:
    """Compare the notes that still have a text with the hashes in the answers."""
    notes = {row.hash: row for row in session.execute(select(*NoteRow.__table__.columns))}
    answers = (
        select(EventRow.seq, EventRow.payload)
        .where(EventRow.stream == "answer", EventRow.payload.contains('"note_hash":"'))
        .order_by(EventRow.seq)
    )
    last = 0
    for answer in session.execute(answers.execution_options(yield_per=_BATCH)):
        last = answer.seq
        note = notes.pop(_field(answer.payload, "note_hash"), None)
        if note is None:
            yield Finding("answer", answer.seq, "the row of its note is missing")
        elif note.text is not None and note_hash(str(note.salt), str(note.text)) != note.hash:
            yield Finding("answer", answer.seq, "the note was changed")
    for _ in notes:
        yield Finding("answer", last, "a note in the database belongs to no answer")


def _raw(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Read times as the text they are: a changed byte may be no time at all."""
    return type_coerce(column, String).label(column.key) if _is_time(column) else column


def _is_time(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, UtcTime)


def _matches(chain: Chain, previous: str, row: Row[Any]) -> bool:
    values = row._mapping
    link = Link(**{name: values[name] for name in Link.__dataclass_fields__})
    try:
        return hmac.compare_digest(chain.mac(previous, link), str(row.mac))
    except (StoreError, TypeError):
        return False


def _field(payload: str, name: str) -> str:
    """Read one field of a payload that may have been tampered with."""
    try:
        return str(json.loads(payload)[name])
    except (ValueError, TypeError, KeyError):
        return ""


def _changed_columns(row: Row[Any]) -> list[str]:
    payload = json.loads(row.row_payload)
    values = row._mapping
    changed = []
    for name in COLUMNS:
        wanted = payload[name]
        if _is_time(ProposalRow.__table__.columns[name]):
            wanted = utc_text(datetime.fromisoformat(wanted))
        if values[f"row_{name}"] != wanted:
            changed.append(name)
    return changed
