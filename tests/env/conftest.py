import numpy as np
import pytest

from tests.laws.random_bars import random_bars
from trading_rlhf.market import Bars


@pytest.fixture(scope="session")
def bars() -> Bars:
    """40 bars of three assets, some missing."""
    return random_bars(11, holes=True)


@pytest.fixture(scope="session")
def features(bars: Bars) -> np.ndarray:
    """Two features without meaning, so that no bar is lost to their warm-up."""
    return np.random.default_rng(5).normal(size=(*bars.shape, 2)).astype(np.float32)
