"""Champion and challenger for the command line: decisions as tables and sentences."""

from datetime import datetime

import pandas as pd

from trading_rlhf.loop import line_of_champions, promote, rollback
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.types import JsonDict

__all__ = ["decision_sentence", "decision_table", "line_text", "promote_run", "roll_back_run"]


def promote_run(stage: Stage, challenger: str | None = None) -> JsonDict:
    """Let a challenger of the run meet its champion.

    Args:
        stage: the run.
        challenger: id, or its beginning; None is the newest policy.

    Returns:
        ``decisions`` as in the line of champions, and ``champion``, who reigns now.

    Raises:
        RunError: there is no policy or no challenger, or one of the two cannot be compared.
    """
    with open_stage(stage) as context:
        stage.progress("validation", 0, 1)
        decisions = promote(context, challenger)
        stage.progress("validation", 1, 1)
        return {"decisions": decisions, "champion": decisions[-1]["id"]}


def roll_back_run(stage: Stage, to: str | None = None) -> JsonDict:
    """Put an earlier champion of the run back.

    Args:
        stage: the run.
        to: id of a former champion, or its beginning; None is the one before.

    Returns:
        ``decision``, the rollback as in the line of champions, ``champion`` and ``line``.

    Raises:
        RunError: there is no earlier champion, or ``to`` never was one.
    """
    with open_stage(stage) as context:
        decision = rollback(context, to)
        line = line_of_champions(context)
        return {"decision": decision, "champion": decision["id"], "line": line}


def decision_table(decision: JsonDict) -> pd.DataFrame:
    """Figures of a decision as text, one row per policy."""
    rows = {}
    for role, found in decision["figures"].items():
        rows[f"{role} {_short(found['id'])}"] = {
            "growth bp a bar": f"{found['profit']:+.2f}",
            "approval": _share(found["approval"]),
            "by count": _share(found["approval_count"]),
            "Sharpe": _number(found["sharpe"], found["sharpe_error"]),
            "shown a bar": f"{found['reviews']:.2f}",
            "turnover % a bar": f"{100 * found['turnover']:.1f}",
        }
    table = pd.DataFrame(rows).T
    table.index.name = "policy"
    return table


def decision_sentence(decision: JsonDict) -> str:
    """Who reigns after a decision and why, in one plain sentence."""
    name = f"{decision['kind']} policy {_short(decision['id'])}"
    event, bars = decision["event"], decision.get("bars")
    if event == "rolled_back":
        return f"The {name} is champion again, in the place of {_short(decision['over'])}."
    if decision["over"] is None:
        return f"The {name} is champion: {decision['reason']}, on {bars} validation bars."
    other = f"{decision['over_kind']} policy {_short(decision['over'])}"
    growth = (
        f"{decision['growth_difference_bps']:+.2f} bp a bar ({decision['low_bps']:+.2f} to "
        f"{decision['high_bps']:+.2f}, p {decision['p']:.3f}) on {bars} validation bars, "
        f"try {decision['tries']} on them"
    )
    if event == "promoted":
        return f"The {name} replaces the {other}: growth {growth}, approval {_change(decision)}."
    return (
        f"The {name} stays champion against the {other}: {decision['reason']}; growth {growth}, "
        f"approval {_change(decision)}."
    )


def line_text(line: list[JsonDict]) -> str:
    """The line of champions, one decision a row, for people."""
    return "\n".join(_row(decision) for decision in line)


def _row(decision: JsonDict) -> str:
    at = f"{datetime.fromisoformat(decision['at']):%Y-%m-%d %H:%M} UTC"
    name = f"{decision['kind']} {_short(decision['id'])}"
    event = decision["event"]
    role = "champion" if event == "kept" else "challenger"
    found = decision["figures"][role]
    shown = f"growth {found['profit']:+.2f} bp, approval {_share(found['approval'])}"
    if event == "rolled_back":
        return f"{at} {name} again, in the place of {_short(decision['over'])}: {shown}"
    if decision["over"] is None:
        return f"{at} {name}: {shown}, {decision['reason']}"
    verb = "over" if event == "promoted" else "stays against"
    over = f"{decision['over_kind']} {_short(decision['over'])}"
    return f"{at} {name} {verb} {over}: {shown}, p {decision['p']:.3f}"


def _change(decision: JsonDict) -> str:
    if decision["reward_model"] is None:
        return "unknown without a reward model"
    change = decision["approval_change"]
    return "not compared, too few trades" if change is None else f"{100 * change:+.1f} points"


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None, error: float | None) -> str:
    return "undefined" if value is None or error is None else f"{value:.2f} ± {error:.2f}"


def _short(name: str) -> str:
    return name[:8]
