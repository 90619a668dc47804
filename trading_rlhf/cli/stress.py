"""``trading-rlhf stress``: a run's policy under the challenges of the real world."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trading_rlhf.cli.console import (
    print_facts,
    print_frame,
    print_json,
    print_line,
    progress_bars,
)
from trading_rlhf.services.secrets import load_secrets
from trading_rlhf.services.stages import Stage
from trading_rlhf.services.stress import stress_run

__all__ = ["stress"]


def stress(
    run: Path = Path("runs/demo"),
    *,
    policy: Literal["base", "shaped"] = "base",
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    levels: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    draws: int = 8,
    members: int = 3,
    desk: bool = False,
    seed: int | None = None,
    json: bool = False,
) -> int:
    """Walk a run's policy out of sample through delays, noise, gaps, costs and new regimes.

    Args:
        run: the run.
        policy: which of its policies.
        only: challenges, such as observation_noise dropped_bars; all where none is named.
        levels: easy, medium, hard; all where none is named.
        draws: draws of noise, where a challenge is random.
        members: policies trained anew, where a challenge changes what is learned.
        desk: filter trades by the run's reward model.
        seed: of noise and retraining; the run's own by default.
        json: print JSON.
    """
    with progress_bars() as progress:
        table, sentences, figures = stress_run(
            Stage(run, load_secrets(), None, {}, progress),
            policy=policy,
            only=only,
            levels=levels,
            seed=seed,
            draws=draws,
            members=members,
            desk=desk,
        )
    if json:
        print_json(figures)
        return 0
    print_frame("Score kept, and the change in bp per bar", table)
    if figures["retrained"] is not None:
        print_line("* trained anew with the run's budget, compared with others trained likewise.")
    for sentence in sentences:
        print_line(sentence)
    print_facts("", {"report": figures["report"], "figures": figures["figures"]})
    return 0
