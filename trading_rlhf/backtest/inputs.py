"""What a user may hand to a backtest: a mistake is one sentence, said before anything runs."""

import math
from textwrap import shorten
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.env.inputs import (
    SETTINGS,
    Setting,
    as_numbers,
    check_market,
    check_settings,
    is_number,
    is_whole,
    one_of,
)
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars

__all__ = ["LARGEST_WEIGHT", "as_targets", "check_backtest", "check_finite"]

_FEWEST_BARS = 3
"""Two returns, so that they have a standard deviation."""

LARGEST_WEIGHT: Final = 1e6
"""Multiple of equity that a target may be: beyond it money loses its digits, at last its value."""

_SETTINGS: Final = {
    **SETTINGS,
    "size_at": one_of("close", "fill"),
    "ledger": one_of("adjusted", "raw"),
    "keep": one_of("paths", "equity", "measures"),
    "engine": one_of("auto", "reference"),
    "max_gross": Setting(
        lambda x: x is None or (is_number(x) and x >= 0),
        "a number of at least 0, or None",
        "Give a fraction of equity.",
    ),
    "equity_usd": Setting(
        lambda x: is_number(x) and 0 < x < math.inf,
        "positive and finite",
        "Give the account in USD.",
    ),
    "delay": Setting(is_whole, "zero or more bars", "Give whole bars."),
}


def check_backtest(
    bars: Bars,
    costs: CostModel | None,
    market: MarketTensors | None,
    device: str,
    **settings: object,
) -> None:
    """Check everything but the targets.

    Args:
        bars: prices.
        costs: cost model.
        market: used instead of the one built from bars.
        device: torch device.
        settings: the other arguments of ``run_backtest`` by name.

    Raises:
        AccountingError: bars are too few, rates are those of other assets, or an argument is of
            the wrong kind or out of range.
        DataError: the market is not that of the bars.
    """
    check_settings(
        _SETTINGS, AccountingError, bars=bars, costs=costs, market=market, device=device, **settings
    )
    if bars.shape[0] < _FEWEST_BARS:
        raise AccountingError(
            f"a backtest needs at least {_FEWEST_BARS} bars", str(bars.shape[0]), "Use more bars."
        )
    if costs is not None:
        costs.check_assets(bars.shape[1])
    if market is not None:
        check_market(market, bars, device)


def as_targets(bars: Bars, targets: object, device: str) -> Tensor:
    """Targets ``[B, T, N]`` in float32 where they are given so, else in float64.

    Args:
        bars: prices.
        targets: ``[T, N]`` or ``[B, T, N]``. A data frame may be labelled by dates and symbols;
            columns are then taken by name.
        device: torch device.

    Raises:
        AccountingError: they have the wrong shape or labels, hold no strategy, are masked, or are
            no numbers.
    """
    if isinstance(targets, pd.DataFrame):
        targets = _in_order(bars, targets)
    if np.ma.is_masked(targets):
        raise AccountingError(
            "targets must have a number or NaN everywhere",
            "a masked array, whose mask would be lost",
            "Use targets.filled(np.nan) to hold where it is masked.",
        )
    numbers = as_numbers(targets, "targets").detach()
    dtype = torch.float32 if numbers.dtype == torch.float32 else torch.float64
    batch = numbers.unsqueeze(0) if numbers.ndim == 2 else numbers
    if batch.ndim != 3 or tuple(batch.shape[1:]) != bars.shape:
        raise AccountingError(
            f"targets must have shape [T, N] or [B, T, N] with T, N = {bars.shape}",
            str(tuple(numbers.shape)),
            "Give one row per bar and one column per symbol.",
        )
    if not len(batch):
        raise AccountingError(
            "targets [B, T, N] must hold at least one strategy", "B = 0", "Check what makes them."
        )
    return batch.to(device, dtype)


def _in_order(bars: Bars, targets: pd.DataFrame) -> pd.DataFrame:
    """Columns in the order of the symbols; labels that are only numbers say nothing."""
    if not _is_numbered(targets.columns):
        columns = list(targets.columns)
        if len(columns) != len(bars.symbols) or set(columns) != set(bars.symbols):
            raise AccountingError(
                "columns of targets must be the symbols, each once",
                f"{len(columns)} columns: {shorten(', '.join(map(str, columns)), 60)}",
                f"Name them {shorten(', '.join(bars.symbols), 60)}.",
            )
        targets = targets[list(bars.symbols)]
    index = targets.index
    if _is_numbered(index):
        return targets
    if len(index) != len(bars.dates) or not (index == bars.dates).all():
        raise AccountingError(
            "rows of targets must be the dates of the bars",
            f"{len(index)} rows from {index[0]} to {index[-1]}" if len(index) else "no row",
            "Use the bars' dates as the index.",
        )
    return targets


def _is_numbered(labels: "pd.Index[Any]") -> bool:
    return isinstance(labels, pd.RangeIndex) or labels.equals(pd.RangeIndex(len(labels)))


def check_finite(bars: Bars, batch: Tensor) -> None:
    """Check that targets ``[B, T, N]`` are NaN or of a size that money can be counted in.

    Raises:
        AccountingError: one is infinite, or beyond ``LARGEST_WEIGHT``.
    """
    # NaN is beyond nothing.
    beyond = (batch.abs() > LARGEST_WEIGHT).nonzero()
    if len(beyond):
        strategy, t, asset = beyond[0].tolist()
        weight = float(batch[strategy, t, asset])
        size = "an infinite weight" if math.isinf(weight) else f"{weight:g}"
        raise AccountingError(
            f"target weights must be finite and at most {LARGEST_WEIGHT:,.0f} times equity, or NaN "
            "to hold",
            f"{size} for {bars.symbols[asset]} on {bars.dates[t].date()}",
            "Give fractions of equity.",
        )
