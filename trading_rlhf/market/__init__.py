"""Price bars: where they come from, what they say, and when it was known."""

from trading_rlhf.market.bars import Bars, PriceHistory
from trading_rlhf.market.causality import check_causal, check_feature, perturb_after
from trading_rlhf.market.clock import (
    bar_close,
    bar_open,
    next_session,
    session_close,
    session_open,
    trading_sessions,
)
from trading_rlhf.market.feature_files import load_feature_file, registry_with
from trading_rlhf.market.features import (
    DEFAULT_FEATURES,
    OHLCV_FEATURES,
    Feature,
    FeatureRegistry,
    compute_feature,
    compute_features,
    default_registry,
    warmup,
)
from trading_rlhf.market.quality import QualityReport, check_bars, check_file, check_table
from trading_rlhf.market.sources import load_bars, load_sample, read_bars, sample_names, write_bars
from trading_rlhf.market.splits import time_split, walk_forward
from trading_rlhf.market.synthetic import (
    SYNTHETIC_NAMES,
    HestonMarket,
    HestonModel,
    PlantedMarket,
    Regime,
    RegimeMarket,
    bootstrap_bars,
    gbm_market,
    heston_market,
    planted_market,
    regime_market,
    synthetic_market,
)
from trading_rlhf.market.yahoo import FetchResult, SymbolFetch, fetch_bars

__all__ = [
    "Bars",
    "PriceHistory",
    "load_bars",
    "load_sample",
    "read_bars",
    "sample_names",
    "write_bars",
    "fetch_bars",
    "FetchResult",
    "SymbolFetch",
    "QualityReport",
    "check_bars",
    "check_file",
    "check_table",
    "bar_close",
    "bar_open",
    "next_session",
    "session_close",
    "session_open",
    "trading_sessions",
    "Feature",
    "FeatureRegistry",
    "compute_feature",
    "compute_features",
    "default_registry",
    "warmup",
    "DEFAULT_FEATURES",
    "OHLCV_FEATURES",
    "load_feature_file",
    "registry_with",
    "check_causal",
    "check_feature",
    "perturb_after",
    "time_split",
    "walk_forward",
    "PlantedMarket",
    "planted_market",
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
