"""Probability of backtest overfitting among the strategies that a run's sweeps have tried."""

import json

import torch

from trading_rlhf.backtest import overfitting_probability
from trading_rlhf.loop import Context
from trading_rlhf.store import read_events

__all__ = ["overfitting_sentence", "swept_returns"]

_FEWEST = 10
"""Strategies below which the best of them says nothing about overfitting."""

_BLOCKS = 16


def overfitting_sentence(context: Context) -> str:
    """PBO by combinatorially symmetric cross-validation in words, or what would make it known."""
    rows = swept_returns(context)
    bars = len(context.test_bars) - 1
    unknown = "The probability of backtest overfitting (PBO) is not known:"
    if bars < 2 * _BLOCKS:
        return f"{unknown} it needs {2 * _BLOCKS} returns, and there are {bars}."
    if len(rows) < _FEWEST:
        return (
            f"{unknown} it needs {_FEWEST} strategies tried over these bars, and this run's sweeps "
            f"hold {len(rows)}. Try more with 'trading-rlhf backtest --run {context.folder} "
            "--sweep grid.yaml', where grid.yaml holds lines such as 'train.iterations: [100, "
            "250]' and 'seeds: 5', then run this backtest again."
        )
    found = overfitting_probability(torch.tensor(rows, dtype=torch.float64), _BLOCKS)
    return (
        f"PBO {found.pbo:.2f} over {len(rows)} strategies of this run's sweeps: of "
        f"{found.splits:,} ways to halve the period, the strategy that was best in one half fell "
        f"below the median in the other in {100 * found.pbo:.0f}%."
    )


def swept_returns(context: Context) -> list[list[float]]:
    """Per-bar returns of each kept cell of a sweep over this run's test bars.

    A cell's file does not name its bars, so it counts where the ledger of trials holds the cell on
    these.
    """
    with context.store.read() as session:
        known = {
            event.payload["config"].get("cell")
            for event in read_events(session, "trial", kind="backtest")
            if event.payload.get("data") == context.bars.sha256
        }
    rows = []
    for file in sorted((context.folder / "sweeps" / "cells").glob("*.json")):
        try:
            returns = json.loads(file.read_text(encoding="utf-8"))["returns"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if file.stem in known and len(returns) == len(context.test_bars) - 1:
            rows.append(returns)
    return rows
