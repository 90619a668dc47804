"""Probability of backtest overfitting among the strategies that a run's sweeps have tried."""

import json

import numpy as np
import torch

from trading_rlhf.backtest import overfitting_probability, sharpe_per_bar
from trading_rlhf.loop import Context
from trading_rlhf.store import read_events

__all__ = ["overfitting_sentence", "swept_returns"]

_FEWEST = 10
"""Strategies below which the best of them says nothing about overfitting."""

_BLOCKS = 16


def overfitting_sentence(context: Context) -> str:
    """PBO by combinatorially symmetric cross-validation in words, or why there is none."""
    rows = swept_returns(context)
    bars = len(context.test_bars) - 1
    if len(rows) < _FEWEST or bars < 2 * _BLOCKS:
        return (
            f"The probability of backtest overfitting (PBO) is left out: it needs {_FEWEST} "
            f"strategies over these bars, and this run's sweeps hold {len(rows)}."
        )
    found = overfitting_probability(torch.tensor(rows, dtype=torch.float64), _BLOCKS)
    return (
        f"PBO {found.pbo:.2f} over {len(rows)} strategies of this run's sweeps: of "
        f"{found.splits:,} ways to halve the period, the strategy that was best in one half fell "
        f"below the median in the other in {100 * found.pbo:.0f}%."
    )


def swept_returns(context: Context) -> list[list[float]]:
    """Per-bar returns of each kept cell of a sweep over this run's test bars.

    A cell's file does not name its bars, so it counts where the ledger of trials holds its Sharpe
    ratio on these.
    """
    with context.store.read() as session:
        known = [
            event.payload["sharpe_per_bar"]
            for event in read_events(session, "trial")
            if event.subject == "sweep"
            and event.payload["data"] == context.bars.sha256
            and "sharpe_per_bar" in event.payload
        ]
    rows = []
    for file in sorted((context.folder / "sweeps" / "cells").glob("*.json")):
        try:
            returns = json.loads(file.read_text(encoding="utf-8"))["returns"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if (
            len(returns) == len(context.test_bars) - 1
            and np.isclose(known, sharpe_per_bar(np.array(returns)), rtol=1e-9, atol=0.0).any()
        ):
            rows.append(returns)
    return rows
