"""From standing answers to a reward model."""

from dataclasses import dataclass

import torch

from trading_rlhf.errors import NotEnoughAnswersError
from trading_rlhf.feedback import Answer, ReviewDesk, weights_by_reviewer
from trading_rlhf.loop.context import Context
from trading_rlhf.proposals import HORIZON, Proposal, TradeTensors
from trading_rlhf.reward import (
    Fitted,
    Quality,
    RewardRecord,
    Verdicts,
    fit_calibrated,
    save_reward_model,
)

__all__ = ["Learned", "answered_trades", "learn", "placebo_models"]

_REVIEWER_CAP = 0.4


@dataclass(frozen=True)
class Learned:
    """A stored reward model with what it came from.

    Attributes:
        record: what was stored.
        fitted: the model and its reviewers' effects.
        verdicts: the answers as tensors.
        reviewers: names in the order of the effects.
        quality: on held-out answers, None where there were too few.
    """

    record: RewardRecord
    fitted: Fitted
    verdicts: Verdicts
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
    verdicts, reviewers = _as_verdicts(pairs)
    fitted, measured = fit_calibrated(verdicts, config, HORIZON, context.generator("fit"))
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
        },
        subject=record.id,
    )
    return Learned(record, fitted, verdicts, reviewers, measured)


def placebo_models(context: Context, learned: Learned, draws: int) -> list[Fitted]:
    """The same fit on the same answers, shuffled: what learning from nothing looks like.

    One shuffle is one draw of luck, so several are taken and their figures averaged.
    """
    generator = context.generator("placebo")
    models = []
    for _ in range(draws):
        shuffled = learned.verdicts.shuffled(generator)
        fitted, _ = fit_calibrated(shuffled, context.config.fit, HORIZON, generator)
        models.append(fitted)
    return models


def _as_verdicts(pairs: list[tuple[Answer, Proposal]]) -> tuple[Verdicts, tuple[str, ...]]:
    """Verdicts as tensors; a resize is an approval of the reviewer's own weight."""
    answers = [answer for answer, _ in pairs]
    proposals = [proposal for _, proposal in pairs]
    reviewers = tuple(sorted({answer.reviewer for answer in answers}))
    targets = [
        proposal.target if answer.resized_to is None else answer.resized_to
        for answer, proposal in pairs
    ]
    approved = [float(answer.verdict in ("approve", "resize")) for answer in answers]
    verdicts = Verdicts.of_trades(
        TradeTensors.of(proposals, targets),
        torch.tensor(approved),
        torch.tensor([reviewers.index(answer.reviewer) for answer in answers]),
        torch.tensor(weights_by_reviewer(answers, _REVIEWER_CAP), dtype=torch.float32),
    )
    return verdicts, reviewers
