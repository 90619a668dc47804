"""Small bars that the tests of the market room share."""

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.market import Bars


@pytest.fixture
def make_bars():
    """Return a maker of random, valid OHLCV bars with a split and a dividend."""

    def make(n_bars: int = 200, n_assets: int = 3, seed: int = 0, split_at: int = 40) -> Bars:
        generator = np.random.default_rng(seed)
        shape = (n_bars, n_assets)
        close = 50.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, shape), axis=0))
        open_ = close * np.exp(generator.normal(0.0, 0.005, shape))
        split, dividend = np.ones(shape), np.zeros(shape)
        split[split_at, 0] = 3.0
        dividend[split_at + 10, 1] = 0.25
        later_splits = np.cumprod(split[::-1], axis=0)[::-1] / split
        return Bars(
            dates=pd.bdate_range("2001-01-01", periods=n_bars),
            symbols=[f"S{i}" for i in range(n_assets)],
            open=open_,
            high=np.maximum(open_, close) * 1.01,
            low=np.minimum(open_, close) * 0.99,
            close=close,
            volume=generator.integers(1_000, 9_000, shape),
            raw_close=close * later_splits * 1.05,
            split=split,
            dividend=dividend,
        )

    return make
