"""Only what reviewers approved, from its first trade on: a chapter of the backtest page."""

import numpy as np
import pandas as pd
import torch

from trading_rlhf.accounting import per_bar_returns, sharpe_ratio
from trading_rlhf.backtest import (
    ComparedArms,
    Plot,
    Section,
    Table,
    compare_arms,
    sharpe_standard_error,
)
from trading_rlhf.backtest.arm_tables import pair_table
from trading_rlhf.backtest.labels import percent
from trading_rlhf.loop import Context
from trading_rlhf.services.backtest_arms import APPROVED
from trading_rlhf.types import FloatArray

__all__ = ["approved_sections"]

_FEWEST = 40
"""Bars below which nothing is said of a difference."""


def approved_sections(context: Context, compared: ComparedArms) -> list[Section]:
    """Every arm from the first approved trade on; none where there is no such arm."""
    result, rows = compared.result, compared.rows
    if APPROVED not in rows:
        return []
    ordered = np.flatnonzero((result.traded[rows[APPROVED][0]] != 0).any(-1))
    if not len(ordered):
        return [Section(_TITLE, ["Nothing was approved, so this arm holds cash throughout."], [])]
    first = int(ordered[0])
    returns = per_bar_returns(torch.as_tensor(result.equity[:, first:]))
    curves = {name: returns[own].numpy() for name, own in rows.items()}
    line = (
        f"Approved trades begin on {result.dates[first].date()}, {returns.shape[-1]:,} bars before "
        "the end; until then this arm is in cash, and its figures in other chapters are mostly of "
        "cash. Here every arm counts from that close on."
    )
    parts: list[Table | Plot] = [
        Table("From the first approved trade on", _figures(compared, curves), _NOTE)
    ]
    if returns.shape[-1] < _FEWEST:
        return [Section(_TITLE, [line, f"Fewer than {_FEWEST} bars: no test."], parts)]
    tests = compare_arms(
        curves, context.generator("approved"), compared.bars_per_year,
        pairs=[(APPROVED, name) for name in curves if name != APPROVED], confidence=0.95,
    )  # fmt: skip
    parts.append(Table("Against the other arms, on these bars", pair_table(tests)))
    return [Section(_TITLE, [line], parts)]


def _figures(compared: ComparedArms, curves: dict[str, FloatArray]) -> pd.DataFrame:
    per_year, rows = compared.bars_per_year, {}
    for name, own in curves.items():
        total = float(((1.0 + own).prod(-1) - 1.0).mean())
        sharpe = float(sharpe_ratio(torch.as_tensor(own), per_year).mean())
        error = sharpe_standard_error(sharpe, own.shape[-1], per_year)
        rows[name] = {
            "Total return": percent(total),
            "Sharpe (yearly)": f"{sharpe:.2f} ± {error:.2f}",
        }
    table = pd.DataFrame(rows).T
    table.index.name = "arm"
    return table


_TITLE = "Only what was approved"
_NOTE = "After ± one standard error. The other arms hold what they held before."
