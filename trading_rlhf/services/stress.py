"""Challenges for the command line: a run's policy under the difficulties of the real world."""

from collections.abc import Sequence

import pandas as pd

from trading_rlhf.env import CHALLENGES, LEVELS, challenge
from trading_rlhf.errors import ConfigError
from trading_rlhf.loop import (
    StressPlan,
    record_stress,
    stress,
    stress_sentences,
    stress_table,
    write_stress,
)
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.types import JsonDict

__all__ = ["stress_run"]

_MOST_DRAWS, _MOST_MEMBERS = 200, 20


def stress_run(
    stage: Stage,
    *,
    policy: str,
    only: Sequence[str] = (),
    levels: Sequence[str] = (),
    seed: int | None = None,
    draws: int = 8,
    members: int = 3,
    desk: bool = False,
) -> tuple[pd.DataFrame, list[str], JsonDict]:
    """Walk a policy of a run through the challenges; write its page and its figures.

    Args:
        stage: the run.
        policy: "base" or "shaped".
        only: names of challenges; none means all.
        levels: "easy", "medium", "hard"; none means all.
        seed: of noise and retraining; None is the run's.
        draws: of noise.
        members: policies trained anew where a challenge asks for it.
        desk: filter trades by the run's reward model.

    Returns:
        The table, what it says in sentences, and the figures.

    Raises:
        ConfigError: an unknown challenge or level, or counts below one.
        RunError: the run lacks the policy or the reward model.
    """
    names = tuple(name for name in CHALLENGES if name in only or not only)
    chosen = tuple(level for level in LEVELS if level in levels or not levels)
    # Asked for each word by itself, so that a wrong one is named.
    for name in only or names:
        for level in levels or chosen:
            challenge(name, level)
    if not 1 <= draws <= _MOST_DRAWS or not 1 <= members <= _MOST_MEMBERS:
        raise ConfigError(
            f"draws must be 1 to {_MOST_DRAWS} and members 1 to {_MOST_MEMBERS}",
            f"{draws} and {members}",
            "Choose within that range.",
        )
    if seed is not None and not 0 <= seed < 2**31:
        raise ConfigError("a seed is 0 or more, below 2**31", str(seed), "Choose another.")
    with open_stage(stage) as context:
        seed = context.config.seed if seed is None else seed
        plan = StressPlan(policy, names, chosen, seed, draws, members, desk)
        result = stress(context, plan, stage.progress)
        page, figures = write_stress(context, plan, result)
        record_stress(context, plan, result)
        files = {"report": str(page), "figures": str(figures)}
        return stress_table(result), stress_sentences(result), {**result.to_json(), **files}
