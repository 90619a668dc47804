"""Simulated markets by name."""

from typing import Final

import numpy as np

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.synthetic.gbm import gbm_market
from trading_rlhf.market.synthetic.heston import heston_market
from trading_rlhf.market.synthetic.planted import planted_market
from trading_rlhf.market.synthetic.regimes import regime_market

__all__ = ["SYNTHETIC_NAMES", "synthetic_market"]

SYNTHETIC_NAMES: Final = ("planted", "gbm", "heston", "regimes")


def synthetic_market(
    name: str, generator: np.random.Generator, n_bars: int = 2520, n_assets: int = 20
) -> Bars:
    """Draw the bars of a simulated market with its default parameters.

    Args:
        name: planted, gbm, heston or regimes.
        generator: the only source of randomness.
        n_bars: number of bars T.
        n_assets: number of assets N.

    Raises:
        DataError: another name, or a number out of range.
    """
    if name == "planted":
        return planted_market(generator, n_bars, n_assets).bars
    if name == "gbm":
        return gbm_market(generator, n_bars, n_assets)
    if name == "heston":
        return heston_market(generator, n_bars, n_assets).bars
    if name == "regimes":
        return regime_market(generator, n_bars, n_assets).bars
    known = ", ".join(SYNTHETIC_NAMES)
    raise DataError(f"a simulated market must be one of {known}", name, "Choose one.")
