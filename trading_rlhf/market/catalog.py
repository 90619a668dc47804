"""Bars by the name under which a run asks for them."""

from pathlib import Path

from trading_rlhf.market.bars import Bars
from trading_rlhf.market.cache import CACHE_PREFIX, cached_bars, default_cache
from trading_rlhf.market.sources import load_sample, read_bars, sample_names

__all__ = ["load_bars"]


def load_bars(name: str, cache: Path | None = None) -> Bars:
    """Bars of a bundled sample, of the cache, or of a CSV or Parquet file.

    Args:
        name: a sample ("us4"); ``cache:`` and the start of an entry's hash ("cache:3f2a") or its
            name ("cache:AAPL+MSFT-1d") where no other entry has it; or a path.
        cache: the cache's folder; None takes ``default_cache()``.

    Raises:
        DataError: there is none, several entries fit, or the file is wrong or damaged.
    """
    if name in sample_names():
        return load_sample(name)
    if name.startswith(CACHE_PREFIX):
        return cached_bars(default_cache() if cache is None else cache, name)
    return read_bars(Path(name))
