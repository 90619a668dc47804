"""From standing answers to a reward model, and to the weights that reviewers wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from trading_rlhf.agent import Demonstrations
from trading_rlhf.errors import NotEnoughAnswersError
from trading_rlhf.feedback import KNOWN_TAGS, Answer, ReviewDesk, weights_by_reviewer
from trading_rlhf.loop.context import Context
from trading_rlhf.market import bar_close
from trading_rlhf.proposals import HORIZON, Proposal, TradeTensors
from trading_rlhf.reward import (
    Answers,
    Fitted,
    Quality,
    Ratings,
    Resizes,
    RewardRecord,
    Tags,
    Verdicts,
    fit_calibrated,
    save_reward_model,
)

__all__ = [
    "Learned",
    "Lesson",
    "answered_trades",
    "learn",
    "placebo_models",
    "wanted_weights",
]

_REVIEWER_CAP = 0.4
_NOTHING = 1e-6
"""Share of a change below which nothing of it is left, as pages show it."""

Lesson: TypeAlias = Literal["resizes", "shuffled", "nothing"]
"""What a policy imitates: the reviewers' resizes; the placebo's, which are those of other trades;
or nothing."""


@dataclass(frozen=True)
class Learned:
    """A stored reward model with what it came from.

    Attributes:
        record: what was stored.
        fitted: the model and its reviewers' effects.
        answers: the answers as tensors.
        reviewers: names in the order of the effects.
        quality: on held-out answers to trades drawn at random, None where there were too few.
    """

    record: RewardRecord
    fitted: Fitted
    answers: Answers
    reviewers: tuple[str, ...]
    quality: Quality | None


def answered_trades(context: Context, simulated: bool) -> list[tuple[Answer, Proposal]]:
    """Standing answers that may be trained on, with their proposals, in the order of answering.

    Simulated and human answers never mix.
    """
    desk = ReviewDesk(context.store, context.clock)
    answers = [
        answer
        for answer in desk.standing_answers(simulated=simulated)
        if answer.trainable and answer.verdict != "cannot_tell"
    ]
    found = {p.id: p for p in desk.proposals(ids=[a.proposal_id for a in answers])}
    return [(answer, found[answer.proposal_id]) for answer in answers]


def learn(context: Context, simulated: bool) -> Learned:
    """Fit the reward model on the standing answers, test it on later ones, store it.

    Args:
        context: the run.
        simulated: learn from the simulated desk instead of people.

    Raises:
        NotEnoughAnswersError: too few answers, or all of one kind.
    """
    pairs = answered_trades(context, simulated)
    config = context.config.fit
    if len(pairs) < config.minimum:
        raise NotEnoughAnswersError(
            f"a first fit needs {config.minimum} verdicts",
            f"{len(pairs)}",
            f"Review {config.minimum - len(pairs)} more proposals.",
        )
    answers, reviewers = _as_answers(pairs)
    measurable = torch.tensor([a.random_share and trade.random_share for a, trade in pairs])
    fitted, measured = fit_calibrated(
        answers, config, HORIZON, context.generator("fit"), measurable
    )
    record = save_reward_model(
        fitted.model,
        context.rewards,
        context.config.features,
        tuple(answer.event_id for answer, _ in pairs),
        simulated,
        measured,
        config,
    )
    skill = fitted.effects.skill[0].mean(0).tolist()
    context.record(
        "reward_model",
        "fitted",
        {
            "id": record.id,
            "answers": len(pairs),
            "simulated": simulated,
            "quality": record.quality,
            "skill": dict(zip(reviewers, skill, strict=True)),
            "kinds": {name: kind.count for name, kind in answers.kinds.items()},
        },
        subject=record.id,
    )
    return Learned(record, fitted, answers, reviewers, measured)


def placebo_models(context: Context, learned: Learned, draws: int) -> list[Fitted]:
    """The same fit on the same answers, shuffled: what learning from nothing looks like.

    One shuffle is one draw of luck, so several are taken and their figures averaged.
    """
    generator = context.generator("placebo")
    models = []
    for _ in range(draws):
        shuffled = learned.answers.shuffled(generator)
        fitted, _ = fit_calibrated(shuffled, context.config.fit, HORIZON, generator)
        models.append(fitted)
    return models


def _as_answers(pairs: list[tuple[Answer, Proposal]]) -> tuple[Answers, tuple[str, ...]]:
    """Stored answers as tensors: a verdict each, and what came with it.

    A resize approves the own weight, refuses the proposed one and prefers the own; a resize down
    to no trade is a rejection. Ratings and reasons are about the proposed trade.
    """
    said = [answer for answer, _ in pairs]
    proposals = [proposal for _, proposal in pairs]
    reviewers = tuple(sorted({answer.reviewer for answer in said}))
    who = torch.tensor([reviewers.index(answer.reviewer) for answer in said])
    weight = torch.tensor(weights_by_reviewer(said, _REVIEWER_CAP), dtype=torch.float32)
    shares = [
        _share_wanted(answer, proposal) if answer.verdict == "resize" else None
        for answer, proposal in pairs
    ]
    targets = [
        proposal.held + share * proposal.change if share and share > _NOTHING else proposal.target
        for proposal, share in zip(proposals, shares, strict=True)
    ]
    approved = [
        float(answer.verdict == "approve" or (share is not None and share > _NOTHING))
        for answer, share in zip(said, shares, strict=True)
    ]
    verdicts = Verdicts.of_trades(
        TradeTensors.of(proposals, targets), torch.tensor(approved), who, weight
    )
    rated = [i for i, answer in enumerate(said) if answer.rating is not None]
    smaller = [i for i, share in enumerate(shares) if share and _NOTHING < share < 1 - _NOTHING]
    names = tuple(tag for tag in KNOWN_TAGS if any(tag in answer.tags for answer in said))
    tagged = [i for i, answer in enumerate(said) if set(names) & set(answer.tags)]

    def trades(rows: list[int]) -> TradeTensors:
        return TradeTensors.of([proposals[i] for i in rows])

    ratings = resizes = tags = None
    if rated:
        stars = torch.tensor([said[i].rating for i in rated])
        ratings = Ratings.of_trades(trades(rated), stars, who[rated], weight[rated])
    if smaller:
        share = torch.tensor([shares[i] for i in smaller])
        resizes = Resizes.of_trades(
            trades(smaller), share, TradeTensors.of(proposals), who[smaller], weight[smaller]
        )
    if tagged:
        given = torch.tensor([[tag in said[i].tags for tag in names] for i in tagged])
        tags = Tags.of_trades(trades(tagged), given, names, who[tagged], weight[tagged])
    answers = Answers(verdicts, len(reviewers), ratings=ratings, resizes=resizes, tags=tags)
    return answers, reviewers


def wanted_weights(
    context: Context, record: RewardRecord, lessons: Sequence[Lesson]
) -> Demonstrations | None:
    """What reviewers wanted instead of what was proposed, for policies that imitate it.

    Taken from the standing resizes among the answers that a reward model was fitted on, so that
    nothing counts here that does not count there and nothing that was said later. Decisions
    outside the training bars are left out: a policy is judged on those.

    Args:
        context: the run.
        record: the reward model.
        lessons: what each policy imitates, in the order in which they are trained.

    Returns:
        One row per resize and a policy per lesson; None where there is no resize, or where the
        settings imitate nothing.
    """
    if not context.config.shape.imitation:
        return None
    fitted = set(record.answer_ids)
    pairs = [
        (answer, proposal)
        for answer, proposal in answered_trades(context, record.simulated)
        if answer.event_id in fitted and answer.verdict == "resize" and _fits(context, proposal)
    ]
    if not pairs:
        return None
    generator = context.generator("shuffled resizes")
    shares = torch.tensor([_share_wanted(answer, proposal) for answer, proposal in pairs])
    weight = torch.tensor(weights_by_reviewer([answer for answer, _ in pairs], _REVIEWER_CAP))
    proposals = [proposal for _, proposal in pairs]
    wanted, weights = [], []
    for lesson in lessons:
        order = torch.arange(len(pairs))
        if lesson == "shuffled":
            order = torch.randperm(len(pairs), generator=generator)
        wanted.append(_wanted(context, proposals, shares[order]))
        weights.append(torch.zeros_like(weight) if lesson == "nothing" else weight[order])
    return Demonstrations(
        torch.tensor([proposal.bar for proposal in proposals]),
        torch.tensor(
            [[proposal.portfolio[name] for name in context.bars.symbols] for proposal in proposals]
        ),
        torch.stack(wanted),
        torch.stack(weights).to(torch.float32),
    )


def _fits(context: Context, proposal: Proposal) -> bool:
    """Whether a trade was decided on these bars, within those that may be trained on."""
    return (
        proposal.bar in context.train_bars
        and proposal.market == context.config.data
        and proposal.known_at == bar_close(context.bars, proposal.bar)
        and set(proposal.portfolio) == set(context.bars.symbols)
    )


def _share_wanted(answer: Answer, proposal: Proposal) -> float:
    """How much of a proposed change a resize leaves, 0 to 1."""
    if answer.resized_to is None:
        raise ValueError("only a resize names a weight")
    return (answer.resized_to - proposal.held) / proposal.change


def _wanted(context: Context, proposals: list[Proposal], shares: torch.Tensor) -> torch.Tensor:
    """``[K, N]`` weights when those shares of the changes are wanted, NaN for other assets."""
    wanted = torch.full((len(proposals), context.bars.shape[1]), torch.nan)
    for row, (proposal, share) in enumerate(zip(proposals, shares.tolist(), strict=True)):
        asset = context.bars.symbols.index(proposal.symbol)
        wanted[row, asset] = proposal.held + share * proposal.change
    return wanted
