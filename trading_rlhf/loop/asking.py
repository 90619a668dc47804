"""Which trades reviewers are asked about, and how the simulated desk answers them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.agent import Policy, walk
from trading_rlhf.feedback import ReviewDesk, Submission, create_account, list_accounts
from trading_rlhf.feedback.simulated import SimulatedTrader, StyleDesk, make_desk
from trading_rlhf.loop.context import Context
from trading_rlhf.proposals import Book, Proposal, TradeTensors
from trading_rlhf.types import Progress

__all__ = ["ask_about_history", "history_proposals", "simulate_answers", "simulated_desk"]


@dataclass(frozen=True)
class _RandomDesk:
    """Approves at random; with the cool-down this refuses for stretches, as a desk does."""

    acceptance: float
    generator: torch.Generator

    def __call__(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        del features, target
        return (torch.rand(held.shape, generator=self.generator) < self.acceptance).float()


def history_proposals(
    context: Context, policy: Policy, policy_id: str, count: int, progress: Progress
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
        progress: told about each portfolio.

    Returns:
        Up to ``count`` proposals in random order; the same seed gives the same ones.
    """
    settings = context.config.ask
    generator = context.generator("ask")
    bars = context.train_bars
    made: dict[str, Proposal] = {}
    maker = context.proposal_maker(policy, policy_id)
    while len(made) < count:
        starts = torch.randint(
            bars.start, bars.stop - settings.warmup - 1, (count,), generator=generator
        )
        lived = walk(
            policy,
            context.market,
            starts,
            max(settings.warmup, 1),
            context.config.costs,
            context.config.gate,
            decider=_RandomDesk(settings.acceptance, generator),
        )
        equity = context.config.equity * lived.log_growth[:, 0].sum(0).exp()
        before = len(made)
        for row in range(count):
            noise = torch.randn(context.market.shape[1], generator=generator)
            found = maker.at(
                int(starts[row]) + max(settings.warmup, 1),
                Book(lived.end.held[0, row], lived.end.entry[0, row], float(equity[row])),
                "history",
                noise=noise * settings.exploration if row % 2 else None,
                resting=lived.end.cooldown[0, row],
            )
            if found:
                pick = int(torch.randint(len(found), (1,), generator=generator))
                made[found[pick].id] = found[pick]
            progress("choosing trades to ask about", min(len(made), count), count)
            if len(made) == count:
                break
        if len(made) == before:
            break
    return list(made.values())


def ask_about_history(
    context: Context, policy: Policy, policy_id: str, count: int, progress: Progress
) -> list[Proposal]:
    """Make proposals from history and put them into the review queue."""
    proposals = history_proposals(context, policy, policy_id, count, progress)
    ReviewDesk(context.store, context.clock).add_proposals(proposals)
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
