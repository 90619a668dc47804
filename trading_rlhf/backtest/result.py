"""What a backtest leaves: equity, orders and measures of a batch of strategies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
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
from trading_rlhf.backtest.breakdown import (
    asset_table,
    benchmark_returns,
    further_measures,
    split_table,
    volatility_regimes,
)
from trading_rlhf.backtest.flows import Conditions, Flows, money_flows
from trading_rlhf.backtest.trade_tables import order_table, position_table, trade_table
from trading_rlhf.backtest.vectorbt_portfolio import vectorbt_portfolio
from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray

__all__ = ["BacktestResult", "Conditions", "measure"]


@dataclass(frozen=True)
class BacktestResult:
    """Outcome of a batch of strategies.

    Tables and further measures are worked out when they are asked for; where only measures were
    kept (``equity`` and ``weights`` are empty), asking is an ``AccountingError``.

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

    @cached_property
    def orders(self) -> pd.DataFrame:
        """Fills of orders, closings by delisting and ruin (USD); see ``order_table``."""
        return order_table(self._conditions, self._flows)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Closings of positions, or of parts, at average cost (USD); see ``trade_table``."""
        return trade_table(self._conditions, self._flows, self.weights)

    @cached_property
    def positions(self) -> pd.DataFrame:
        """Positions from their first entry to their last exit (USD); see ``position_table``."""
        return position_table(self._conditions, self._flows, self.weights)

    def select(self, strategies: int | Sequence[int]) -> "BacktestResult":
        """Return the result of some strategies, numbered anew, so that tables stay small.

        Raises:
            AccountingError: there is no such strategy.
        """
        rows = np.atleast_1d(np.asarray(strategies))
        total = len(self.measures)
        if rows.dtype.kind not in "iu" or rows.size == 0 or not (abs(rows + 0.5) < total).all():
            raise AccountingError(
                f"strategies must be numbers from 0 to {total - 1}",
                str(strategies),
                "Choose rows of measures.",
            )
        names = ("equity", "weights", "traded", "filled", "costs")
        arrays = {name: getattr(self, name) for name in names}
        measures = self.measures.iloc[rows].reset_index(drop=True).rename_axis("strategy")
        kept = {name: x[rows] if len(x) == total else x for name, x in arrays.items()}
        return replace(self, measures=measures, **kept)

    def full_measures(self, benchmark: npt.ArrayLike | None = None) -> pd.DataFrame:
        """Measures, and those that need the whole curve.

        Args:
            benchmark: equity ``[T]`` or returns ``[T - 1]``; None holds equal weights.

        Returns:
            ``measures`` with calmar, drawdown_length (bars), cvar (worst 5% of bars, a loss
            positive), alpha (a year) and beta.

        Raises:
            AccountingError: a benchmark that does not fit, or no curves were kept.
        """
        conditions = self._conditions
        self._check_kept("equity")
        market = benchmark_returns(benchmark, conditions)
        further = further_measures(self.equity, market, conditions.bars.bars_per_year)
        return self.measures.assign(**further)

    def by_year(self) -> pd.DataFrame:
        """Measures of each calendar year, by strategy; see ``split_table``."""
        return self._split(self.dates.year, "year")

    def by_regime(self, labels: npt.ArrayLike | None = None) -> pd.DataFrame:
        """Measures of each regime, by strategy; see ``split_table``.

        Args:
            labels: ``[T]`` the regime of each bar, which must be known at the close before it.
                None is the third of volatility in which equal weights were
                (``volatility_regimes``).

        Raises:
            AccountingError: labels do not fit the bars.
        """
        if labels is None:
            held = benchmark_returns(None, self._conditions).numpy()
            return self._split(volatility_regimes(held), "regime")
        given = np.asarray(labels)
        if given.shape != (len(self.dates),) or pd.isna(given[1:]).any():
            raise AccountingError(
                f"labels must name the regime of each of {len(self.dates)} bars",
                f"shape {given.shape}, {int(pd.isna(given).sum())} missing",
                "Give one for every bar.",
            )
        return self._split(given, "regime")

    def by_asset(self) -> pd.DataFrame:
        """What each asset added to the total return, by strategy; see ``asset_table``."""
        return asset_table(self.symbols, self._flows, self.weights)

    def to_vectorbt(self, strategy: int | None = 0) -> Any:
        """A ``vectorbt.Portfolio`` with the same equity, for its plots and statistics.

        Args:
            strategy: which one; None takes all, a group each.

        Raises:
            ConfigError: vectorbt is not installed.
            AccountingError: there is no such strategy, or it did what vectorbt does not know; see
                ``vectorbt_portfolio``.
        """
        chosen = self if strategy is None else self.select(strategy)
        return vectorbt_portfolio(chosen._conditions, chosen._flows, chosen.equity, chosen.weights)

    @property
    def _conditions(self) -> Conditions:
        if self.conditions is None:
            raise AccountingError(
                "tables need what the strategies were run on",
                "a result without conditions",
                "Use the result of run_backtest.",
            )
        return self.conditions

    @cached_property
    def _flows(self) -> Flows:
        self._check_kept("equity", "weights", "filled")
        return money_flows(self._conditions, self.equity, self.weights, self.filled)

    def _check_kept(self, *names: str) -> None:
        if any(len(getattr(self, name)) != len(self.measures) for name in names):
            raise AccountingError(
                f"this needs the {' and '.join(names)} of every bar",
                "a result that kept only measures",
                'Run these strategies again with keep="paths".',
            )

    def _split(self, labels: npt.ArrayLike, name: str) -> pd.DataFrame:
        self._check_kept("equity", "weights", "filled", "costs")
        year = self._conditions.bars.bars_per_year
        return split_table(labels, self.equity, self.weights, self.filled, self.costs, year, name)


def measure(
    equity: Tensor,
    weights: Tensor,
    filled: Tensor,
    costs: CostModel,
    *,
    paid: Tensor | None = None,
    bars_per_year: float = BARS_PER_YEAR,
) -> pd.DataFrame:
    """Measures of equity curves.

    Args:
        equity: ``[B, T]``.
        weights: ``[B, T, N]`` held at the close (fraction of equity).
        filled: ``[B, T, N]`` what filled in each session (fraction of equity at the fill); an
            order that finds no price is no turnover.
        costs: prices the turnover where ``paid`` is None.
        paid: ``[B, T]`` what trades cost in each session (fraction of equity).
        bars_per_year: bars in a year.

    Returns:
        One row per strategy: total_return, annual_return, volatility, sharpe, sortino,
        max_drawdown, turnover (sum of absolute fills a bar), cost (fraction of equity a year),
        exposure (mean gross), hit_rate (share of bars with profit among bars with exposure).
    """
    returns = per_bar_returns(equity)
    exposed = weights[:, 1:].abs().sum(-1) > 1e-9
    # Nothing fills in the first bar: there are as many trading sessions as returns.
    fills = filled[:, 1:]
    cost = (costs.rate(fills) * fills.abs()).sum(-1) if paid is None else paid[:, 1:]
    columns = {
        "total_return": total_return(equity),
        "annual_return": annual_return(equity, bars_per_year),
        "volatility": annual_volatility(returns, bars_per_year),
        "sharpe": sharpe_ratio(returns, bars_per_year),
        "sortino": sortino_ratio(returns, bars_per_year),
        "max_drawdown": max_drawdown(equity),
        "turnover": fills.abs().sum(-1).mean(-1),
        "cost": cost.mean(-1) * bars_per_year,
        "exposure": weights.abs().sum(-1).mean(-1),
        "hit_rate": hit_rate(returns, exposed),
    }
    table = pd.DataFrame({name: value.cpu().numpy() for name, value in columns.items()})
    table.index.name = "strategy"
    return table
