"""The compiled backtest's border: what it can run, its tables, and measures from its sums."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import BPS, DAYS_PER_YEAR, CostModel
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.types import FloatArray

if TYPE_CHECKING:
    from trading_rlhf.backtest.kernels_cpu import MarketTable

__all__ = ["FusedPaths", "fuses", "market_table", "run_fused"]


@dataclass(frozen=True)
class FusedPaths:
    """What the compiled backtest found.

    Attributes:
        measures: ``[B]`` by name, as ``measure`` in ``backtest.engine``; and ``largest_gross``,
            infinite where a target was.
        equity: ``[B, T]`` when kept.
        weights: ``[B, T, N]`` at the close, when paths are kept.
        traded: ``[B, T, N]`` ordered at the close, when paths are kept.
        nights: ``[B, T]`` growth of equity from the close before to the fill, when paths are kept.
        costs: ``[B, T]`` paid in each session (fraction of equity), when paths are kept.
    """

    measures: dict[str, FloatArray]
    equity: FloatArray
    weights: FloatArray
    traded: FloatArray
    nights: FloatArray
    costs: FloatArray


def fuses(market: MarketTensors, costs: CostModel, delay: int = 0) -> bool:
    """Whether the compiled backtest knows the rules: none in USD or cash, no review, CPU."""
    plain = not costs.needs_equity and not costs.cash_account and delay == 0
    return plain and market.overnight.device.type == "cpu"


def run_fused(
    table: "MarketTable",
    targets: FloatArray,
    bars_per_year: float,
    *,
    at_fill: bool = False,
    max_gross: float | None = 0.98,
    keep_equity: bool = False,
    keep_paths: bool = False,
) -> FusedPaths:
    """Run strategies through the compiled law.

    Args:
        table: from ``market_table``, for the same ``at_fill``.
        targets: ``[B, T, N]`` float64 or float32 weights (fraction of equity); NaN holds.
        bars_per_year: bars in a year.
        at_fill: targets are weights of the equity at the fill.
        max_gross: limit of gross exposure; None for none.
        keep_equity: return equity.
        keep_paths: return weights, orders, nights and costs.
    """
    # numba takes half a second to load, which every command would pay.
    from trading_rlhf.backtest.kernels_cpu import COLUMNS, fused_backtest

    n_strategies, n_bars, n_assets = targets.shape
    curves, paths = n_strategies * keep_equity, n_strategies * keep_paths
    results = np.empty((n_strategies, len(COLUMNS)))
    equity = np.ones((curves, n_bars))
    weights, traded = (np.zeros((paths, n_bars, n_assets)) for _ in range(2))
    nights, costs = np.ones((paths, n_bars)), np.zeros((paths, n_bars))
    limit = math.inf if max_gross is None else max_gross
    fused_backtest(
        table, np.ascontiguousarray(targets), at_fill, limit,
        results, equity, weights, traded, nights, costs,
    )  # fmt: skip
    sums = dict(zip(COLUMNS, results.T, strict=True))
    return FusedPaths(
        _measures(sums, n_bars - 1, bars_per_year), equity, weights, traded, nights, costs
    )


def _measures(sums: dict[str, FloatArray], n: int, bars_per_year: float) -> dict[str, FloatArray]:
    deviation, downside = np.sqrt(sums["spread"] / (n - 1)), np.sqrt(sums["downside"] / n)
    root, mean = math.sqrt(bars_per_year), sums["mean"]

    def ratio(risk: FloatArray) -> FloatArray:
        return np.divide(mean, risk, out=np.zeros_like(mean), where=risk > 0) * root

    return {
        "total_return": sums["equity"] - 1.0,
        "annual_return": sums["equity"] ** (bars_per_year / n) - 1.0,
        "volatility": deviation * root,
        "sharpe": ratio(deviation),
        "sortino": ratio(downside),
        "max_drawdown": sums["drawdown"],
        "turnover": sums["turnover"] / n,
        "cost": sums["paid"] / n * bars_per_year,
        "exposure": sums["exposure"] / (n + 1),
        "hit_rate": sums["hits"] / np.maximum(sums["exposed"], 1.0),
        "largest_gross": sums["largest"],
    }


def market_table(
    market: MarketTensors, costs: CostModel, *, at_fill: bool = False
) -> "MarketTable":
    """Lay a market and its costs out as the compiled backtest reads them.

    Args:
        market: the market.
        costs: the cost model, without rules in USD or cash.
        at_fill: for targets of the equity at the fill.
    """
    # numba takes half a second to load, which every command would pay.
    from trading_rlhf.backtest.kernels_cpu import MarketTable
    from trading_rlhf.backtest.kernels_table import write_table

    n_bars, n_assets = market.shape
    one = torch.ones(n_assets, dtype=torch.float64, device=market.overnight.device)
    buys, sells = _numbers(costs.rate(one)), _numbers(costs.rate(-one))
    borrow = np.asarray(costs.borrow_bps_per_year, dtype=np.float64)
    # A short pays its fee on ``(|worth| - worth) / 2``.
    yearly = np.broadcast_to((borrow - costs.short_rebate_bps_per_year) * (BPS / 2), n_assets)
    nothing = np.zeros((0, 0))
    gone, dividends = market.delisted, market.dividends
    table = MarketTable(
        np.empty((n_bars, 8, n_assets)), np.empty((n_bars, n_assets)), np.empty((n_bars, 3))
    )
    write_table(
        _numbers(market.overnight), _numbers(market.intraday), market.fillable.cpu().numpy(),
        np.zeros((0, 0), np.bool_) if gone is None else gone.cpu().numpy(),
        np.zeros(0) if market.cost_scale is None else _numbers(market.cost_scale),
        nothing if dividends is None else _numbers(dividends),
        _numbers(market.days) / DAYS_PER_YEAR, np.stack([buys + sells, buys - sells]) / 2, yearly,
        costs.delisting_haircut,
        (costs.margin_bps_per_year * BPS, costs.cash_bps_per_year * BPS),
        at_fill, *table,
    )  # fmt: skip
    return table


def _numbers(x: Tensor) -> FloatArray:
    return x.to("cpu", torch.float64).contiguous().numpy()
