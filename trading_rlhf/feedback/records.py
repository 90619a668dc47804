"""What a reviewer says about a proposed trade, before and after it is stored."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from trading_rlhf.errors import ReviewError
from trading_rlhf.proposals import Proposal
from trading_rlhf.store import Event
from trading_rlhf.types import JsonDict

__all__ = [
    "KNOWN_TAGS",
    "Answer",
    "Progress",
    "QueueItem",
    "LateAnswerError",
    "Submission",
    "Verdict",
]

Verdict = Literal["approve", "reject", "resize", "cannot_tell"]

KNOWN_TAGS = (
    "too large",
    "too small",
    "chasing",
    "against trend",
    "with trend",
    "news",
    "illiquid",
    "correlated",
    "stop too far",
    "too risky",
    "too costly",
    "good entry",
)
"""Reasons offered on the page; a reviewer may add own ones."""

_LONGEST_NOTE = 2_000
_LONGEST_TAG = 40
_MOST_OWN_TAGS = 20
_LONGEST_TOKEN = 200
# A page shows weights rounded from the same float, so nothing finer can be meant.
_SAME_WEIGHT = 1e-9


@dataclass(frozen=True)
class Submission:
    """An answer as it arrives; checks everything that needs no database.

    Attributes:
        reviewer: id of the account, from the server's session.
        proposal_id: the trade.
        verdict: approve, reject, resize or cannot_tell.
        token: names this answer; a second one with the same token is the same answer.
        seconds: time the reviewer took.
        rating: 1 (poor) to 5 (excellent), or None.
        tags: reasons; own ones beside ``KNOWN_TAGS`` are allowed.
        note: free text of at most 2,000 characters; kept apart, erasable.
        resized_to: weight that the reviewer wants (signed fraction of equity), for resize only.

    Raises:
        ReviewError: a field is malformed.
    """

    reviewer: str
    proposal_id: str
    verdict: Verdict
    token: str
    seconds: float
    rating: int | None = None
    tags: tuple[str, ...] = ()
    note: str | None = None
    resized_to: float | None = None

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            known = ", ".join(get_args(Verdict))
            raise ReviewError(
                "a verdict must be known", f"{self.verdict!r}", f"Use one of {known}."
            )
        if not 0 < len(self.token) <= _LONGEST_TOKEN or not _is_plain(self.token):
            raise ReviewError("an answer carries a token", "none of use", "Load the page again.")
        if not (_is_number(self.seconds) and self.seconds >= 0):
            raise ReviewError(
                "the time taken must be a number of seconds", f"{self.seconds}", "Pass 0 or more."
            )
        if self.rating is not None and (
            isinstance(self.rating, bool) or self.rating not in (1, 2, 3, 4, 5)
        ):
            raise ReviewError(
                "a rating must be a whole number from 1 to 5", f"{self.rating}", "Choose 1 to 5."
            )
        self._check_words()
        self._check_weight()
        object.__setattr__(self, "note", (self.note or "").strip() or None)
        object.__setattr__(self, "tags", tuple(dict.fromkeys(tag.strip() for tag in self.tags)))

    def _check_words(self) -> None:
        note = self.note or ""
        if len(note) > _LONGEST_NOTE:
            raise ReviewError(
                f"a note has at most {_LONGEST_NOTE:,} characters", f"{len(note):,}", "Shorten it."
            )
        if not all(_is_plain(text) for text in (note, *self.tags)):
            raise ReviewError(
                "notes and tags must be text", "characters that are none", "Type them again."
            )
        if not all(0 < len(tag.strip()) <= _LONGEST_TAG for tag in self.tags):
            longest = max((len(tag) for tag in self.tags), default=0)
            raise ReviewError(
                f"a tag has 1 to {_LONGEST_TAG} characters",
                f"one of {longest}" if longest > _LONGEST_TAG else "an empty one",
                "Shorten it or write a note.",
            )
        own = len({tag.strip() for tag in self.tags} - set(KNOWN_TAGS))
        if own > _MOST_OWN_TAGS:
            raise ReviewError(
                f"an answer has at most {_MOST_OWN_TAGS} own tags", f"{own}", "Leave some out."
            )

    def _check_weight(self) -> None:
        if self.verdict != "resize":
            if self.resized_to is not None:
                raise ReviewError(
                    "only a resize names a weight",
                    f"{self.resized_to} with {self.verdict}",
                    "Choose resize, or leave the weight out.",
                )
        elif self.resized_to is None or not _is_number(self.resized_to):
            raise ReviewError(
                "a resize needs a finite weight", f"{self.resized_to}", "Enter the weight you want."
            )

    def check_against(self, proposal: Proposal) -> None:
        """Refuse a resize that leaves the way from the weight held to the proposed one.

        A reviewer may take less of a trade, down to none; more, or the other side, is another
        trade, which nobody has costed or checked.

        Raises:
            ReviewError: the weight lies outside.
        """
        if self.resized_to is None:
            return
        low, high = sorted((proposal.held, proposal.target))
        if not low - _SAME_WEIGHT <= self.resized_to <= high + _SAME_WEIGHT:
            raise ReviewError(
                f"a resize must lie between {proposal.held:.4f} (held) and {proposal.target:.4f} "
                "(proposed)",
                f"{self.resized_to:.4f}",
                "Choose a weight between them, or reject.",
            )

    @property
    def key(self) -> str:
        """Name of the answer in the store: one reviewer's token never meets another's."""
        return f"{self.reviewer}/{self.token}"

    def to_json(self, **flags: bool | str | None) -> JsonDict:
        """Return the payload of the event: what was said, without the note, and the flags."""
        return {
            "verdict": self.verdict,
            "resized_to": None if self.resized_to is None else float(self.resized_to),
            "rating": None if self.rating is None else int(self.rating),
            "tags": list(self.tags),
            "seconds": float(self.seconds),
            **flags,
        }


class LateAnswerError(ReviewError):
    """An answer that came too late; nothing of it is lost.

    Attributes:
        submission: the whole answer, so that a page can offer its text again.
    """

    def __init__(self, must: str, got: str, remedy: str, submission: Submission) -> None:
        self.submission = submission
        text = f' Your note: "{submission.note}"' if submission.note else ""
        super().__init__(must, got, remedy + text)


@dataclass(frozen=True)
class Answer:
    """A stored answer.

    Attributes:
        event_id: the event that holds it ("answer-17").
        proposal_id: the trade.
        reviewer: id of the account.
        kind: kind of answer; "verdict" in this version.
        verdict: approve, reject, resize or cannot_tell.
        resized_to: weight wanted (signed fraction of equity), None unless resize.
        rating: 1 to 5 or None.
        tags: reasons.
        seconds: time the reviewer took.
        at: when it was stored, by the server's clock.
        simulated: given by a simulated reviewer.
        certified: the reviewer's answers counted when it was given.
        hindsight: the reviewer had seen later bars of this market; never trained on.
        note_hash: hash of the note, None without one; ``ReviewDesk.notes`` gives the text.
        random_share: the trade was drawn at random for this reviewer, neither let through by the
            filter nor picked by the active queue: only such answers measure a reward model.
    """

    event_id: str
    proposal_id: str
    reviewer: str
    kind: str
    verdict: Verdict
    resized_to: float | None
    rating: int | None
    tags: tuple[str, ...]
    seconds: float
    at: datetime
    simulated: bool
    certified: bool
    hindsight: bool
    note_hash: str | None
    random_share: bool = True

    @classmethod
    def from_event(cls, event: Event) -> "Answer":
        """Read an answer from its event."""
        payload = event.payload
        return cls(
            event_id=event.id,
            proposal_id=str(event.subject),
            reviewer=event.actor,
            kind=event.kind,
            verdict=payload["verdict"],
            resized_to=payload["resized_to"],
            rating=payload["rating"],
            tags=tuple(payload["tags"]),
            seconds=payload["seconds"],
            at=event.at,
            simulated=payload["simulated"],
            certified=payload["certified"],
            hindsight=payload["hindsight"],
            note_hash=payload["note_hash"],
            # Answers stored before there was an active queue do not say.
            random_share=payload.get("random_share", True),
        )

    @property
    def trainable(self) -> bool:
        """Whether a reward model may be fitted on it."""
        return self.certified and not self.hindsight and self.verdict != "cannot_tell"


@dataclass(frozen=True)
class QueueItem:
    """A proposal that waits for this reviewer.

    Attributes:
        proposal: the trade.
        token: to be sent with the answer; the same until the item is answered or passed on.
        lease_until: until then nobody else gets this place in the queue.
        random_share: drawn at random; the reviewer must not learn what the model thinks of it.
    """

    proposal: Proposal
    token: str
    lease_until: datetime
    random_share: bool


@dataclass(frozen=True)
class Progress:
    """How far a reviewer and the desk are.

    Attributes:
        answered: standing answers of this reviewer.
        trained_on: answers that the newest reward model was fitted on, 0 before the first fit.
        needed: answers before the first fit.
        queue: items that wait for this reviewer.
        usable: standing answers of the whole desk that a fit may use.
    """

    answered: int
    trained_on: int
    needed: int
    queue: int
    usable: int


def _is_number(value: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(text: str) -> bool:
    """Tell whether every database can hold the text: no NUL, no half of a character."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
