"""``trading-rlhf promote`` and ``rollback``: which policy proposes."""

from pathlib import Path

from trading_rlhf.cli.console import (
    print_facts,
    print_frame,
    print_json,
    print_line,
    progress_bars,
)
from trading_rlhf.services.champions import (
    decision_sentence,
    decision_table,
    line_text,
    promote_run,
    roll_back_run,
)
from trading_rlhf.services.secrets import load_secrets
from trading_rlhf.services.stages import Stage

__all__ = ["promote", "rollback"]

_DESK = Path("runs/desk")


def promote(*, run: Path = _DESK, challenger: str | None = None, json: bool = False) -> int:
    """Let a challenger meet the champion on validation bars; the better one proposes.

    Its growth through the desk must be higher beyond luck (paired block bootstrap, p below .1) and
    its approval not down by more than 2 points, else the champion stays.

    Args:
        run: the run.
        challenger: id of a policy, or its first letters; the newest one by default.
        json: print JSON.
    """
    with progress_bars() as progress:
        facts = promote_run(Stage(run, load_secrets(), None, {}, progress), challenger)
    if json:
        print_json(facts)
        return 0
    for decision in facts["decisions"]:
        title = "On validation bars, through the reward model as the desk"
        if decision["reward_model"] is None:
            title = "On validation bars, nobody refusing (there is no reward model yet)"
        print_frame(title, decision_table(decision))
        print_line(decision_sentence(decision))
    return 0


def rollback(*, run: Path = _DESK, to: str | None = None, json: bool = False) -> int:
    """Put an earlier champion back; it proposes from now on.

    Args:
        run: the run.
        to: id of a former champion, or its first letters; the one before by default.
        json: print JSON.
    """
    with progress_bars() as progress:
        facts = roll_back_run(Stage(run, load_secrets(), None, {}, progress), to)
    if json:
        print_json(facts)
        return 0
    print_line(decision_sentence(facts["decision"]))
    print_facts("", {"line": line_text(facts["line"])})
    return 0
