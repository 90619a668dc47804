"""What the review page calls: the next trade, prepared for the eye, and the reviewer's answer."""

import secrets as random_source
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from trading_rlhf.errors import ReviewError
from trading_rlhf.feedback import Answer, QueueItem, ReviewDesk, Verdict
from trading_rlhf.feedback import Progress as DeskProgress
from trading_rlhf.market import PriceHistory, bar_close, load_bars
from trading_rlhf.proposals import Proposal
from trading_rlhf.services.results import summary
from trading_rlhf.services.review_chart import CHART_BARS, MEAN_BARS
from trading_rlhf.services.review_item import build_item, preview
from trading_rlhf.services.review_mask import Mask, mask_for
from trading_rlhf.services.review_similar import (
    may_show,
    similar_lines,
    similar_summary,
    similar_to,
)
from trading_rlhf.services.review_views import (
    LastAnswer,
    ResizePreview,
    ReviewItem,
    ReviewPage,
    ReviewProgress,
    SimilarTrade,
)
from trading_rlhf.services.review_words import VERDICTS, ago, headline
from trading_rlhf.services.runs import Run
from trading_rlhf.store import Event, read_events, write_head
from trading_rlhf.types import Clock

__all__ = ["ReviewService", "Verdict"]

_LOOKBACK: Final = CHART_BARS + MEAN_BARS - 1


class ReviewService:
    """One run's review desk, for every reviewer who is logged in to it."""

    def __init__(
        self, run: Run, clock: Clock, after_answer: Callable[[DeskProgress], object] | None = None
    ) -> None:
        """Work on an open run.

        Args:
            run: holds the proposals and the answers.
            clock: the present.
            after_answer: told how far the desk is after each answer; starts a fit when one is due.

        Raises:
            DataError: the run's bars cannot be loaded.
        """
        self._run = run
        self._bars = load_bars(run.config.data)
        self._desk = ReviewDesk(run.store, clock, active=run.config.ask.queue == "active")
        self._clock = clock
        self._after_answer = after_answer
        self._proposals: dict[str, Proposal] = {}
        self._by_bar: dict[tuple[str, str, int], list[Proposal]] = {}

    def page(self, reviewer: str) -> ReviewPage:
        """Return everything the page shows to this reviewer now.

        Args:
            reviewer: account id, from the login.
        """
        queued = self._desk.next_item(reviewer)
        if queued is not None and (queued.proposal.mode == "live" or not queued.random_share):
            # Handing out such an item is an event in itself.
            self._sign()
        return ReviewPage(
            item=None if queued is None else self._item(queued, reviewer),
            progress=self._progress(reviewer),
            last=self._last_answer(reviewer),
            view=random_source.token_hex(16),
            simulated=self._simulated(),
        )

    def preview(self, item: ReviewItem, weight_percent: float) -> ResizePreview:
        """Say what a resized trade would be.

        Args:
            item: the item on the screen.
            weight_percent: weight asked for (percent of equity).
        """
        proposal = self._proposal(item.proposal_id)
        return preview(proposal, self._mask(proposal), weight_percent / 100)

    def submit(
        self,
        reviewer: str,
        item: ReviewItem,
        verdict: Verdict,
        *,
        stars: int | None = None,
        tags: tuple[str, ...] = (),
        note: str = "",
        resize_percent: float | None = None,
    ) -> None:
        """Store an answer; a second call for the same item on the screen stores nothing new.

        Args:
            reviewer: account id, from the login.
            item: the item that was on the screen.
            verdict: approve, reject, resize or cannot_tell.
            stars: rating, 0 for one star to 4 for five; None when not rated.
            tags: reasons chosen.
            note: free text.
            resize_percent: weight asked for (percent of equity), with "resize" only.

        Raises:
            ReviewError: the item has expired or is closed, or the answer is malformed; nothing
                is stored, and the sentence repeats the note.
        """
        if verdict == "resize":
            shown = None if resize_percent is None else self.preview(item, resize_percent)
            if shown is None or not shown.allowed:
                low, high = item.resize.minimum, item.resize.maximum
                raise ReviewError(
                    f"a resized weight must lie between {low}% and {high}%",
                    f"{resize_percent}%",
                    "Choose another weight, or approve or reject the trade.",
                )
        self._desk.submit(
            reviewer,
            item.proposal_id,
            verdict,
            token=item.token,
            seconds=max(0.0, (self._clock() - item.shown_at).total_seconds()),
            rating=None if stars is None else stars + 1,
            tags=tags,
            note=note.strip() or None,
            resized_to=None if resize_percent is None else resize_percent / 100,
        )
        self._sign()
        if self._after_answer is not None:
            self._after_answer(self._desk.progress(reviewer))

    def undo(self, reviewer: str, view: str) -> bool:
        """Take back this reviewer's last answer; its item comes back first.

        Args:
            reviewer: account id, from the login.
            view: the page's ``view``: a doubled key press takes back one answer.

        Returns:
            False when there was nothing to take back.
        """
        taken_back = self._desk.undo(reviewer, view) is not None
        if taken_back:
            self._sign()
        return taken_back

    def _sign(self) -> None:
        """Keep the signed head beside the database up with what was just stored."""
        write_head(self._run.store, self._run.path / "audit_head.json")

    def _item(self, queued: QueueItem, reviewer: str) -> ReviewItem:
        proposal = queued.proposal
        self._remember(proposal)
        key = (proposal.market, proposal.mode, proposal.bar)
        siblings = [
            other
            for other in self._by_bar[key]
            if other.id != proposal.id and other.policy_id == proposal.policy_id
        ]
        history = self._history(proposal)
        return build_item(
            proposal,
            siblings,
            history,
            self._mask(proposal),
            token=queued.token,
            now=self._clock(),
            similar=self._similar(proposal, reviewer),
        )

    def _similar(self, proposal: Proposal, reviewer: str) -> tuple[SimilarTrade, ...]:
        """Return like trades that this reviewer answered, where they may see them now."""
        if not may_show(proposal, answered=False):
            return ()
        mine = self._desk.standing_answers([reviewer], simulated=False)
        found = similar_to(proposal, reviewer, mine, self._proposals, answered=False)
        notes = self._desk.notes([one.answer for one in found])
        return similar_lines(found, notes)

    def _history(self, proposal: Proposal) -> PriceHistory:
        """Return the bars up to the decision, from the very bars it was decided on."""
        bars, t = self._bars, proposal.bar
        known = proposal.symbol in bars.symbols and t < len(bars.dates)
        if not known or bar_close(bars, t) != proposal.known_at:
            raise ReviewError(
                "a trade is shown on the bars that it was decided on",
                f"data in {self._run.path} that has changed since",
                "Restore the data, or propose again.",
            )
        return bars.known_at(t, bars.symbols.index(proposal.symbol), _LOOKBACK)

    def _mask(self, proposal: Proposal) -> Mask:
        return mask_for(proposal, self._bars.symbols)

    def _proposal(self, proposal_id: str) -> Proposal:
        if proposal_id not in self._proposals:
            self._index()
        return self._proposals[proposal_id]

    def _remember(self, proposal: Proposal) -> None:
        if proposal.id not in self._proposals:
            self._index()

    def _index(self) -> None:
        """Read the proposals again; stored ones never change, so each is read once."""
        by_bar: defaultdict[tuple[str, str, int], list[Proposal]] = defaultdict(list)
        proposals = self._desk.proposals()
        for proposal in proposals:
            by_bar[proposal.market, proposal.mode, proposal.bar].append(proposal)
        self._by_bar = by_bar
        self._proposals = {proposal.id: proposal for proposal in proposals}

    def _progress(self, reviewer: str) -> ReviewProgress:
        progress = self._desk.progress(reviewer)
        with self._run.store.read() as session:
            fits = read_events(session, "reward_model", "fitted")
        queue = "1 waits" if progress.queue == 1 else f"{progress.queue:,} wait"
        return ReviewProgress(
            text=_progress_text(progress, fits),
            fraction=round(min(1.0, progress.usable / progress.needed), 3),
            queue=f"{queue} in the queue",
        )

    def _last_answer(self, reviewer: str) -> LastAnswer | None:
        mine = self._desk.standing_answers([reviewer])
        if not mine:
            return None
        answers, proposal = mine, self._proposal(mine[-1].proposal_id)
        if may_show(proposal, answered=False):
            # Only now that this reviewer has answered may they know what others said.
            answers = self._desk.standing_answers(simulated=False)
        found = similar_to(proposal, reviewer, answers, self._proposals, answered=True)
        notes = self._desk.notes(mine[-1:])
        return LastAnswer(
            text=self._answer_text(mine[-1], proposal),
            note=notes.get(mine[-1].event_id, ""),
            similar=similar_summary(reviewer, found),
        )

    def _answer_text(self, answer: Answer, proposal: Proposal) -> str:
        mask = self._mask(proposal)
        trade = headline(proposal, proposal.target, mask.name(proposal.symbol), mask.hidden)
        return f"{VERDICTS[answer.verdict]}: {trade}, {ago(answer.at, self._clock())}"

    def _simulated(self) -> bool:
        content = summary(self._run.path)
        return bool(content and content.get("simulated"))


def _progress_text(progress: DeskProgress, fits: list[Event]) -> str:
    """Count up to the first fit; then say how well the newest reward model does."""
    if not fits:
        if progress.usable < progress.needed:
            return f"{progress.usable} of {progress.needed} until the first fit"
        return f"{progress.usable} answers, the first fit is due"
    quality = fits[-1].payload.get("quality")
    if quality is None:
        return f"Reward model {len(fits)}: not enough answers yet for an accuracy"
    accuracy, answers = quality["accuracy"], quality["answers"]
    return f"Reward model {len(fits)}: held-out accuracy {accuracy:.2f} on {answers} answers"
