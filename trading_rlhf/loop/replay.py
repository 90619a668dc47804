"""The last sessions as if live: propose, filter, review, release, fill, reconcile."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.agent import Policy
from trading_rlhf.broker import (
    PaperBroker,
    Signal,
    advance_session,
    check_limits,
    export_signals,
    open_paper_broker,
    reconcile,
    release_signals,
    send,
    store_refusals,
    working_orders,
)
from trading_rlhf.broker.release import ReleaseConfig
from trading_rlhf.env import remember_refusals
from trading_rlhf.errors import ConfigError
from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.loop.asking import simulate_answers
from trading_rlhf.loop.context import Context
from trading_rlhf.market import bar_close
from trading_rlhf.proposals import Book, Proposal, TradeTensors
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.store import canonical_json, heads
from trading_rlhf.types import Progress

__all__ = [
    "Replayed",
    "catch_up",
    "live_proposals",
    "release",
    "replay",
    "require_review_time",
]


@dataclass
class Replayed:
    """What a replay produced.

    Attributes:
        proposals: live proposals put before the desk.
        signals: every signal sent.
        orders: orders acknowledged by the broker.
        fills: orders filled.
        sentences: why proposals or signals were held back, one sentence each.
        equity: account value at each close (USD).
        reconciled: whether positions rebuilt from stored fills equal the broker's.
    """

    proposals: int = 0
    signals: list[Signal] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    sentences: list[str] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    reconciled: bool = False


def replay(
    context: Context, policy: Policy, policy_id: str, model: RewardModel, progress: Progress
) -> Replayed:
    """Replay the last sessions with the simulated desk answering and the embedded broker filling.

    Args:
        context: the run; its clock is set to each session and released at the end.
        policy: the policy that proposes (S = 1).
        policy_id: its checkpoint.
        model: the reward model that filters.
        progress: told about each session.

    Raises:
        ConfigError: as ``require_review_time``.
    """
    require_review_time(context)
    config = context.config
    n_bars = context.bars.shape[0]
    broker = open_paper_broker(context.store, config.costs, config.equity)
    desk = ReviewDesk(context.store, context.clock)
    outcome = Replayed()
    cooldown = torch.zeros(context.market.shape[1], dtype=torch.float64)
    sessions = range(n_bars - config.replay.sessions, n_bars)
    under_review: list[list[Proposal]] = []
    try:
        for number, t in enumerate(sessions, start=1):
            context.clock.moment = bar_close(context.bars, t)
            advanced = advance_session(context.store, broker, context.bars, t, costs=config.costs)
            outcome.fills += len(advanced.fills)
            outcome.equity.append(broker.account().equity)
            if t == n_bars - 1:
                break
            # An order leaves when its review is over, so that it fills in its own session.
            if len(under_review) == config.gate.delay > 0:
                cooldown = _let_go(context, broker, under_review.pop(0), outcome, cooldown)
            waiting = {proposal.symbol for batch in under_review for proposal in batch}
            found = live_proposals(context, policy, policy_id, model, broker, t, cooldown)
            proposals = [proposal for proposal in found if proposal.symbol not in waiting]
            desk.add_proposals(proposals)
            outcome.proposals += len(proposals)
            context.clock.moment = _answer_time(proposals, context.clock.moment)
            simulate_answers(context, proposals, len(proposals), f"live-{t}", _silent)
            if config.gate.delay:
                under_review.append(proposals)
            else:
                cooldown = _let_go(context, broker, proposals, outcome, cooldown)
            progress("replaying the last sessions", number, len(sessions))
        outcome.reconciled = reconcile(context.store, broker).agrees
    finally:
        context.clock.moment = None
    export_signals(outcome.signals, context.folder / "signals")
    context.sign()
    return outcome


def require_review_time(context: Context) -> None:
    """Refuse live proposals that nobody could answer in time.

    Raises:
        ConfigError: an order would fill at the very moment at which its bar is known.
    """
    bars = context.bars
    if bars.dates.tz is not None and bars.has_open and context.config.gate.delay == 0:
        raise ConfigError(
            "bars within a day follow each other without a pause, so a review takes one or more",
            "gate.delay 0",
            "Pass --gate.delay 1.",
        )


def _answer_time(proposals: list[Proposal], known: datetime) -> datetime:
    """Half an hour after the bar is known, earlier where there is less time."""
    windows = [proposal.expires_at - known for proposal in proposals]
    return known + min([timedelta(minutes=30), *(window / 2 for window in windows)])


def catch_up(context: Context, broker: PaperBroker) -> int:
    """Move the embedded account through every session it has not seen; returns how many.

    A new account starts at the newest bar.
    """
    dates = context.bars.dates
    newest, last = len(dates) - 1, broker.books.session
    first = newest if last is None else int(dates.searchsorted(pd.Timestamp(last), "right"))
    for t in range(first, newest + 1):
        advance_session(context.store, broker, context.bars, t, costs=context.config.costs)
    return newest + 1 - first


def live_proposals(
    context: Context,
    policy: Policy,
    policy_id: str,
    model: RewardModel | None,
    broker: PaperBroker,
    t: int,
    cooldown: Tensor | None = None,
) -> list[Proposal]:
    """Proposals for the account as it stands at the close of t, as the filter lets them through.

    A fixed share is drawn at random from all proposals, those that the filter refuses included,
    so that its mistakes can be seen.

    Args:
        context: the run.
        policy: the policy that proposes (S = 1).
        policy_id: its checkpoint.
        model: the filter; None shows everything.
        broker: gives the account.
        t: decision bar.
        cooldown: ``[N]`` signed counters of refused sides.
    """
    account = broker.account()
    symbols = context.bars.symbols
    raw = context.bars.raw_close if context.bars.raw_close is not None else context.bars.close
    held = torch.tensor([account.weights.get(s, 0.0) for s in symbols], dtype=torch.float64)
    entry = torch.tensor(
        [
            broker.books.entries.get(s, float(raw[t, i])) / float(raw[t, i])
            for i, s in enumerate(symbols)
        ],
        dtype=torch.float64,
    )
    maker = context.proposal_maker(policy, policy_id)
    found = maker.at(t, Book(held, entry, account.equity), "live", resting=cooldown)
    if not found:
        return []
    share = context.config.replay.random_share
    draws = torch.rand(len(found), generator=context.generator(f"random-share-{t}")).tolist()
    passing = [True] * len(found)
    if model is not None:
        p = TradeTensors.of(found).approval(ModelDesk(model))
        passing = (p > context.config.gate.threshold).tolist()
    return [
        replace(
            proposal,
            random_share=draw < share,
            selection_probability=1.0 if passes else share,
        )
        for proposal, draw, passes in zip(found, draws, passing, strict=True)
        if passes or draw < share
    ]


def release(
    context: Context, broker: PaperBroker, proposals: list[Proposal], outcome: Replayed
) -> set[str]:
    """Release what reviewers approved, within the limits, and send it; returns traded symbols.

    Args:
        context: the run.
        broker: the embedded account.
        proposals: the live proposals of bar t.
        outcome: counts are added to it.
    """
    desk = ReviewDesk(context.store, context.clock)
    ids = {proposal.id for proposal in proposals}
    answers = [a for a in desk.standing_answers() if a.proposal_id in ids]
    now = context.clock()
    with context.store.read() as session:
        chain_head = canonical_json(heads(context.store, session))
    signals, refusals = release_signals(
        proposals, answers, now, ReleaseConfig(), chain_head=chain_head
    )
    allowed, limited = check_limits(
        signals,
        broker.account(),
        context.config.limits,
        now,
        working=working_orders(context.store, broker.name),
    )
    store_refusals(context.store, [*refusals, *limited])
    report = send(
        context.store,
        broker,
        allowed,
        context.clock,
        halt_file=context.config.limits.halt_file,
        costs=context.config.costs,
        symbols=context.bars.symbols,
    )
    outcome.signals += allowed
    outcome.orders += len(report.sent)
    held_back = [*refusals, *limited, *report.refusals]
    outcome.sentences += [refusal.sentence for refusal in held_back]
    return {signal.symbol for signal in allowed}


def _let_go(
    context: Context,
    broker: PaperBroker,
    proposals: list[Proposal],
    outcome: Replayed,
    cooldown: Tensor,
) -> Tensor:
    """Release reviewed proposals; return the counters: what was not released rests on its side."""
    released = release(context, broker, proposals, outcome)
    symbols = context.bars.symbols
    change = torch.zeros_like(cooldown)
    refused = torch.zeros(len(symbols), dtype=torch.bool)
    for proposal in proposals:
        column = symbols.index(proposal.symbol)
        change[column] = proposal.change
        refused[column] = proposal.symbol not in released
    return remember_refusals(cooldown, change, refused, context.config.gate.cooldown)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
