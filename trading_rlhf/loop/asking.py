"""Which trades reviewers are asked about, and how the simulated desk answers them."""

from collections.abc import Set

import torch

from trading_rlhf.agent import Policy, walk
from trading_rlhf.feedback import ReviewDesk, Submission, create_account, list_accounts
from trading_rlhf.feedback.simulated import (
    RandomDesk,
    SimulatedTrader,
    StyleDesk,
    make_desk,
)
from trading_rlhf.loop.context import Context
from trading_rlhf.proposals import Book, Proposal, ProposalMaker, TradeTensors
from trading_rlhf.types import Progress

__all__ = ["ask_about_history", "history_proposals", "simulate_answers", "simulated_desk"]


_PORTFOLIOS = 128
"""Portfolios that live side by side in one round of choosing."""

_FRUITLESS_ROUNDS = 20


def history_proposals(
    context: Context,
    policy: Policy,
    policy_id: str,
    count: int,
    progress: Progress,
    known: Set[str] = frozenset(),
) -> list[Proposal]:
    """Proposals from the training period, on states that a gated policy visits.

    Each comes from its own portfolio, which has lived under random refusals for a while, so that
    held weights lag behind the targets as they will in use. Half the questions carry noise on the
    scores, so that answers also cover what the policy does not do yet.

    Args:
        context: the run.
        policy: a single policy (S = 1).
        policy_id: its checkpoint.
        count: how many.
        progress: told about each proposal found.
        known: ids that are asked already and do not count.

    Returns:
        Up to ``count`` proposals in random order; the same seed gives the same ones.
    """
    generator = context.generator("ask")
    maker = context.proposal_maker(policy, policy_id)
    made: dict[str, Proposal] = {}
    fruitless = 0
    while len(made) < count and fruitless < _FRUITLESS_ROUNDS:
        before = len(made)
        for proposal in _one_round(context, policy, maker, generator):
            if proposal.id not in known and len(made) < count:
                made[proposal.id] = proposal
        progress("choosing trades to ask about", len(made), count)
        fruitless = 0 if len(made) > before else fruitless + 1
    return list(made.values())


def _one_round(
    context: Context, policy: Policy, maker: ProposalMaker, generator: torch.Generator
) -> list[Proposal]:
    """One proposal from each of a batch of portfolios, where it has any."""
    settings, bars = context.config.ask, context.train_bars
    starts = torch.randint(
        bars.start, bars.stop - settings.warmup - 2, (_PORTFOLIOS,), generator=generator
    )
    lived = walk(
        policy,
        context.market,
        starts,
        settings.warmup + 1,
        context.config.costs,
        context.config.gate,
        decider=RandomDesk(settings.acceptance, generator),
        capital=context.config.equity,
        generator=generator,
    )
    equity = context.config.equity * lived.log_growth[:, 0].sum(0).exp()
    chosen = []
    for row in range(_PORTFOLIOS):
        noise = torch.randn(context.market.shape[1], generator=generator)
        found = maker.at(
            int(starts[row]) + settings.warmup + 1,
            Book(lived.end.held[0, row], lived.end.entry[0, row], float(equity[row])),
            "history",
            noise=noise * settings.exploration if row % 2 else None,
            resting=lived.end.cooldown[0, row],
        )
        if found:
            chosen.append(found[int(torch.randint(len(found), (1,), generator=generator))])
    return chosen


def ask_about_history(
    context: Context, policy: Policy, policy_id: str, count: int, progress: Progress
) -> list[Proposal]:
    """Make proposals from history that are not asked yet and put them into the review queue."""
    desk = ReviewDesk(context.store, context.clock)
    known = {proposal.id for proposal in desk.proposals(mode="history")}
    proposals = history_proposals(context, policy, policy_id, count, progress, known)
    desk.add_proposals(proposals)
    context.sign()
    return proposals


def simulated_desk(context: Context) -> tuple[StyleDesk, dict[str, SimulatedTrader]]:
    """The true desk, and its traders by the id of their simulated accounts in the run's store."""
    desk, traders = make_desk(context.config.desk, context.config.features)
    known = {account.name: account.id for account in list_accounts(context.store)}
    reviewers = {}
    for trader in traders:
        if trader.name not in known:
            account = create_account(context.store, trader.name, None, "reviewer", simulated=True)
            known[trader.name] = account.id
        reviewers[known[trader.name]] = trader
    return desk, reviewers


def simulate_answers(
    context: Context, proposals: list[Proposal], wanted: int, purpose: str, progress: Progress
) -> int:
    """Let the simulated traders answer proposals in turn until ``wanted`` verdicts are in.

    Skipped items ("cannot tell") are stored but do not count.

    Returns:
        Number of verdicts given (approve or reject).
    """
    desk, reviewers = simulated_desk(context)
    generator = context.generator(purpose)
    turns = list(reviewers)
    true_p = TradeTensors.of(proposals).approval(desk).tolist() if proposals else []
    submissions, given = [], 0
    for number, (proposal, p) in enumerate(zip(proposals, true_p, strict=True)):
        if given == wanted:
            break
        reviewer = turns[number % len(turns)]
        verdict = reviewers[reviewer].verdict(p, generator)
        given += verdict != "cannot_tell"
        submissions.append(
            Submission(reviewer, proposal.id, verdict, f"{purpose}-{proposal.id}", 6.0)
        )
        progress("answers of the simulated desk", given, wanted)
    ReviewDesk(context.store, context.clock).submit_many(submissions)
    context.sign()
    return given
