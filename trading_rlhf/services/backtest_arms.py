"""The arms of a run's backtest: what each would have ordered over the test period."""

from dataclasses import dataclass, field

from trading_rlhf.loop import (
    Context,
    approved_arm,
    hold_targets,
    placebo_walk,
    stored_placebo,
    undisturbed_walks,
    walk_targets,
)
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["PAIRS", "RunArm", "main_arm", "run_arms"]

HOLD, RAW, FILTERED = "buy and hold", "raw policy", "model filter"
SHAPED, PLACEBO, APPROVED = "shaped + filter", "placebo", "approved only"

PAIRS = (
    (SHAPED, PLACEBO),
    (FILTERED, PLACEBO),
    (APPROVED, PLACEBO),
    (SHAPED, FILTERED),
    (FILTERED, RAW),
    (APPROVED, RAW),
    (SHAPED, HOLD),
    (FILTERED, HOLD),
    (RAW, HOLD),
)
"""Which arms are tested against which, the placebo first."""


@dataclass(frozen=True)
class RunArm:
    """One arm.

    Attributes:
        what: a sentence on it.
        targets: ``[T, N]`` over the test bars (fraction of equity); NaN holds.
        ids: policy and reward model that it comes from.
    """

    what: str
    targets: FloatArray
    ids: JsonDict = field(default_factory=dict)


def run_arms(context: Context, window: Bars) -> tuple[dict[str, RunArm], list[str]]:
    """Walk the run's policies over the test period, where nobody refuses what the filter shows.

    Args:
        context: the run.
        window: its test bars.

    Returns:
        Arms by name, as far as they exist, and sentences on those that do not.
    """
    arms = {HOLD: RunArm(_WHAT[HOLD], hold_targets(window))}
    base, record = context.policy("base")
    stored = context.reward_model()
    shaped = context.policy("shaped") if context.newest("policy", "shaped") else None
    policies = {RAW: record.id, FILTERED: record.id, SHAPED: shaped[1].id if shaped else None}
    walks = undisturbed_walks(
        context, base, stored[0] if stored else None, shaped[0] if shaped else None
    )
    for name, walked in zip((RAW, FILTERED, SHAPED), walks.values(), strict=False):
        ids = {"policy": policies[name]}
        if name != RAW and stored is not None:
            ids["reward_model"] = stored[1].id
        arms[name] = RunArm(_WHAT[name], walk_targets(walked), ids)
    placebo = stored_placebo(context)
    if placebo is not None and shaped is not None:
        ids = {"policy": placebo.policy_id, "reward_model": placebo.model_id}
        walked = placebo_walk(context, placebo, list(walks.values())[-1])
        arms[PLACEBO] = RunArm(_WHAT[PLACEBO], walk_targets(walked), ids)
    missing = []
    approved = approved_arm(context, stored is not None and stored[1].simulated)
    if approved.targets is None:
        missing.append(f"{approved.name[:1].upper()}{approved.name[1:]}: no arm. {approved.note}")
    else:
        arms[APPROVED] = RunArm(approved.note, approved.targets, {"source": approved.source})
    return arms, missing


def main_arm(arms: dict[str, RunArm]) -> str:
    """The arm that a run is about: the last that learning has made."""
    return next(name for name in (SHAPED, FILTERED, RAW) if name in arms)


_WHAT = {
    HOLD: "Equal weights of what trades at the first bar, bought once and never traded again.",
    RAW: "The policy trained on profit alone; every trade it proposes is executed.",
    FILTERED: "The raw policy; only what the reward model approves is executed.",
    PLACEBO: "The same learning from shuffled answers, at a threshold that shows as much.",
    SHAPED: "The policy trained on under the reward model as its desk, under the same filter.",
}
