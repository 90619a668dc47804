"""Notes: free text apart from the chain, so that it can be erased; the chain holds its hash."""

import secrets
from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from trading_rlhf.store.chain import sha256_hex
from trading_rlhf.store.schema import NoteRow

__all__ = ["erase_notes", "note_hash", "read_notes", "save_note"]

_CHUNK = 5_000


def note_hash(salt: str, text: str) -> str:
    """Return the hash that stands in the chain; without the salt it tells nothing of the text."""
    return sha256_hex(f"{salt}\n{text}")


def save_note(session: Session, reviewer: str, text: str) -> str:
    """Store a note and return its hash."""
    salt = secrets.token_hex(16)
    name = note_hash(salt, text)
    session.add(NoteRow(hash=name, reviewer=reviewer, salt=salt, text=text, erased_at=None))
    session.flush()
    return name


def read_notes(session: Session, hashes: Iterable[str]) -> dict[str, str]:
    """Return the texts by hash; erased ones are left out."""
    names = list(dict.fromkeys(hashes))
    texts: dict[str, str] = {}
    for start in range(0, len(names), _CHUNK):
        query = select(NoteRow.hash, NoteRow.text).where(
            NoteRow.hash.in_(names[start : start + _CHUNK]), NoteRow.text.is_not(None)
        )
        texts.update((row.hash, row.text) for row in session.execute(query) if row.text)
    return texts


def erase_notes(
    session: Session, *, reviewer: str | None = None, hashes: Iterable[str] | None = None
) -> int:
    """Erase the text of notes by reviewer or by hash; an empty row stays.

    Returns:
        The number of notes erased now.
    """
    change = update(NoteRow).where(NoteRow.text.is_not(None))
    if reviewer is not None:
        change = change.where(NoteRow.reviewer == reviewer)
    if hashes is not None:
        change = change.where(NoteRow.hash.in_(list(hashes)))
    if reviewer is None and hashes is None:
        return 0
    done = session.execute(
        change.values(text=None, salt=None, erased_at=session.info["clock"]()).returning(
            NoteRow.hash
        )
    )
    return len(done.all())
