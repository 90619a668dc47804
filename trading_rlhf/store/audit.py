"""Proof that nothing was changed: the chain in the database, its signed head outside."""

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from filelock import FileLock
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from trading_rlhf.errors import AuditError
from trading_rlhf.store.chain import Chain
from trading_rlhf.store.checks import (
    Finding,
    StreamCheck,
    check_notes,
    check_proposals,
    check_stream,
)
from trading_rlhf.store.engine import Store
from trading_rlhf.store.files import replace_text
from trading_rlhf.store.schema import EventRow, utc_text
from trading_rlhf.types import JsonDict

__all__ = ["AuditReport", "heads", "verify", "write_head"]

_FORMAT = 1


@dataclass(frozen=True)
class AuditReport:
    """What ``verify`` found.

    Attributes:
        ok: nothing is wrong.
        streams: number of events by stream.
        problems: one sentence each, naming stream and sequence.
    """

    ok: bool
    streams: dict[str, int]
    problems: list[str]


def heads(store: Store, session: Session) -> JsonDict:
    """Return the signed ends of all streams, as they stand in the head file and in signals."""
    newest = (
        select(EventRow.stream, func.max(EventRow.seq).label("seq"))
        .group_by(EventRow.stream)
        .subquery()
    )
    query = (
        select(EventRow.stream, EventRow.seq, EventRow.mac)
        .join(newest, (EventRow.stream == newest.c.stream) & (EventRow.seq == newest.c.seq))
        .order_by(EventRow.stream)
    )
    body = {
        "format": _FORMAT,
        "key_id": store.chain.key_id,
        "written_at": utc_text(store.clock()),
        "streams": {row.stream: {"seq": row.seq, "mac": row.mac} for row in session.execute(query)},
    }
    return {**body, "signature": store.chain.sign("head", body)}


def write_head(store: Store, path: Path) -> None:
    """Write the signed ends of all streams beside the database, aside and then renamed.

    Raises:
        AuditError: the file that stands there vouches for events that the database lacks or
            holds differently, or is not from this key. It is the only proof, so it stays.
    """
    path = Path(path)
    with FileLock(f"{path}.lock"), store.read() as session:
        if path.exists():
            problems = _head_problems(session, store.chain, path)
            if problems:
                raise AuditError(
                    "a head file is replaced only by one that goes on from it",
                    problems[0],
                    "Run audit verify; restore the database, or put the file away by hand.",
                )
        replace_text(path, json.dumps(heads(store, session), indent=2, sort_keys=True) + "\n")


def verify(store: Store, path: Path) -> AuditReport:
    """Check every event, proposal and note, and the head file; changes nothing.

    Args:
        store: an open store.
        path: the head file.
    """
    path = Path(path)
    with store.read() as session:
        names = session.scalars(select(EventRow.stream).distinct().order_by(EventRow.stream))
        checks = {name: check_stream(session, store.chain, name) for name in names}
        findings = [finding for check in checks.values() for finding in check.findings]
        findings += check_proposals(session)
        findings += check_notes(session)
        problems = _sentences(findings)
        problems += _missing(path, checks) or [
            *_head_problems(session, store.chain, path),
            *_behind(path, checks),
        ]
    return AuditReport(
        ok=not problems,
        streams={name: check.count for name, check in checks.items()},
        problems=problems,
    )


def _sentences(findings: Iterable[Finding]) -> list[str]:
    """Say the same thing about neighbouring events once."""
    numbered = list(enumerate(findings))
    sentences = []
    for _, group in groupby(
        numbered, key=lambda item: (item[1].stream, item[1].text, item[1].seq - item[0])
    ):
        members = [finding for _, finding in group]
        first, last = members[0], members[-1]
        place = f"{first.seq}" if first.seq == last.seq else f"{first.seq} to {last.seq}"
        sentences.append(f"{first.stream} {place}: {first.text}.")
    return sentences


def _missing(path: Path, checks: dict[str, StreamCheck]) -> list[str]:
    if path.exists():
        return []
    ends = ", ".join(f"{name} {check.seq}" for name, check in checks.items()) or "an empty store"
    return [f"The head file {path.name} is missing: nothing vouches for the end at {ends}."]


def _head_problems(session: Session, chain: Chain, path: Path) -> list[str]:
    """Compare a head file with the database, which may have gone on since."""
    head, problem = _read(chain, path)
    if problem:
        return [problem]
    problems = []
    for stream, end in sorted(head["streams"].items()):
        row = session.execute(
            select(EventRow.mac).where(EventRow.stream == stream, EventRow.seq == end["seq"])
        ).first()
        if row is None:
            last = session.scalar(select(func.max(EventRow.seq)).where(EventRow.stream == stream))
            problems.append(
                f"{stream} {end['seq']}: the head file vouches for this event, but the database "
                f"ends at {last or 0}: the end was cut off."
            )
        elif row.mac != end["mac"]:
            problems.append(
                f"{stream} {end['seq']}: the head file vouches for another event of this number."
            )
    return problems


def _behind(path: Path, checks: dict[str, StreamCheck]) -> list[str]:
    """Name the events that came after the head file was written."""
    try:
        streams = json.loads(path.read_text(encoding="utf-8"))["streams"]
        covered = {name: int(streams.get(name, {"seq": 0})["seq"]) for name in checks}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [
        f"{name} {check.seq}: the head file is older than the database, it vouches only up to "
        f"{covered[name]}."
        for name, check in checks.items()
        if covered[name] < check.seq
    ]


def _read(chain: Chain, path: Path) -> tuple[JsonDict, str]:
    """Return a head and "", or what is wrong with the file."""
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        signature = str(head.pop("signature"))
        ends = ", ".join(f"{name} {end['seq']}" for name, end in sorted(head["streams"].items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, f"The head file {path.name} cannot be read: nothing vouches for any stream."
    if head.get("key_id") != chain.key_id:
        return (
            {},
            f"The head file {path.name} is from another key, it vouches for nothing: {ends}.",
        )
    if not hmac.compare_digest(chain.sign("head", head), signature):
        return {}, f"The head file {path.name} was changed after it was signed: {ends}."
    return head, ""
