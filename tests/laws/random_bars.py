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


def eventful_bars(
    seed: int,
    n_bars: int = 40,
    n_assets: int = 3,
    *,
    volatility: float = 0.02,
    dollar_volume: float = 1e7,
    has_open: bool = True,
) -> Bars:
    """Random bars with splits, dividends, holes, an asset that lists late and one that delists."""
    generator = np.random.default_rng(seed)
    shape = (n_bars, n_assets)
    value = np.exp(np.cumsum(generator.normal(0.0, volatility, shape), axis=0))
    value *= generator.uniform(5.0, 300.0, n_assets)
    split = np.where(generator.random(shape) < 0.06, generator.choice([2.0, 1.5, 0.25], shape), 1.0)
    split[0] = 1.0
    shares = np.cumprod(split, axis=0)
    raw_close = value / shares
    yields = np.where(generator.random(shape) < 0.08, generator.uniform(0.0, 0.03, shape), 0.0)
    yields[0] = 0.0
    dividend = yields * raw_close
    # Adjusted prices: today's shares, and less every later dividend.
    later = np.vstack([np.cumprod((1.0 - yields)[::-1], axis=0)[::-1][1:], np.ones(n_assets)])
    factor = shares / shares[-1] * later
    ratio_open = np.exp(generator.normal(0.0, volatility / 2, shape))
    volume = dollar_volume * generator.exponential(1.0, shape) / raw_close * shares[-1] / shares
    volume = np.where(generator.random(shape) < 0.05, 0.0, volume)
    tradable = _lifetimes(generator, shape)
    close = raw_close * factor
    open_ = close * ratio_open
    prices = [
        np.where(tradable, price, np.nan)
        for price in (open_, np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99)
    ]
    return Bars(
        pd.bdate_range("2001-01-01", periods=n_bars),
        [f"S{i}" for i in range(n_assets)],
        *(prices if has_open else [None, None, None]),
        np.where(tradable, close, np.nan),
        np.where(tradable, volume, np.nan),
        np.where(tradable, raw_close, np.nan),
        split,
        dividend,
        tradable,
    )


def _lifetimes(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Single holes everywhere; the second asset lists late, the last one is gone for a while."""
    tradable = generator.random(shape) > 0.06
    tradable[: shape[0] // 8, 1 % shape[1]] = False
    gone = shape[0] // 2
    tradable[gone : gone + int(generator.integers(3, 16)), -1] = False
    return tradable
