"""The arms of a run's backtest: what each would have ordered over the test period."""

from dataclasses import dataclass

import numpy as np

from trading_rlhf.agent import Walk
from trading_rlhf.loop import (
    Context,
    Placebo,
    approved_arm,
    base_trial,
    given_trial,
    hold_targets,
    placebo_walk,
    stored_placebos,
    undisturbed_walks,
    walk_targets,
    walked_trial,
)
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["APPROVED", "PAIRS", "RunArm", "main_arm", "run_arms"]

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
        targets: ``[D, T, N]`` over the test bars (fraction of equity) of its draws, mostly one; NaN
            holds.
        trials: what counts each draw as a trial.
    """

    what: str
    targets: FloatArray
    trials: list[JsonDict]


def run_arms(context: Context, window: Bars) -> tuple[dict[str, RunArm], dict[str, str]]:
    """Walk the run's policies over the test period, where nobody refuses what the filter shows.

    Args:
        context: the run.
        window: its test bars.

    Returns:
        Arms by name, as far as they exist, and why others do not, by name.
    """
    hold = hold_targets(window, context.config.policy.max_gross)
    arms = {HOLD: RunArm(_WHAT[HOLD], hold[None], [given_trial(context, HOLD)])}
    base, record = context.policy("base")
    stored = context.reward_model()
    shaped = context.policy("shaped") if context.newest("policy", "shaped") else None
    walks = list(
        undisturbed_walks(
            context, base, stored[0] if stored else None, shaped[0] if shaped else None
        ).values()
    )
    trials = [base_trial(context, record.id)]
    for policy in (record, shaped[1] if shaped else None):
        if stored is not None and policy is not None:
            trials.append(
                _filtered(context, policy.id, stored[1].id, context.config.gate.threshold)
            )
    for name, walked, trial in zip((RAW, FILTERED, SHAPED), walks, trials, strict=False):
        arms[name] = RunArm(_WHAT[name], walk_targets(walked)[None], [trial])
    missing = {}
    placebos = stored_placebos(context)
    if placebos:
        arms[PLACEBO] = _placebo(context, placebos, walks[-1])
    else:
        missing[PLACEBO] = _NO_PLACEBO if stored is None else f"{_NO_PLACEBO} {_LEARN}"
    approved = approved_arm(context, stored is not None and stored[1].simulated)
    if approved.targets is None:
        missing[APPROVED] = approved.note
    else:
        trial = given_trial(context, f"approved by {approved.source} reviewers")
        arms[APPROVED] = RunArm(approved.note, approved.targets[None], [trial])
    return arms, missing


def _placebo(context: Context, placebos: list[Placebo], shaped: Walk) -> RunArm:
    """Every draw that the run keeps, at the amount shown that the shaped arm has."""
    walked, thresholds = placebo_walk(context, placebos, shaped)
    targets = np.stack([walk_targets(walked, draw) for draw in range(len(placebos))])
    trials = [
        _filtered(context, placebo.policy_id, placebo.model_id, threshold)
        for placebo, threshold in zip(placebos, thresholds, strict=True)
    ]
    draws = "one shuffle" if len(placebos) == 1 else f"mean of {len(placebos)} shuffles"
    return RunArm(f"{_WHAT[PLACEBO]} Figures: {draws}.", targets, trials)


def _filtered(context: Context, policy: str, model: str, threshold: float) -> JsonDict:
    return walked_trial(context, policy, model_id=model, threshold=threshold)


def main_arm(arms: dict[str, RunArm]) -> str:
    """The arm that a run is about: the last that learning has made."""
    return next(name for name in (SHAPED, FILTERED, RAW) if name in arms)


_NO_PLACEBO = "Nothing to claim an uplift against: the run keeps no learning from shuffled answers."
_LEARN = "'trading-rlhf learn' trains it beside the shaped policy."

_WHAT = {
    HOLD: "Equal weights of what trades at the first bar, bought once and never traded again.",
    RAW: "The policy trained on profit alone; every trade it proposes is executed.",
    FILTERED: "The raw policy; only what the reward model approves is executed.",
    PLACEBO: "The same learning from shuffled answers, at a threshold that shows as much.",
    SHAPED: "The policy trained on under the reward model as its desk, under the same filter.",
}
