"""The same weights through vectorbt, an independent engine, for comparison."""

import numpy as np
import pandas as pd

from trading_rlhf.accounting import BPS, CostModel, PerAsset
from trading_rlhf.errors import ConfigError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["vectorbt_equity"]


def vectorbt_equity(bars: Bars, targets: FloatArray, costs: CostModel) -> FloatArray:
    """Equity ``[T]`` of one strategy by ``vectorbt.Portfolio.from_orders``, starting at 1.0.

    Compare with ``run_backtest(..., size_at="fill")`` with interest and borrow at zero, and in a
    cash account where targets leave too little for costs: vectorbt always clips buys to the cash.

    Args:
        bars: prices with an open.
        targets: ``[T, N]`` weights decided at the close of t; NaN holds.
        costs: commission, spread and slippage are used, one or one per asset.

    Raises:
        ConfigError: vectorbt is not installed.
    """
    try:
        import vectorbt
    except ImportError as error:
        raise ConfigError(
            "the cross-check needs vectorbt", "no such package", "Install trading_rlhf[bench]."
        ) from error
    symbols = list(bars.symbols)
    shifted = np.vstack([np.full((1, len(symbols)), np.nan), targets[:-1]])

    def frame(values: FloatArray) -> pd.DataFrame:
        return pd.DataFrame(values, index=bars.dates, columns=symbols)

    def rates(*of: PerAsset) -> pd.DataFrame:
        each = sum(np.broadcast_to(rate, bars.shape) * BPS for rate in of)
        return frame(np.asarray(each))

    portfolio = vectorbt.Portfolio.from_orders(
        frame(bars.close),
        size=frame(shifted),
        size_type="targetpercent",
        price=frame(bars.fill_price),
        fees=rates(costs.commission_bps),
        slippage=rates(costs.half_spread_bps, costs.slippage_bps),
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        # vectorbt's tolerances are absolute: at this scale they are below 1e-12 of equity.
        init_cash=1e6,
        freq="1D",
    )
    return np.asarray(portfolio.value(), dtype=np.float64) / 1e6
