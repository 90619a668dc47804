"""Findings as a table: symbol, date, rule, value and what was done."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.market.bars import Bars

__all__ = ["Findings", "found", "joined", "no_findings", "report_table", "FINDING_COLUMNS"]

FINDING_COLUMNS: Final = ["symbol", "date", "rule", "value", "action"]

Findings: TypeAlias = pd.DataFrame
"""One row per finding with the columns of ``FINDING_COLUMNS``; ``joined`` puts them in order."""

_Rows: TypeAlias = npt.NDArray[np.intp]


def found(
    bars: Bars,
    rows: _Rows,
    columns: _Rows,
    rule: str,
    values: Sequence[Any],
    action: str = "reported",
    dates: pd.DatetimeIndex | None = None,
) -> Findings:
    """Return one finding per cell.

    Args:
        bars: the bars.
        rows: places in ``dates``.
        columns: the assets.
        rule: its name.
        values: one per cell.
        action: what was done.
        dates: those that ``rows`` counts; the bars' own if None.
    """
    when = bars.dates if dates is None else dates
    places, inverse = np.unique(rows, return_inverse=True)
    words = [f"{d:%Y-%m-%d}" if d.tzinfo is None else d.isoformat() for d in when[places]]
    return pd.DataFrame(
        {
            "symbol": np.array(bars.symbols, dtype=object)[columns],
            "date": np.array(words, dtype=object)[inverse] if words else [],
            "rule": rule,
            "value": pd.Series(list(values), dtype=object),
            "action": action,
            "asset": columns,
        }
    )


def no_findings() -> Findings:
    """Return an empty table."""
    return pd.DataFrame(columns=[*FINDING_COLUMNS, "asset"])


def report_table(pieces: Iterable[Findings]) -> Findings:
    """Return all findings under ``FINDING_COLUMNS``, asset by asset and then by date."""
    return joined(pieces)[FINDING_COLUMNS]


def joined(pieces: Iterable[Findings]) -> Findings:
    """Return all findings asset by asset and then by date."""
    filled = [piece for piece in pieces if not piece.empty]
    if not filled:
        return no_findings()
    table = pd.concat(filled, ignore_index=True)
    return table.sort_values(["asset", "date"], kind="stable", ignore_index=True)
