"""The order in which items are shown.

Live items first, soonest deadline first: they are worth nothing afterwards. The others come in an
order drawn at random by hash, another one for each reviewer: it is the same on every machine,
needs no state, and reviewers who work side by side rarely want the same item.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Candidate", "first"]


@dataclass(frozen=True)
class Candidate:
    """An item that could be shown; ``deadline`` is None unless it is live."""

    proposal_id: str
    deadline: datetime | None


def first(candidates: Iterable[Candidate], reviewer: str, seed: int) -> str | None:
    """Return the id of the item to show this reviewer next, or None when there is none."""

    def place(item: Candidate) -> tuple[bool, float, bytes]:
        text = f"{seed}/{reviewer}/{item.proposal_id}"
        draw = hashlib.sha256(text.encode("utf-8")).digest()
        deadline = item.deadline.timestamp() if item.deadline else 0.0
        return item.deadline is None, deadline, draw

    chosen = min(candidates, key=place, default=None)
    return chosen.proposal_id if chosen else None
