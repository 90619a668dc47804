"""What reviewers' answers were worth, as a chapter of the backtest's page."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from trading_rlhf.backtest import Section, Table
from trading_rlhf.loop import Attribution, Context, attribute

__all__ = ["people_sections"]

_SOURCES = {"human": "", "simulated": " (simulated)", "nobody": "nobody"}


def people_sections(context: Context) -> list[Section]:
    """The chapter on reviewers; none where nobody has answered."""
    found = attribute(context)
    if not len(found.differences):
        return []
    return [
        Section(
            "Reviewers",
            list(found.sentences[:1]),
            [
                Table("Profit of what was answered", _groups(found), _NOTE + _left_out(found)),
                Table("Approved less rejected, by reviewer", _reviewers(found)),
            ],
        )
    ]


def _groups(found: Attribution) -> pd.DataFrame:
    """One row per source and group, all reviewers together."""
    rows = {}
    for row in found.table.to_dict(orient="records"):
        if row["reviewer"] in ("all", ""):
            name = f"{row['group']}{'' if row['source'] == 'nobody' else _SOURCES[row['source']]}"
            rows[name] = {"Trades": f"{row['items']:,}", **_figure(row)}
    return _named(rows, "answer")


def _reviewers(found: Attribution) -> pd.DataFrame:
    rows = {}
    for row in found.differences.to_dict(orient="records"):
        name = f"{row['reviewer']}{_SOURCES[row['source']]}"
        known = not row["note"]
        rows[name] = {
            "Approved": f"{row['approved']:,}",
            "Rejected": f"{row['rejected']:,}",
            **_figure(row),
            "p": f"{row['p_value']:.3f}" if known else "",
        }
    return _named(rows, "reviewer")


def _figure(row: dict[Hashable, Any]) -> dict[str, str]:
    if row["note"]:
        return {"Profit (bps of notional)": str(row["note"]), "90% interval": ""}
    return {
        "Profit (bps of notional)": f"{row['bps']:+.0f}",
        "90% interval": f"{row['low']:+.0f} to {row['high']:+.0f}",
    }


def _left_out(found: Attribution) -> str:
    reasons = [f"{count:,} {reason}" for reason, count in found.left_out.items()]
    return f" Left out: {', '.join(reasons)}." if reasons else ""


def _named(rows: dict[str, dict[str, str]], name: str) -> pd.DataFrame:
    table = pd.DataFrame(rows).T
    table.index.name = name
    return table


_NOTE = (
    "Each trade on its own, at the same fills and costs, over the 20 sessions after it; a reviewer "
    "who adds something approves what earns more than what is rejected."
)
