"""The database: events that cannot be changed, and the state that may be."""

from trading_rlhf.store.audit import AuditReport, heads, verify, write_head
from trading_rlhf.store.chain import canonical_json
from trading_rlhf.store.engine import Store, open_store
from trading_rlhf.store.events import (
    STREAMS,
    Draft,
    Event,
    append,
    append_many,
    find_events,
    last_event,
    read_events,
)
from trading_rlhf.store.notes import erase_notes, read_notes, save_note
from trading_rlhf.store.proposals import insert_proposals, read_proposals

__all__ = [
    "STREAMS",
    "AuditReport",
    "Draft",
    "Event",
    "Store",
    "append",
    "append_many",
    "canonical_json",
    "erase_notes",
    "find_events",
    "heads",
    "insert_proposals",
    "last_event",
    "open_store",
    "read_events",
    "read_notes",
    "read_proposals",
    "save_note",
    "verify",
    "write_head",
]
