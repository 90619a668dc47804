"""Which proposals become signals: live, in time, and approved. Silence is no trade."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trading_rlhf.broker.signal import Approval, Refusal, Signal
from trading_rlhf.feedback import Answer
from trading_rlhf.proposals import Proposal

__all__ = ["ModelOpinion", "ReleaseConfig", "release_signals"]

# A resize to less than this share of the change is rounding.
_NO_TRADE = 1e-6


class ReleaseConfig(BaseModel):
    """Whose word lets a trade out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: Literal["human", "model", "both"] = Field(
        "human", description="Who must approve: reviewers, the reward model, or both."
    )
    threshold: float = Field(
        0.5, gt=0, lt=1, description="The reward model approves with p above this."
    )
    approvals: int = Field(1, ge=1, description="Reviewers that must approve (gate human, both).")


@dataclass(frozen=True)
class ModelOpinion:
    """What the reward model thinks of the proposals.

    Attributes:
        reward_model_id: the model.
        probabilities: probability of approval by proposal id.
        human_only: fitted on human answers alone; else it releases to the embedded broker only.
    """

    reward_model_id: str
    probabilities: Mapping[str, float]
    human_only: bool


def release_signals(
    proposals: Sequence[Proposal],
    answers: Iterable[Answer],
    now: datetime,
    gate: ReleaseConfig,
    *,
    chain_head: str,
    model: ModelOpinion | None = None,
    strategy: str | None = None,
    revision: int = 0,
) -> tuple[list[Signal], list[Refusal]]:
    """Turn approved proposals into signals.

    Uncertified and hindsight answers do not count, and neither does an answer after the proposal's
    expiry. One reject that counts stops the trade whatever the gate. Where reviewers want
    different sizes, the smallest change is taken.

    Args:
        proposals: the candidates; of one symbol only the latest live one can be released.
        answers: standing answers (after undo, one per reviewer and proposal).
        now: the present, time-zone aware.
        gate: whose approval is needed.
        chain_head: signed head of the audit chain, kept in every signal.
        model: the reward model's opinion, needed by the gates ``model`` and ``both``.
        strategy: name under which orders are counted; the proposal's market by default.
        revision: raise it to replace orders already made for the same decisions.

    Returns:
        Signals, and one refusal with its sentence for every other proposal.
    """
    by_proposal: dict[str, list[Answer]] = {}
    for answer in answers:
        by_proposal.setdefault(answer.proposal_id, []).append(answer)
    latest = _latest(proposals)
    signals: list[Signal] = []
    refusals: list[Refusal] = []
    for proposal in proposals:
        given = by_proposal.get(proposal.id, [])
        counted = [answer for answer in given if _counts(answer, proposal, now)]
        reason = (
            _not_live(proposal, now, latest[proposal.market, proposal.symbol])
            or _rejected(counted)
            or _not_approved(proposal, counted, len(given) - len(counted), gate, model)
        )
        target = _agreed_target(proposal, counted)
        if reason is None and (target - proposal.held) / proposal.change < _NO_TRADE:
            reason = "the reviewers resized it to no trade"
        if reason:
            text = f"{proposal.symbol} was not released because {reason}."
            refusals.append(Refusal(proposal.id, proposal.symbol, text))
        else:
            signal = _signal(proposal, target, counted, gate, model, chain_head)
            signals.append(replace(signal, strategy=strategy or proposal.market, revision=revision))
    return signals, refusals


def _latest(proposals: Sequence[Proposal]) -> dict[tuple[str, str], datetime]:
    """When each symbol was last decided live: a new proposal supersedes an older one."""
    latest: dict[tuple[str, str], datetime] = {}
    for proposal in proposals:
        key = (proposal.market, proposal.symbol)
        latest.setdefault(key, datetime.min.replace(tzinfo=UTC))
        if proposal.mode == "live":
            latest[key] = max(latest[key], proposal.decided_at)
    return latest


def _counts(answer: Answer, proposal: Proposal, now: datetime) -> bool:
    in_time = answer.at <= min(now, proposal.expires_at)
    return answer.certified and not answer.hindsight and in_time


def _not_live(proposal: Proposal, now: datetime, latest: datetime) -> str | None:
    if proposal.mode != "live":
        return f"it is a {proposal.mode} item, and only live ones are traded"
    if now < proposal.decided_at:
        return f"it is decided only at {_minute(proposal.decided_at)}"
    if now > proposal.expires_at:
        return f"it expired at {_minute(proposal.expires_at)}"
    if proposal.decided_at < latest:
        return f"a later proposal of {_minute(latest)} replaces it"
    return None


def _rejected(counted: Sequence[Answer]) -> str | None:
    names = sorted({answer.reviewer for answer in counted if answer.verdict == "reject"})
    return f"{' and '.join(names)} rejected it" if names else None


def _approving(counted: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in counted if answer.verdict in ("approve", "resize")]


def _not_approved(
    proposal: Proposal,
    counted: Sequence[Answer],
    ignored: int,
    gate: ReleaseConfig,
    model: ModelOpinion | None,
) -> str | None:
    if gate.gate != "model":
        given = len({answer.reviewer for answer in _approving(counted)})
        if given < gate.approvals:
            reason = f"{given} of {gate.approvals} needed reviewers approved it"
            return f"{reason} ({ignored} more answers do not count)" if ignored else reason
    if gate.gate == "human":
        return None
    p = model.probabilities.get(proposal.id) if model else None
    if p is None:
        return "the reward model has no opinion of it"
    if not p > gate.threshold:
        return f"the reward model gives it {p:.0%}, not more than {gate.threshold:.0%}"
    return None


def _agreed_target(proposal: Proposal, counted: Sequence[Answer]) -> float:
    """Return the weight with the smallest change that an approving reviewer asked for."""
    wanted = [
        proposal.target if answer.resized_to is None else answer.resized_to
        for answer in _approving(counted)
    ]
    return min(wanted or [proposal.target], key=lambda weight: abs(weight - proposal.held))


def _signal(
    proposal: Proposal,
    target: float,
    counted: Sequence[Answer],
    gate: ReleaseConfig,
    model: ModelOpinion | None,
    chain_head: str,
) -> Signal:
    approving = _approving(counted)
    by_model = gate.gate != "human" and model is not None
    return Signal(
        proposal_id=proposal.id,
        strategy=proposal.market,
        symbol=proposal.symbol,
        side="buy" if target > proposal.held else "sell",
        held=proposal.held,
        target=target,
        shares=abs(target - proposal.held) * proposal.equity / proposal.price,
        price=proposal.price,
        equity=proposal.equity,
        known_at=proposal.known_at,
        decided_at=proposal.decided_at,
        valid_until=proposal.expires_at,
        approvals=tuple(
            Approval(answer.event_id, answer.reviewer, str(answer.verdict)) for answer in approving
        ),
        p=model.probabilities.get(proposal.id) if model else None,
        policy_id=proposal.policy_id,
        reward_model_id=model.reward_model_id if model else None,
        data_sha256=proposal.data_sha256,
        chain_head=chain_head,
        simulated=any(answer.simulated for answer in approving)
        or (by_model and model is not None and not model.human_only),
    )


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
