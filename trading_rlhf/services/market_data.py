"""Fetching and checking bars for the command line."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.market import (
    check_bars,
    check_file,
    fetch_bars,
    load_sample,
    sample_names,
    write_bars,
)
from trading_rlhf.services.runs import system_clock
from trading_rlhf.types import JsonDict, Progress

__all__ = ["check_data", "fetch_data"]


def fetch_data(
    symbols: list[str], start: date, end: date, interval: str, to: Path, progress: Progress
) -> tuple[list[JsonDict], bool]:
    """Fetch bars and write what arrived.

    Returns:
        One row per symbol (symbol, bars, attempts, problem), and whether a file was written.
    """
    result = fetch_bars(
        symbols,
        start,
        end,
        interval,
        progress=progress,
        generator=np.random.default_rng(),
        clock=system_clock,
    )
    if result.bars is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_bars(result.bars, to)
    rows = [
        {
            "symbol": fetched.symbol,
            "bars": fetched.n_bars,
            "attempts": fetched.attempts,
            "left out": len(fetched.left_out),
            "problem": fetched.error or "",
        }
        for fetched in result.symbols
    ]
    return rows, result.bars is not None


def check_data(source: str) -> tuple[pd.DataFrame, bool]:
    """Findings about a sample or a file, and whether it cannot be used at all."""
    bundled = source in sample_names()
    report = check_bars(load_sample(source)) if bundled else check_file(source)
    return report.findings, report.refused
