"""What an answer must pass before it becomes an event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from trading_rlhf.errors import ReviewError
from trading_rlhf.feedback.ranking import picked_keys
from trading_rlhf.feedback.records import Answer, LateAnswerError, Submission
from trading_rlhf.feedback.standing import answered_by, closed_ids, latest_seen, looking_at
from trading_rlhf.proposals import Proposal
from trading_rlhf.store import Draft, append_many, find_events, read_proposals, save_note
from trading_rlhf.store.schema import AccountRow

__all__ = ["take_answers"]


@dataclass(frozen=True)
class _Scene:
    """The state of the desk before the answers: one look-up each, however many answers."""

    accounts: dict[str, AccountRow]
    proposals: dict[str, Proposal]
    closed: set[str]
    answered: dict[str, set[str]]
    looking: dict[str, set[str]]
    seen: dict[tuple[str, str], datetime | None]
    picked: set[tuple[str, str]]


def take_answers(
    session: Session, submissions: Sequence[Submission], now: datetime, overlap: int | None
) -> list[Answer]:
    """Store answers in order, all or none; a repeated token returns the stored answer.

    Args:
        session: from ``store.write()``.
        submissions: the answers.
        now: the server's time.
        overlap: reviewers per item, or None when the caller has shared out the items.

    Raises:
        ReviewError: an answer names an unknown trade or reviewer.
        LateAnswerError: it came too late.
    """
    keys = [item.key for item in submissions]
    known = {event.key: event for event in find_events(session, "answer", "verdict", keys)}
    new = [item for item in submissions if item.key not in known]
    scene = _look_up(session, new, now)
    drafts: dict[str, Draft] = {}
    for item in submissions:
        if item.key in known:
            _check_repeat(item, str(known[item.key].subject))
        elif item.key in drafts:
            _check_repeat(item, str(drafts[item.key].subject))
        else:
            drafts[item.key] = _take(session, scene, item, now, overlap)
    for event in append_many(session, "answer", drafts.values()):
        known[event.key] = event
    return [Answer.from_event(known[key]) for key in keys]


def _look_up(session: Session, items: Sequence[Submission], now: datetime) -> _Scene:
    ids = [item.proposal_id for item in items]
    names = {item.reviewer for item in items}
    payloads = read_proposals(session, ids)
    rows = session.scalars(select(AccountRow).where(AccountRow.id.in_(names)))
    return _Scene(
        accounts={row.id: row for row in rows},
        proposals={payload["id"]: Proposal.from_json(payload) for payload in payloads},
        closed=closed_ids(session, ids),
        answered=answered_by(session, ids),
        looking=looking_at(session, now, ids),
        seen={},
        picked=picked_keys(session, [(item.reviewer, item.proposal_id) for item in items]),
    )


def _take(
    session: Session, scene: _Scene, item: Submission, now: datetime, overlap: int | None
) -> Draft:
    """Check one answer against the scene, move the scene on and return the event's draft."""
    account = scene.accounts.get(item.reviewer)
    if account is None or not account.active:
        raise ReviewError(
            "a reviewer needs an active account", f"{item.reviewer!r}", "Log in again."
        )
    proposal = scene.proposals.get(item.proposal_id)
    if proposal is None:
        raise ReviewError(
            "an answer needs a stored trade", f"{item.proposal_id!r}", "Load the page again."
        )
    item.check_against(proposal)
    _check_open(scene, item, proposal, now, overlap)
    hindsight = _moves_back(session, scene, item.reviewer, proposal)
    scene.answered.setdefault(proposal.id, set()).add(item.reviewer)
    note = save_note(session, item.reviewer, item.note) if item.note else None
    payload = item.to_json(
        simulated=account.simulated,
        certified=account.certified,
        hindsight=hindsight,
        note_hash=note,
        random_share=proposal.random_share and (item.reviewer, proposal.id) not in scene.picked,
    )
    return Draft("verdict", payload, item.reviewer, proposal.id, item.key)


def _check_open(
    scene: _Scene, item: Submission, proposal: Proposal, now: datetime, overlap: int | None
) -> None:
    if proposal.mode == "live" and proposal.expires_at <= now:
        raise LateAnswerError(
            "a live trade is answered before its deadline",
            f"an answer after {proposal.expires_at:%d %b %Y %H:%M %Z}",
            "Without an answer in time there is no trade.",
            item,
        )
    if proposal.id in scene.closed:
        raise LateAnswerError(
            "an answer needs an open trade", "one that was closed", "Take the next one.", item
        )
    answered = scene.answered.get(proposal.id, set())
    if item.reviewer in answered:
        raise LateAnswerError(
            "a reviewer answers a trade once",
            "a second answer",
            "Undo the first one to change it.",
            item,
        )
    others = (answered | scene.looking.get(proposal.id, set())) - {item.reviewer}
    if overlap is not None and len(others) >= overlap:
        raise LateAnswerError(
            "an answer needs a free place",
            "a trade that others took when your time for it had run out",
            "Take the next one.",
            item,
        )


def _check_repeat(item: Submission, proposal_id: str) -> None:
    if item.proposal_id != proposal_id:
        raise ReviewError(
            "a token belongs to one trade", "one used for another", "Load the page again."
        )


def _moves_back(session: Session, scene: _Scene, reviewer: str, proposal: Proposal) -> bool:
    """Tell whether the reviewer has seen this market unmasked after the proposal's close.

    Trades decided at the same close are no hindsight of one another: nobody has seen further.
    """
    if proposal.mode != "live":
        return False
    place = (reviewer, proposal.market)
    if place not in scene.seen:
        scene.seen[place] = latest_seen(session, reviewer, proposal.market)
    seen = scene.seen[place]
    if seen is None or seen < proposal.known_at:
        scene.seen[place] = proposal.known_at
        return False
    return seen > proposal.known_at
