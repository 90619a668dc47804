"""Markets made from random numbers, whose truth is known, and new histories from real ones."""

from trading_rlhf.market.synthetic.bootstrap import bootstrap_bars
from trading_rlhf.market.synthetic.catalogue import SYNTHETIC_NAMES, synthetic_market
from trading_rlhf.market.synthetic.gbm import gbm_market
from trading_rlhf.market.synthetic.heston import HestonMarket, HestonModel, heston_market
from trading_rlhf.market.synthetic.planted import (
    COMMON_NOISE,
    OWN_NOISE,
    PlantedMarket,
    planted_market,
)
from trading_rlhf.market.synthetic.regimes import Regime, RegimeMarket, regime_market

__all__ = [
    "PlantedMarket",
    "planted_market",
    "COMMON_NOISE",
    "OWN_NOISE",
    "gbm_market",
    "HestonMarket",
    "HestonModel",
    "heston_market",
    "Regime",
    "RegimeMarket",
    "regime_market",
    "bootstrap_bars",
    "SYNTHETIC_NAMES",
    "synthetic_market",
]
