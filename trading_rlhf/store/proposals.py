"""Proposals as rows: the payload is stored once, its hash stands in the proposal stream."""

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from trading_rlhf.errors import StoreError
from trading_rlhf.store.chain import canonical_json, sha256_hex
from trading_rlhf.store.events import Draft, append_many
from trading_rlhf.store.schema import ProposalRow, UtcTime
from trading_rlhf.types import JsonDict

__all__ = ["COLUMNS", "insert_proposals", "read_proposals"]

COLUMNS = tuple(column.name for column in ProposalRow.__table__.columns if column.name != "payload")
"""What a proposal is searched by; each repeats the payload's value of that name."""

_CHUNK = 5_000


def insert_proposals(session: Session, payloads: Iterable[JsonDict]) -> int:
    """Store proposals whose id is not stored yet, with one event each; the first content stands.

    Args:
        session: from ``store.write()``.
        payloads: JSON of the proposals; each holds at least ``COLUMNS``.

    Returns:
        The number of new proposals.

    Raises:
        StoreError: a payload lacks a column or is not JSON.
    """
    wanted = {_id(payload): payload for payload in payloads}
    texts = {name: canonical_json(payload) for name, payload in wanted.items()}
    drafts = [
        Draft("proposed", {"sha256": sha256_hex(texts[name])}, payload["policy_id"], name, name)
        for name, payload in wanted.items()
    ]
    events = append_many(session, "proposal", drafts)
    new = [str(event.subject) for event in events if event.is_new]
    rows = [_row(wanted[name], texts[name]) for name in new]
    if rows:
        session.execute(insert(ProposalRow), rows)
    return len(rows)


def read_proposals(
    session: Session, ids: Iterable[str] | None = None, mode: str | None = None
) -> list[JsonDict]:
    """Return the payloads of the proposals with these ids (in that order) or of a mode.

    Args:
        session: from ``store.read()`` or ``store.write()``.
        ids: only these; unknown ones are left out.
        mode: only this mode.
    """
    query = select(ProposalRow.id, ProposalRow.payload)
    if mode is not None:
        query = query.where(ProposalRow.mode == mode)
    if ids is None:
        rows = session.execute(query.order_by(ProposalRow.known_at, ProposalRow.id))
        return [json.loads(row.payload) for row in rows]
    ids = list(dict.fromkeys(ids))
    found: dict[str, str] = {}
    for start in range(0, len(ids), _CHUNK):
        part = query.where(ProposalRow.id.in_(ids[start : start + _CHUNK]))
        found.update((row.id, row.payload) for row in session.execute(part))
    return [json.loads(found[name]) for name in ids if name in found]


def _id(payload: JsonDict) -> str:
    missing = [name for name in COLUMNS if name not in payload]
    if missing:
        raise StoreError(
            "a proposal must be complete", f"no {missing}", "Store Proposal.to_json()."
        )
    return str(payload["id"])


def _row(payload: JsonDict, text: str) -> JsonDict:
    row = {name: payload[name] for name in COLUMNS}
    for name, column in ProposalRow.__table__.columns.items():
        if isinstance(column.type, UtcTime):
            row[name] = datetime.fromisoformat(payload[name])
    return {**row, "payload": text}
