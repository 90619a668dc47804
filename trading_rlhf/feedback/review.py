"""The desk: hands out proposals, takes answers, takes them back. Everything is an event."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from trading_rlhf.errors import ReviewError
from trading_rlhf.feedback.intake import take_answers
from trading_rlhf.feedback.queue import choose
from trading_rlhf.feedback.ranking import (
    newest_ranking,
    note_picked,
    record_ranking,
    was_picked,
)
from trading_rlhf.feedback.records import Answer, Progress, QueueItem, Submission, Verdict
from trading_rlhf.feedback.standing import (
    count_answers,
    last_answer,
    open_items,
    says,
    standing_query,
    undone,
)
from trading_rlhf.proposals import Mode, Proposal
from trading_rlhf.store import (
    Draft,
    Store,
    append,
    append_many,
    insert_proposals,
    last_event,
    read_notes,
    read_proposals,
)
from trading_rlhf.store.events import from_row
from trading_rlhf.store.schema import AccountRow, EventRow, LeaseRow
from trading_rlhf.types import Clock, JsonDict

__all__ = ["ReviewDesk"]

_LEASE = timedelta(minutes=10)
_NEEDED = 30


class ReviewDesk:
    """Reviewers and proposals of one store.

    A reviewer is always an account's id, taken from the server's session and never from a page.

    Args:
        store: an open store.
        clock: the present; decides deadlines and leases.
        overlap: reviewers per item.
        seed: of the order in which items are shown.
        active: ask first what the newest ranking says would teach most; otherwise at random.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        overlap: int = 1,
        seed: int = 0,
        active: bool = False,
    ) -> None:
        if overlap < 1:
            raise ReviewError("an item needs a reviewer", f"overlap {overlap}", "Use 1 or more.")
        self._store = store
        self._clock = clock
        self._overlap = overlap
        self._seed = seed
        self._active = active

    def add_proposals(self, proposals: Iterable[Proposal]) -> int:
        """Store proposals and return how many were new; a known id keeps its first content."""
        payloads = [proposal.to_json() for proposal in proposals]
        with self._store.write() as session:
            return insert_proposals(session, payloads)

    def close_items(self, proposal_ids: Iterable[str], reason: str, actor: str) -> int:
        """Take proposals out of the queue for good ("superseded"); returns how many were open.

        Args:
            proposal_ids: the trades.
            reason: why, in a word or a sentence.
            actor: account or program that closes them.
        """
        with self._store.write() as session:
            known = [payload["id"] for payload in read_proposals(session, proposal_ids)]
            drafts = [Draft("closed", {"reason": reason}, actor, name, name) for name in known]
            return sum(event.is_new for event in append_many(session, "proposal", drafts))

    def next_item(self, reviewer: str) -> QueueItem | None:
        """Lease an item to this reviewer for 10 minutes, or None when nothing waits.

        An answer that was taken back comes first, then the item that the reviewer has already.

        Raises:
            ReviewError: the reviewer has no active account.
        """
        now = self._clock()
        with self._store.write() as session:
            _check_reviewer(session, reviewer)
            lease = session.get(LeaseRow, reviewer)
            chosen = self._choose(session, reviewer, lease.proposal_id if lease else None, now)
            if chosen is None:
                return None
            token = lease.token if lease and lease.proposal_id == chosen else _token()
            (payload,) = read_proposals(session, [chosen])
            proposal = Proposal.from_json(payload)
            _lease(session, reviewer, chosen, token, now)
            if proposal.mode == "live":
                _note_shown(session, reviewer, proposal)
            picked = was_picked(session, reviewer, chosen)
            return QueueItem(proposal, token, now + _LEASE, proposal.random_share and not picked)

    def submit(
        self,
        reviewer: str,
        proposal_id: str,
        verdict: Verdict,
        *,
        token: str,
        seconds: float,
        rating: int | None = None,
        tags: Sequence[str] = (),
        note: str | None = None,
        resized_to: float | None = None,
    ) -> Answer:
        """Store an answer; arguments as in ``Submission``.

        A repeated token stores nothing and returns the answer it named before.

        Raises:
            ReviewError: the answer is malformed.
            LateAnswerError: the trade is expired, closed, answered before or taken by somebody
                else; the error keeps the answer.
        """
        submission = Submission(
            reviewer,
            proposal_id,
            verdict,
            token,
            seconds,
            rating,
            tuple(tags),
            note,
            resized_to,
        )
        with self._store.write() as session:
            (answer,) = take_answers(session, [submission], self._clock(), self._overlap)
            session.execute(
                delete(LeaseRow).where(
                    LeaseRow.reviewer == reviewer, LeaseRow.proposal_id == proposal_id
                )
            )
            return answer

    def submit_many(self, submissions: Sequence[Submission]) -> list[Answer]:
        """Store answers of simulated reviewers in one transaction, all or none.

        The events are those of ``submit``; leases and overlap are not asked for, because whoever
        runs the simulation shares out the items.

        Raises:
            ReviewError: as for ``submit``, or a reviewer is a person.
        """
        names = {item.reviewer for item in submissions}
        with self._store.write() as session:
            people = session.scalars(
                select(AccountRow.id).where(AccountRow.id.in_(names), ~AccountRow.simulated)
            ).all()
            if people:
                raise ReviewError(
                    "only simulated reviewers answer in bulk", f"{people[0]}", "Use submit."
                )
            return take_answers(session, submissions, self._clock(), None)

    def undo(self, reviewer: str, token: str | None = None) -> str | None:
        """Take back this reviewer's last standing answer; its item comes back first.

        Args:
            reviewer: id of the account.
            token: a second call with the same token undoes nothing more (a double click).

        Returns:
            The proposal's id, or None when there was nothing to take back.

        Raises:
            ReviewError: the reviewer has no active account.
        """
        now = self._clock()
        with self._store.write() as session:
            _check_reviewer(session, reviewer)
            before = last_event(session, "answer", "undo", actor=reviewer)
            if token is not None and before is not None and before.payload["token"] == token:
                return before.subject
            last = last_answer(session, reviewer)
            if last is None:
                return None
            append(
                session,
                "answer",
                "undo",
                {"answer": last.id, "token": token},
                actor=reviewer,
                subject=last.subject,
                key=str(last.seq),
            )
            # Holds the place until the reviewer is back, so that nobody else takes it.
            _lease(session, reviewer, str(last.subject), _token(), now)
            return last.subject

    def progress(self, reviewer: str) -> Progress:
        """Tell how far this reviewer and the desk are."""
        with self._store.read() as session:
            answered, usable = count_answers(session, reviewer)
            fit = last_event(session, "reward_model")
            waiting = open_items(session, reviewer, self._overlap, self._clock())
            return Progress(
                answered=answered,
                trained_on=_trained_on(fit.payload) if fit else 0,
                needed=_NEEDED,
                queue=sum(1 for _ in waiting),
                usable=usable,
            )

    def waiting(self) -> list[Proposal]:
        """Return the proposals that somebody could still be asked about."""
        now = self._clock()
        with self._store.read() as session:
            # Nobody's id: whoever has answered or is looking counts as somebody else.
            found = open_items(session, "", self._overlap, now)
            payloads = read_proposals(session, [item.proposal_id for item in found])
        return [Proposal.from_json(payload) for payload in payloads]

    def rank(self, values: dict[str, float], random_share: float, model_id: str) -> None:
        """Store in which order the active queue asks from now on.

        Args:
            values: expected value of an answer by proposal, best first.
            random_share: share of all items kept apart, to be drawn at random (fraction).
            model_id: the reward model whose disagreement it comes from.
        """
        with self._store.write() as session:
            record_ranking(session, values, random_share, model_id)

    def standing_answers(
        self, reviewers: Iterable[str] | None = None, simulated: bool | None = None
    ) -> list[Answer]:
        """Return the answers that were not taken back, the latest per reviewer and item, in order.

        Args:
            reviewers: only of these accounts.
            simulated: only simulated (True) or only human ones (False).
        """
        query = standing_query()
        if reviewers is not None:
            query = query.where(EventRow.actor.in_(list(reviewers)))
        with self._store.read() as session:
            answers = [Answer.from_event(from_row(row)) for row in session.execute(query)]
        latest = {(answer.reviewer, answer.proposal_id): answer for answer in answers}
        return [
            answer
            for answer in answers
            if answer is latest[answer.reviewer, answer.proposal_id]
            and simulated in (None, answer.simulated)
        ]

    def has_human_answers(self) -> bool:
        """Tell whether a person has ever answered here, answers taken back included."""
        query = select(EventRow.seq).where(
            EventRow.stream == "answer", EventRow.kind == "verdict", says("simulated", False)
        )
        with self._store.read() as session:
            return session.scalar(query.limit(1)) is not None

    def proposals(
        self, ids: Iterable[str] | None = None, mode: Mode | None = None
    ) -> list[Proposal]:
        """Return stored proposals: those with these ids in that order, or all of a mode."""
        with self._store.read() as session:
            return [Proposal.from_json(data) for data in read_proposals(session, ids, mode)]

    def notes(self, answers: Iterable[Answer]) -> dict[str, str]:
        """Return the notes by event id of their answers; erased ones are left out."""
        hashes = {answer.event_id: answer.note_hash for answer in answers if answer.note_hash}
        with self._store.read() as session:
            texts = read_notes(session, hashes.values())
        return {name: texts[note] for name, note in hashes.items() if note in texts}

    def _choose(
        self, session: Session, reviewer: str, leased: str | None, now: datetime
    ) -> str | None:
        wanted = undone(session, reviewer)
        if leased is not None:
            wanted.append(leased)
        if wanted:
            free = {
                item.proposal_id
                for item in open_items(session, reviewer, self._overlap, now, ids=wanted)
            }
            for name in wanted:
                if name in free:
                    return name
        ranking = newest_ranking(session, with_values=self._active)
        turn = 0 if ranking is None else count_answers(session, reviewer)[0]
        waiting = open_items(session, reviewer, self._overlap, now)
        choice = choose(waiting, reviewer, self._seed, ranking, turn)
        if choice is None:
            return None
        if ranking is not None and not choice.random:
            note_picked(session, reviewer, choice.proposal_id, ranking)
        return choice.proposal_id


def _check_reviewer(session: Session, reviewer: str) -> None:
    account = session.get(AccountRow, reviewer)
    if account is None or not account.active:
        raise ReviewError("a reviewer needs an active account", f"{reviewer!r}", "Log in again.")


def _token() -> str:
    return secrets.token_hex(16)


def _lease(session: Session, reviewer: str, proposal_id: str, token: str, now: datetime) -> None:
    """Give the reviewer's one place to this item."""
    session.merge(
        LeaseRow(reviewer=reviewer, proposal_id=proposal_id, token=token, until=now + _LEASE)
    )


def _note_shown(session: Session, reviewer: str, proposal: Proposal) -> None:
    """Remember that the reviewer has seen the market up to here, whether or not they answer."""
    append(
        session,
        "answer",
        "shown",
        {},
        actor=reviewer,
        subject=proposal.id,
        key=f"{reviewer}/{proposal.id}",
    )


def _trained_on(payload: JsonDict) -> int:
    """Read the number of answers from a reward model's event (a count or their ids)."""
    answers = payload.get("answers", 0)
    return len(answers) if isinstance(answers, list) else int(answers)
