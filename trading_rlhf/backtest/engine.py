"""Backtest target weights: a batch of strategies through the law, by the fastest way there is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest.fused import FusedPaths, fuses, market_table, run_fused
from trading_rlhf.backtest.inputs import (
    LARGEST_WEIGHT,
    as_targets,
    check_backtest,
    check_finite,
)
from trading_rlhf.backtest.reference import run_reference
from trading_rlhf.backtest.result import BacktestResult, Conditions, measure
from trading_rlhf.backtest.scan import run_scan, supports
from trading_rlhf.env.dynamics import Ledger, MarketTensors
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

if TYPE_CHECKING:
    from trading_rlhf.backtest.kernels_cpu import MarketTable

__all__ = ["Engine", "Keep", "SizeAt", "Targets", "run_backtest"]

SizeAt = Literal["close", "fill"]
Keep = Literal["paths", "equity", "measures"]
Engine = Literal["auto", "reference"]
Chunks: TypeAlias = Iterator[FloatArray | Tensor]
Targets: TypeAlias = FloatArray | Tensor | Chunks | Callable[[], Chunks]

_DEFAULT_MAX_GROSS = 0.98


def run_backtest(
    bars: Bars,
    targets: Targets,
    costs: CostModel | None = None,
    size_at: SizeAt = "close",
    device: str = "cpu",
    max_gross: float | None = None,
    *,
    equity_usd: float = 1e6,
    delay: int = 0,
    ledger: Ledger = "adjusted",
    market: MarketTensors | None = None,
    keep: Keep = "paths",
    engine: Engine = "auto",
) -> BacktestResult:
    """Run strategies that target weights.

    ``targets[b, t]`` is decided at the close of bar t and filled at the open of t+1+delay (at the
    close where bars have no open). Targets whose fill lies beyond the last bar fill nothing.

    Args:
        bars: prices.
        targets: ``[T, N]`` or ``[B, T, N]`` weights (fraction of equity, signed); NaN holds. Or an
            iterator over such batches, or a function that returns one: they are run one after the
            other, so with ``keep="measures"`` memory holds one batch at a time. A data frame may be
            labelled by dates and symbols.
        costs: cost model; None is the default model.
        size_at: "close" sizes orders in shares at the decision's close; "fill" reaches the weight
            of the equity at the fill, as a target percentage.
        device: torch device.
        max_gross: limit of gross exposure; buys and new shorts scale down to it. None is 0.98 for
            "close" and no limit for "fill".
        equity_usd: equity at the first bar, for rules in USD.
        delay: bars of review between decision and fill. With "close" orders wait as in
            ``env.orders``; with "fill" each bar's targets apply so much later.
        ledger: "adjusted" earns dividends in the returns, "raw" pays them in cash.
        market: used instead of the one built from bars: the same assets under other conditions.
        keep: "paths" is everything, "equity" the measures and the curves, "measures" those alone;
            what is not kept is empty in the result.
        engine: "auto" takes the compiled law on the processor, or its scan on a GPU, where it knows
            every rule asked for; "reference" is the law in torch. The result says which ran.

    Raises:
        AccountingError: targets have the wrong shape or infinite entries, bars are too few, or an
            argument is of the wrong kind or out of range.
        DataError: the market is not that of the bars, or they lack the volumes a rule needs.
    """
    check_backtest(
        bars, costs, market, device, size_at=size_at, max_gross=max_gross, equity_usd=equity_usd,
        delay=delay, ledger=ledger, keep=keep, engine=engine,
    )  # fmt: skip
    costs = costs if costs is not None else CostModel()
    if market is None:
        empty = np.zeros((*bars.shape, 1), dtype=np.float32)
        market = MarketTensors.for_costs(bars, empty, costs, device, ledger=ledger)
    limit = _DEFAULT_MAX_GROSS if max_gross is None and size_at == "close" else max_gross
    conditions = Conditions(bars, market, costs, equity_usd, delay)
    run = _Run(conditions, size_at == "fill", limit, device, keep, engine)
    chunks = targets() if callable(targets) else targets
    if not isinstance(chunks, Iterator):
        return run.batch(chunks)
    return _joined([run.batch(chunk) for chunk in chunks])


@dataclass(frozen=True)
class _Run:
    """How strategies are run: the same for every batch."""

    conditions: Conditions
    at_fill: bool
    max_gross: float | None
    device: str
    keep: Keep
    engine: Engine

    def batch(self, targets: FloatArray | Tensor) -> BacktestResult:
        """Run ``[T, N]`` or ``[B, T, N]`` targets."""
        batch = as_targets(self.conditions.bars, targets, self.device)
        if self._compiles:
            return self._compiled(batch)
        if self._scans:
            return self._scanned(batch)
        return self._reference(batch)

    @property
    def _compiles(self) -> bool:
        rules = self.conditions
        # What filled is told by orders alone where they are shares.
        known = self.engine == "auto" and not (self.at_fill and self.keep == "paths")
        here = torch.device(self.device).type == "cpu"
        return known and here and fuses(rules.market, rules.costs, rules.delay)

    @property
    def _scans(self) -> bool:
        rules, known = self.conditions, self.engine == "auto" and self.keep != "paths"
        return known and supports(rules.costs, self.device, rules.delay)

    @cached_property
    def _table(self) -> "MarketTable":
        market, costs = self.conditions.market, self.conditions.costs
        return market_table(market, costs, at_fill=self.at_fill)

    def _compiled(self, targets: Tensor) -> BacktestResult:
        paths = run_fused(
            self._table, targets.numpy(), self.conditions.bars.bars_per_year,
            at_fill=self.at_fill, max_gross=self.max_gross,
            keep_equity=self.keep != "measures", keep_paths=self.keep == "paths",
        )  # fmt: skip
        return self._measured(targets, paths, "compiled law on cpu")

    def _scanned(self, targets: Tensor) -> BacktestResult:
        paths = run_scan(
            self._table, targets, self.conditions.bars.bars_per_year,
            at_fill=self.at_fill, max_gross=self.max_gross, keep_equity=self.keep == "equity",
        )  # fmt: skip
        return self._measured(targets, paths, f"compiled scan on {self.device}")

    def _measured(self, targets: Tensor, paths: FusedPaths, name: str) -> BacktestResult:
        measures = dict(paths.measures)
        largest = measures.pop("largest_gross")
        # The law has not seen what the last bar wants, nor what the ruined do.
        unseen = bool(targets[:, -1].isinf().any()) or (measures["total_return"] <= -1.0).any()
        if unseen or not (largest <= LARGEST_WEIGHT).all():
            check_finite(self.conditions.bars, targets)
        table = pd.DataFrame(measures).rename_axis("strategy")
        filled = self._filled(paths) if self.keep == "paths" else paths.traded
        return self._result(
            (paths.equity, paths.weights, paths.traded, filled, paths.costs), table, name
        )

    def _filled(self, paths: FusedPaths) -> FloatArray:
        """Orders that fill, in equity at the fill (``[B, T, N]``)."""
        fills = self._table.assets[1:, 0] * self._table.assets[1:, 7]
        nights = paths.nights[:, 1:, None]
        filled = np.zeros_like(paths.traded)
        np.divide(paths.traded[:, :-1] * fills, nights, out=filled[:, 1:], where=nights > 0)
        return filled

    def _reference(self, targets: Tensor) -> BacktestResult:
        rules = self.conditions
        check_finite(rules.bars, targets)
        paths = run_reference(
            rules.market, targets.double(), rules.costs, at_fill=self.at_fill,
            max_gross=self.max_gross, equity_usd=rules.equity_usd, delay=rules.delay,
        )  # fmt: skip
        equity, weights, _, filled, paid = paths
        table = measure(
            equity, weights, filled, rules.costs, paid=paid, bars_per_year=rules.bars.bars_per_year
        )
        n_curves = 0 if self.keep == "measures" else len(equity)
        n_paths = len(equity) if self.keep == "paths" else 0
        kept = (n_curves, n_paths, n_paths, n_paths, n_paths)
        arrays = tuple(x[:n].cpu().numpy() for x, n in zip(paths, kept, strict=True))
        return self._result(arrays, table, f"torch reference on {self.device}")

    def _result(
        self, arrays: tuple[FloatArray, ...], table: pd.DataFrame, name: str
    ) -> BacktestResult:
        bars = self.conditions.bars
        equity, weights, traded, filled, paid = arrays
        return BacktestResult(
            bars.dates, bars.symbols, equity, weights, traded, filled, paid, table, name,
            self.conditions,
        )  # fmt: skip


def _joined(parts: list[BacktestResult]) -> BacktestResult:
    """Put the results of batches together, strategies numbered on."""
    if not parts:
        raise AccountingError(
            "an iterator of targets must give at least one batch", "none", "Check what makes them."
        )
    first = parts[0]
    joined: dict[str, Any] = {f.name: getattr(first, f.name) for f in fields(BacktestResult)}
    for name in ("equity", "weights", "traded", "filled", "costs"):
        joined[name] = np.concatenate([getattr(part, name) for part in parts])
    table = pd.concat([part.measures for part in parts], ignore_index=True)
    joined["measures"] = table.rename_axis("strategy")
    return BacktestResult(**joined)
