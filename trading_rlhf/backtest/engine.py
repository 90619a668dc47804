"""Backtest target weights: every strategy of a batch through the law, bar by bar."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.accounting import (
    BARS_PER_YEAR,
    CostModel,
    annual_return,
    annual_volatility,
    max_drawdown,
    settle,
    sharpe_ratio,
)
from trading_rlhf.env import MarketTensors, advance, advance_to_weights
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["BacktestResult", "SizeAt", "measure", "run_backtest"]

SizeAt = Literal["close", "fill"]

_DEFAULT_MAX_GROSS = 0.98

_FEWEST_BARS = 3
"""Two returns, so that they have a standard deviation."""


@dataclass(frozen=True)
class BacktestResult:
    """Outcome of a batch of strategies.

    Attributes:
        dates: T session dates.
        symbols: N assets.
        equity: ``[B, T]`` marked at the close, starts at 1.0.
        weights: ``[B, T, N]`` held at the close (fraction of equity).
        traded: ``[B, T, N]`` change of weight ordered at the close of t (fraction of equity);
            with ``size_at="fill"`` measured from the close's weights.
        measures: one row per strategy; fractions, yearly where the name says so.
        engine: which implementation ran.
    """

    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    equity: FloatArray
    weights: FloatArray
    traded: FloatArray
    measures: pd.DataFrame
    engine: str


def run_backtest(
    bars: Bars,
    targets: FloatArray | Tensor,
    costs: CostModel | None = None,
    size_at: SizeAt = "close",
    device: str = "cpu",
    max_gross: float | None = None,
) -> BacktestResult:
    """Run strategies that target weights.

    ``targets[b, t]`` is decided at the close of bar t and filled at the open of t+1 (at the close
    of t+1 where bars have no open). The targets of the last bar fill nothing.

    Args:
        bars: prices.
        targets: ``[T, N]`` or ``[B, T, N]`` weights (fraction of equity, signed); NaN holds.
        costs: cost model; None is the default model.
        size_at: "close" sizes orders in shares at the decision's close; "fill" reaches the weight
            of the equity at the fill, as a target percentage.
        device: torch device.
        max_gross: limit of gross exposure; buys and new shorts scale down to it. None is 0.98 for
            "close" and no limit for "fill".

    Raises:
        AccountingError: targets have the wrong shape or infinite entries, or bars are too few.
    """
    batch = _check_targets(bars, targets, device)
    costs = costs if costs is not None else CostModel()
    empty = np.zeros((*bars.shape, 1), dtype=np.float32)
    market = MarketTensors.from_bars(bars, empty, device)
    limit = _DEFAULT_MAX_GROSS if max_gross is None and size_at == "close" else max_gross
    held = torch.zeros_like(batch[:, 0])
    equity = torch.ones(batch.shape[0], dtype=torch.float64, device=device)
    curve, weights, traded = [equity], [held], []
    for t in range(bars.shape[0] - 1):
        now = torch.tensor(t, device=device)
        hold = batch[:, t].isnan() | (equity <= 0).unsqueeze(-1)
        change = torch.where(hold, 0.0, batch[:, t] - held)
        if limit is not None:
            change = settle(held, change, limit) - held
        if size_at == "close":
            held, growth = advance(market, now, held, change, costs)
        else:
            target = torch.where(hold, torch.nan, held + change)
            held, growth = advance_to_weights(market, now, held, target, costs)
        equity = equity * growth
        curve.append(equity)
        weights.append(held)
        traded.append(change)
    traded.append(torch.zeros_like(held))
    path = torch.stack(curve, 1)
    holding, orders = torch.stack(weights, 1), torch.stack(traded, 1)
    table = measure(path, holding, orders, costs)
    return BacktestResult(
        bars.dates, bars.symbols, path.cpu().numpy(), holding.cpu().numpy(),
        orders.cpu().numpy(), table, f"torch reference on {device}",
    )  # fmt: skip


def measure(equity: Tensor, weights: Tensor, traded: Tensor, costs: CostModel) -> pd.DataFrame:
    """Measures of equity curves.

    Args:
        equity: ``[B, T]``.
        weights: ``[B, T, N]`` held at the close (fraction of equity).
        traded: ``[B, T, N]`` ordered changes (fraction of equity).
        costs: prices the turnover.

    Returns:
        One row per strategy: total_return, annual_return, volatility, sharpe, sortino,
        max_drawdown, turnover (sum of absolute changes a bar), cost (fraction of equity a year),
        exposure (mean gross), hit_rate (share of bars with profit among bars with exposure).
    """
    before = equity[:, :-1]
    alive = before > 0
    returns = torch.where(alive, equity[:, 1:] / torch.where(alive, before, 1.0) - 1.0, 0.0)
    downside = returns.clamp(max=0).square().mean(-1).sqrt()
    exposed = weights[:, 1:].abs().sum(-1) > 1e-9
    hits = ((returns > 0) & exposed).sum(-1).double() / exposed.sum(-1).clamp(min=1)
    # Orders of the last bar fill nothing: there are as many trading bars as returns.
    orders = traded[:, :-1]
    paid = (costs.rate(orders) * orders.abs()).sum(-1).mean(-1)
    scale = BARS_PER_YEAR**0.5
    sortino = torch.where(downside > 0, returns.mean(-1) / downside.clamp(min=1e-18) * scale, 0.0)
    columns = {
        "total_return": equity[:, -1] - 1.0,
        "annual_return": annual_return(equity),
        "volatility": annual_volatility(returns),
        "sharpe": sharpe_ratio(returns),
        "sortino": sortino,
        "max_drawdown": max_drawdown(equity),
        "turnover": orders.abs().sum(-1).mean(-1),
        "cost": paid * BARS_PER_YEAR,
        "exposure": weights.abs().sum(-1).mean(-1),
        "hit_rate": hits,
    }
    table = pd.DataFrame({name: value.cpu().numpy() for name, value in columns.items()})
    table.index.name = "strategy"
    return table


def _check_targets(bars: Bars, targets: FloatArray | Tensor, device: str) -> Tensor:
    if bars.shape[0] < _FEWEST_BARS:
        raise AccountingError(
            f"a backtest needs at least {_FEWEST_BARS} bars", str(bars.shape[0]), "Use more bars."
        )
    try:
        batch = torch.as_tensor(targets, dtype=torch.float64, device=device)
    except (TypeError, ValueError) as error:
        raise AccountingError(
            "targets must be an array of numbers", str(error), "Pass a float array."
        ) from error
    given = tuple(batch.shape)
    if batch.ndim == 2:
        batch = batch.unsqueeze(0)
    if batch.ndim != 3 or tuple(batch.shape[1:]) != bars.shape:
        raise AccountingError(
            f"targets must have shape [T, N] or [B, T, N] with T, N = {bars.shape}",
            str(given),
            "Give one row per bar and one column per symbol.",
        )
    infinite = batch.isinf().nonzero()
    if len(infinite):
        _, t, asset = infinite[0].tolist()
        raise AccountingError(
            "target weights must be finite, or NaN to hold",
            f"an infinite weight for {bars.symbols[asset]} on {bars.dates[t].date()}",
            "Correct it.",
        )
    return batch
