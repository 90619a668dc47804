"""Other backtesters on the same prices and weights, for the benchmark.

vectorbt (Apache-2.0 with Commons Clause) does the same trades and is compared to 1e-9 of equity.
backtesting.py (AGPL-3.0, never imported by the package) and bt (MIT) only lend their time: one
trades a single asset in whole units, the other at closing prices.
"""

import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from trading_rlhf.accounting import CostModel
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["LICENCES", "backtesting_run", "bt_run", "peer_name", "vectorbt_engines",
           "vectorbt_run", "vectorbt_sizes"]  # fmt: skip

LICENCES = {
    "vectorbt": "Apache-2.0 with Commons Clause",
    "vectorbt-rust": "Apache-2.0 with Commons Clause",
    "backtesting": "AGPL-3.0, as a peer in this benchmark only",
    "bt": "MIT",
}

INIT_CASH = 1e6
"""vectorbt's tolerances are absolute: at this scale they are below 1e-12 of equity."""


def peer_name(package: str) -> str | None:
    """Name and version, or None where it is not installed."""
    if find_spec(package.replace("-", "_")) is None:
        return None
    return f"{package} {version(package)}"


def vectorbt_engines() -> list[str]:
    """Engines of vectorbt that are installed."""
    engines = {"numba": peer_name("vectorbt"), "rust": peer_name("vectorbt-rust")}
    return [engine for engine, found in engines.items() if found is not None]


def vectorbt_sizes(targets: FloatArray) -> FloatArray:
    """Targets ``[B, T, N]`` as vectorbt reads them, ``[T, B * N]``: by the bar that fills them."""
    n_strategies, n_bars, n_assets = targets.shape
    size = np.full((n_bars, n_strategies * n_assets), np.nan)
    size[1:] = targets[:, :-1].transpose(1, 0, 2).reshape(n_bars - 1, -1)
    return size


def vectorbt_run(
    bars: Bars, size: FloatArray, costs: CostModel, engine: str
) -> Callable[[], FloatArray]:
    """Run ``vectorbt_sizes`` as portfolios that share cash; total return, Sharpe, drawdown.

    Returns:
        A function that returns total returns ``[B]``. Laying the data out is not part of it.
    """
    import vectorbt

    n_assets = len(bars.symbols)
    n_strategies = size.shape[1] // n_assets
    close = pd.DataFrame(np.tile(bars.close, n_strategies), index=bars.dates)
    price = np.tile(bars.fill_price, n_strategies)
    groups = np.repeat(np.arange(n_strategies), n_assets)

    def run() -> FloatArray:
        portfolio = vectorbt.Portfolio.from_orders(
            close, size=size, size_type="targetpercent", price=price,
            fees=costs.commission_bps * 1e-4, slippage=costs.adverse, init_cash=INIT_CASH,
            cash_sharing=True, group_by=groups, call_seq="auto", freq="1D", engine=engine,
        )  # fmt: skip
        portfolio.sharpe_ratio()
        portfolio.max_drawdown()
        return np.asarray(portfolio.total_return(), dtype=np.float64)

    return run


def backtesting_run(bars: Bars, costs: CostModel) -> Callable[[], Any]:
    """One asset, long or flat by a coin that was tossed before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from backtesting import Backtest, Strategy

    wants = np.random.default_rng(0).random(len(bars.dates)) < 0.5
    columns = {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close}
    frame = pd.DataFrame({k: v[:, 0] for k, v in columns.items()}, index=bars.dates)

    class Coin(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            wanted = wants[len(self.data) - 1]
            if wanted and not self.position:
                self.buy(size=0.95)
            elif not wanted and self.position:
                self.position.close()

    commission = (costs.commission_bps + costs.half_spread_bps + costs.slippage_bps) * 1e-4

    def run() -> Any:
        # Its progress bar goes to stderr.
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            return Backtest(frame, Coin, cash=INIT_CASH, commission=commission).run()

    return run


def bt_run(bars: Bars, targets: FloatArray) -> Callable[[], Any]:
    """One strategy of target weights ``[T, N]`` in all assets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bt

    names = list(bars.symbols)
    close = pd.DataFrame(bars.close, index=bars.dates, columns=names)
    weights = pd.DataFrame(targets, index=bars.dates, columns=names)

    def run() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            algos = [bt.algos.WeighTarget(weights), bt.algos.Rebalance()]
            test = bt.Backtest(bt.Strategy("weights", algos), close, integer_positions=False)
            return bt.run(test, progress_bar=False)

    return run
