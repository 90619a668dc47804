"""Random bars with everything that real ones have: overnight gaps, weekends, missing days."""

import numpy as np
import pandas as pd

from trading_rlhf.market import Bars


def random_bars(
    seed: int,
    n_bars: int = 40,
    n_assets: int = 3,
    *,
    holes: bool = False,
    has_open: bool = True,
    volatility: float = 0.02,
) -> Bars:
    """Open, high, low, close and volume; with ``holes`` some bars are missing or without volume."""
    generator = np.random.default_rng(seed)
    shape = (n_bars, n_assets)
    close = 100.0 * np.exp(np.cumsum(generator.normal(0.0, volatility, shape), axis=0))
    open_ = close * np.exp(generator.normal(0.0, volatility / 2, shape))
    volume = generator.uniform(1e4, 1e6, shape)
    tradable = np.ones(shape, dtype=bool)
    if holes:
        tradable = generator.random(shape) > 0.1
        volume = np.where(generator.random(shape) < 0.1, 0.0, volume)
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
    prices = [np.where(tradable, price, np.nan) for price in (open_, high, low, close)]
    columns = prices if has_open else [None, None, None, prices[3]]
    return Bars(
        pd.bdate_range("2001-01-01", periods=n_bars),
        [f"S{i}" for i in range(n_assets)],
        *columns,
        np.where(tradable, volume, np.nan),
        tradable=tradable,
    )
