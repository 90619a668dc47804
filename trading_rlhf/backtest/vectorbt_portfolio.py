"""A backtest's strategies as a vectorbt portfolio, for its plots and statistics."""

from typing import Any

import numpy as np
import pandas as pd

from trading_rlhf.backtest.flows import NOTHING, Conditions, Flows, printed_prices, unit_prices
from trading_rlhf.errors import AccountingError, ConfigError
from trading_rlhf.types import FloatArray

__all__ = ["vectorbt_portfolio"]

_CARRY = (
    "borrow_bps_per_year", "margin_bps_per_year", "cash_bps_per_year", "short_rebate_bps_per_year",
)  # fmt: skip


def vectorbt_portfolio(
    conditions: Conditions, flows: Flows, equity: FloatArray, weights: FloatArray
) -> Any:
    """Build a ``vectorbt.Portfolio`` with the same orders, costs and equity (USD).

    Prices are adjusted, at the level of the last close as traded; all that an order cost is a fee.
    One strategy gives one group; several give a group each.

    Args:
        conditions: what was run on.
        flows: the money of B strategies.
        equity: ``[B, T]``.
        weights: ``[B, T, N]`` at the close (fraction of equity).

    Raises:
        ConfigError: vectorbt is not installed.
        AccountingError: the strategy paid interest or dividends, borrowed cash or was ruined.
    """
    _check(conditions, flows, equity, weights)
    portfolio = _portfolio_class(conditions)
    bars, usd = conditions.bars, conditions.equity_usd
    price, close = unit_prices(conditions.market)
    level = np.nan_to_num(printed_prices(bars)[1][-1], nan=1.0) / close[-1]
    orders = (flows.traded + flows.forced) * usd / (price * level)
    many = len(equity) > 1
    columns = pd.Index(bars.symbols, name="symbol")
    if many:
        columns = pd.MultiIndex.from_product(
            [range(len(equity)), bars.symbols], names=["strategy", "symbol"]
        )

    def frame(values: FloatArray) -> pd.DataFrame:
        wide = np.broadcast_to(values, weights.shape).transpose(1, 0, 2)
        return pd.DataFrame(wide.reshape(len(wide), -1), index=bars.dates, columns=columns)

    return portfolio.from_orders(
        frame(close * level),
        size=frame(np.where(orders == 0, np.nan, orders)),
        size_type="amount",
        price=frame(price * level),
        fixed_fees=frame(flows.costs * usd),
        cash_sharing=True,
        group_by="strategy" if many else True,
        # Sells come before the buys that they pay for.
        call_seq="auto",
        init_cash=usd,
        freq=bars.interval,
    )


def _check(conditions: Conditions, flows: Flows, equity: FloatArray, weights: FloatArray) -> None:
    if (np.abs(flows.interest) > NOTHING).any():
        rates = {name: getattr(conditions.costs, name) for name in _CARRY}
        paid = [name for name, rate in rates.items() if np.any(rate)]
        raise AccountingError(
            "vectorbt knows no interest and no borrow fees",
            "strategies that paid or earned some",
            f"Run them with {', '.join(paid)} at zero.",
        )
    if flows.dividends.any():
        raise AccountingError(
            "vectorbt knows no dividends in cash",
            "strategies that got some",
            'Run them with ledger="adjusted".',
        )
    if (equity <= 0).any():
        raise AccountingError(
            "vectorbt knows no ruin",
            f"strategy {int((equity <= 0).any(1).argmax())}, which lost everything",
            "Leave it out.",
        )
    invested = flows.equity_at_fill - _worth_after_fill(conditions, equity, weights)
    cash = (invested - flows.costs.sum(-1))[:, 1:]
    if (cash < -NOTHING * 1e3).any():
        raise AccountingError(
            "vectorbt borrows no cash",
            f"strategy {int(cash.min(1).argmin())}, which did",
            "Run it with a smaller max_gross, or with cash_account.",
        )


def _worth_after_fill(
    conditions: Conditions, equity: FloatArray, weights: FloatArray
) -> FloatArray:
    """Value ``[B, T]`` of all positions just after the fill (starting equity = 1)."""
    day = 1.0 + conditions.market.intraday.cpu().numpy()
    worth: FloatArray = (weights * equity[..., None] / day).sum(-1)
    return worth


def _portfolio_class(conditions: Conditions) -> Any:
    """Vectorbt's portfolio with the bars of this backtest's year."""
    try:
        import vectorbt
    except ImportError as error:
        raise ConfigError(
            "a vectorbt portfolio needs vectorbt",
            "no such package",
            'Install it with: pip install "trading_rlhf[bench]".',
        ) from error
    year = conditions.bars.interval * conditions.bars.bars_per_year

    class Portfolio(vectorbt.Portfolio):  # type: ignore[misc]
        """A portfolio whose yearly figures count the year of its bars."""

        def get_returns_acc(self, *args: Any, year_freq: Any = None, **options: Any) -> Any:
            return super().get_returns_acc(*args, year_freq=year_freq or year, **options)

        def get_qs(self, *args: Any, year_freq: Any = None, **options: Any) -> Any:
            return super().get_qs(*args, year_freq=year_freq or year, **options)

        @property
        def stats_defaults(self) -> dict[str, Any]:
            return _with_year(super().stats_defaults, year)

        @property
        def plots_defaults(self) -> dict[str, Any]:
            return _with_year(super().plots_defaults, year)

    return Portfolio


def _with_year(defaults: dict[str, Any], year: pd.Timedelta) -> dict[str, Any]:
    return defaults | {"settings": defaults["settings"] | {"year_freq": year}}
