"""The arm in which only what reviewers approved is traded."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trading_rlhf.backtest import ENOUGH_ITEMS
from trading_rlhf.broker import release_signals
from trading_rlhf.broker.release import ReleaseConfig
from trading_rlhf.feedback import Answer, ReviewDesk
from trading_rlhf.loop.context import Context
from trading_rlhf.market import bar_close
from trading_rlhf.proposals import Proposal
from trading_rlhf.types import FloatArray

__all__ = ["ApprovedArm", "approved_arm"]


@dataclass(frozen=True)
class ApprovedArm:
    """Only what reviewers approved, over the test period.

    Attributes:
        targets: ``[T, N]`` weights over the test bars (fraction of equity), NaN holds: the first
            order is the first approval. None where fewer than 50 trades were answered.
        answered: live trades of the test period with an answer that counts.
        approved: those of them that were released.
        source: "human" or "simulated"; the two never mix.
        name: the arm's label.
        note: what it rests on, or why there is none, in words.
    """

    targets: FloatArray | None
    answered: int
    approved: int
    source: Literal["human", "simulated"]
    name: str
    note: str


def approved_arm(context: Context, simulated: bool) -> ApprovedArm:
    """Turn the answers to live trades of the test period into target weights.

    The rule is the broker's: one reject stops a trade, the smallest approved weight is taken, late,
    hindsight and uncertified answers do not count, silence is no trade. With a review delay a
    target stands at the bar on which its review is over, so that ``run_backtest`` without a delay
    fills it at the right open.

    Args:
        context: the run.
        simulated: the simulated desk instead of people.
    """
    desk = ReviewDesk(context.store, context.clock)
    answers: defaultdict[str, list[Answer]] = defaultdict(list)
    for answer in desk.standing_answers(simulated=simulated):
        answers[answer.proposal_id].append(answer)
    test, delay = context.test_bars, context.config.gate.delay
    by_bar: defaultdict[int, list[Proposal]] = defaultdict(list)
    answered = 0
    for proposal in desk.proposals(ids=answers, mode="live"):
        if _fits(context, proposal) and any(map(_counts, answers[proposal.id])):
            by_bar[proposal.bar].append(proposal)
            answered += 1
    targets = np.full((len(test), context.bars.shape[1]), np.nan)
    approved = 0
    for t, found in sorted(by_bar.items()):
        given = [answer for proposal in found for answer in answers[proposal.id]]
        signals, _ = release_signals(
            found, given, found[0].expires_at, ReleaseConfig(), chain_head="backtest"
        )
        approved += len(signals)
        for signal in signals:
            targets[t + delay - test.start, context.bars.symbols.index(signal.symbol)] = (
                signal.target
            )
    return _labelled(targets, answered, approved, "simulated" if simulated else "human")


def _fits(context: Context, proposal: Proposal) -> bool:
    """Whether a trade was decided in the test period of these bars and can fill in it."""
    test, t = context.test_bars, proposal.bar
    inside = t in test and t + context.config.gate.delay in test
    return inside and bar_close(context.bars, t) == proposal.known_at


def _counts(answer: Answer) -> bool:
    return answer.certified and not answer.hindsight and answer.verdict != "cannot_tell"


def _labelled(
    targets: FloatArray, answered: int, approved: int, source: Literal["human", "simulated"]
) -> ApprovedArm:
    who = "people" if source == "human" else "the simulated desk"
    name = f"only what {who} approved"
    enough = answered >= ENOUGH_ITEMS
    note = (
        f"{approved} of {answered} trades of the test period that {who} answered were approved and "
        "are traded; nothing else is."
        if enough
        else f"Not enough: {who} answered {answered} trades of the test period, of {ENOUGH_ITEMS} "
        f"that this arm needs. {_MORE[source]}"
    )
    return ApprovedArm(targets if enough else None, answered, approved, source, name, note)


_MORE = {
    "human": "'trading-rlhf propose --live' asks about the newest bar; each answer counts.",
    "simulated": "A demo with more sessions at the end, such as '--replay.sessions 120', has them.",
}
