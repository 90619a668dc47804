"""What a backtest leaves: equity, orders and measures of a batch of strategies."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from trading_rlhf.accounting import (
    BARS_PER_YEAR,
    CostModel,
    annual_return,
    annual_volatility,
    hit_rate,
    max_drawdown,
    per_bar_returns,
    sharpe_ratio,
    sortino_ratio,
    total_return,
)
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["BacktestResult", "Conditions", "measure"]


@dataclass(frozen=True)
class Conditions:
    """What strategies were run on.

    Attributes:
        bars: prices.
        market: what moved the money.
        costs: the cost model.
        equity_usd: equity at the first bar (USD).
        delay: bars of review between decision and fill.
    """

    bars: Bars
    market: MarketTensors
    costs: CostModel
    equity_usd: float = 1e6
    delay: int = 0


@dataclass(frozen=True)
class BacktestResult:
    """Outcome of a batch of strategies.

    Attributes:
        dates: T session dates.
        symbols: N assets.
        equity: ``[B, T]`` marked at the close, starts at 1.0.
        weights: ``[B, T, N]`` held at the close (fraction of equity).
        traded: ``[B, T, N]`` change of weight ordered at the close of t (fraction of equity), when
            its review is over; with ``size_at="fill"`` measured from the close's weights.
        filled: ``[B, T, N]`` what filled in session t (fraction of equity at the fill).
        costs: ``[B, T]`` what trades and delistings cost in session t (same unit).
        measures: one row per strategy; fractions, yearly where the name says so.
        engine: which implementation ran.
        conditions: what it ran on; the tables and further measures need it.
    """

    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    equity: FloatArray
    weights: FloatArray
    traded: FloatArray
    filled: FloatArray
    costs: FloatArray
    measures: pd.DataFrame
    engine: str
    conditions: Conditions | None = None


def measure(
    equity: Tensor,
    weights: Tensor,
    traded: Tensor,
    costs: CostModel,
    *,
    paid: Tensor | None = None,
    bars_per_year: float = BARS_PER_YEAR,
) -> pd.DataFrame:
    """Measures of equity curves.

    Args:
        equity: ``[B, T]``.
        weights: ``[B, T, N]`` held at the close (fraction of equity).
        traded: ``[B, T, N]`` ordered changes (fraction of equity).
        costs: prices the turnover where ``paid`` is None.
        paid: ``[B, T]`` what trades cost in each session (fraction of equity).
        bars_per_year: bars in a year.

    Returns:
        One row per strategy: total_return, annual_return, volatility, sharpe, sortino,
        max_drawdown, turnover (sum of absolute changes a bar), cost (fraction of equity a year),
        exposure (mean gross), hit_rate (share of bars with profit among bars with exposure).
    """
    returns = per_bar_returns(equity)
    exposed = weights[:, 1:].abs().sum(-1) > 1e-9
    # Orders of the last bar fill nothing: there are as many trading bars as returns.
    orders = traded[:, :-1]
    cost = (costs.rate(orders) * orders.abs()).sum(-1) if paid is None else paid[:, 1:]
    columns = {
        "total_return": total_return(equity),
        "annual_return": annual_return(equity, bars_per_year),
        "volatility": annual_volatility(returns, bars_per_year),
        "sharpe": sharpe_ratio(returns, bars_per_year),
        "sortino": sortino_ratio(returns, bars_per_year),
        "max_drawdown": max_drawdown(equity),
        "turnover": orders.abs().sum(-1).mean(-1),
        "cost": cost.mean(-1) * bars_per_year,
        "exposure": weights.abs().sum(-1).mean(-1),
        "hit_rate": hit_rate(returns, exposed),
    }
    table = pd.DataFrame({name: value.cpu().numpy() for name, value in columns.items()})
    table.index.name = "strategy"
    return table
