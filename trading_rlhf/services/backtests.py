"""Backtests for the command line: a run's policies, or weights from a file."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.backtest import arm_table, run_backtest
from trading_rlhf.errors import AccountingError, DataError
from trading_rlhf.market import Bars, load_bars, survivorship_note
from trading_rlhf.market.dates import read_dates
from trading_rlhf.services.backtest_chapters import Chapter, optional_chapters
from trading_rlhf.services.backtest_report import compare_run, figures_json, write_run_report
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["arm_table", "backtest_run", "backtest_weights", "read_weights_file"]


def backtest_run(stage: Stage, chapters: Collection[Chapter] = ()) -> tuple[pd.DataFrame, JsonDict]:
    """Backtest a run's policies over the test period and write its page.

    Arms: buy and hold, the base policy, what the reward model approves of it, the shaped policy
    under the same filter, the placebo, and only what reviewers approved, as far as they exist.
    Every arm goes through ``run_backtest`` and counts as a trial.

    Args:
        stage: the run.
        chapters: also made anew: "walk-forward" and "cpcv" train policies on other parts of the
            bars, "frontier" sweeps the filter's threshold, and the price and target approval of
            shaping; every training and every point counts as a trial.

    Returns:
        Measures, one row per arm, and facts: figures for machines, the report's path and what
        limits the result.
    """
    with open_stage(stage) as context:
        # First, so that their trials are counted in what is said of luck.
        others = optional_chapters(context, chapters, stage.progress)
        compared = compare_run(context, stage.progress)
        path = write_run_report(context, compared, others.sections, stage.progress)
        facts = {**figures_json(compared), **others.figures}
        facts["summary"] = [*facts["summary"], *others.said]
        note = survivorship_note(context.bars)
        return compared.measures, {**facts, "report": str(path), "note": note}


def backtest_weights(
    data: str, weights: Path, stage: Stage, nan_holds: bool
) -> tuple[pd.DataFrame, JsonDict]:
    """Backtest target weights from a CSV file on bars.

    Args:
        data: a bundled sample or a file of bars.
        weights: CSV with a ``date`` column and one column per symbol; rows decide at that close.
        stage: gives the costs.
        nan_holds: an empty cell holds the position instead of being an error.
    """
    bars = load_bars(data)
    targets = read_weights_file(weights, bars, nan_holds)
    config = stage.settings()
    result = run_backtest(
        bars, targets, config.costs,
        max_gross=config.policy.max_gross, equity_usd=config.equity,
    )  # fmt: skip
    return result.measures.set_index(pd.Index([weights.stem], name="strategy")), {
        "engine": result.engine,
        "bars": bars.shape[0],
        "symbols": list(bars.symbols),
        **_limit_note(targets, config.policy.max_gross),
        "note": survivorship_note(bars),
    }


def read_weights_file(path: Path, bars: Bars, nan_holds: bool) -> FloatArray:
    """Target weights ``[T, N]`` of bars from a CSV file; bars without a row hold.

    Raises:
        DataError: the file cannot be read, or names unknown dates or symbols or none.
        AccountingError: a weight is missing or infinite.
    """
    table = _dated(path, bars)
    if table.index.has_duplicates or not table.index.is_monotonic_increasing:
        raise DataError(
            "dates of weights must be sorted and unique", f"others in {path}", "Sort the file."
        )
    try:
        given = table[list(bars.symbols)].astype(float)
    except ValueError as error:
        raise DataError("weights must be numbers", str(error), "Correct the cell.") from error
    if not nan_holds and bool(given.isna().any(axis=None)):
        row, column = np.argwhere(given.isna().to_numpy())[0]
        raise AccountingError(
            "every weight must be a number",
            f"none for {given.columns[column]} on {given.index[row].date()}",
            "Fill the cell, or pass --nan-holds to hold the position there.",
        )
    return given.reindex(bars.dates).to_numpy(dtype=np.float64)


def _dated(path: Path, bars: Bars) -> pd.DataFrame:
    """The file's table by dates of bars, with a column for each symbol."""
    try:
        table = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as error:
        raise DataError(
            "weights come from a readable CSV file",
            f"{path}: {str(error).splitlines()[0]}",
            "Give a date column first and one column per symbol.",
        ) from error
    unknown = [str(c) for c in table.columns if c not in bars.symbols]
    missing = [s for s in bars.symbols if s not in table.columns]
    if unknown or missing:
        found = {"unknown": unknown, "missing": missing}
        raise DataError(
            f"weights need a date first and then the columns {', '.join(bars.symbols)}",
            " and ".join(f"{word} {', '.join(names)}" for word, names in found.items() if names),
            "Correct the header, with commas between its names.",
        )
    if table.empty:
        raise DataError("weights need at least one row", f"none in {path}", "Give a date's.")
    places, dates, _ = read_dates(pd.Series(table.index.astype(str)))
    # One clock for both, so that a difference can be told.
    same = (dates.tz is None) == (bars.dates.tz is None)
    strangers = dates.difference(bars.dates) if same else dates
    if len(strangers):
        raise DataError(
            "dates of weights must be those of bars",
            f"{len(strangers)} without a bar, first {strangers[0]:%Y-%m-%d}",
            f"Use dates from {bars.dates[0]:%Y-%m-%d} to {bars.dates[-1]:%Y-%m-%d} with a bar.",
        )
    return table.set_index(dates[places])


def _limit_note(targets: FloatArray, max_gross: float) -> JsonDict:
    """What is said where weights go beyond the limit of gross exposure; empty where none does."""
    wanted = np.nansum(np.abs(targets), axis=1)
    # As in the backtest: rounding alone exceeds nothing.
    beyond = wanted > max_gross * (1 + 1e-12)
    if not beyond.any():
        return {}
    return {
        "limit": f"Weights add up to more than {max_gross:g} of equity on {beyond.sum()} of "
        f"{len(wanted)} bars (at most {wanted.max():g}) and were scaled to it: see "
        "--policy.max-gross, and give fractions, not percentages."
    }
