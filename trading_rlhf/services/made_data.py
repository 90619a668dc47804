"""Simulated markets, written to files."""

from pathlib import Path

import numpy as np

from trading_rlhf.errors import DataError
from trading_rlhf.market import synthetic_market, write_bars
from trading_rlhf.market.sources import check_file_name
from trading_rlhf.types import JsonDict

__all__ = ["make_data"]

_MOST_ASSETS = 5000
_MOST_PRICES = 30_000_000


def make_data(name: str, n_bars: int, n_assets: int, seed: int, to: Path) -> JsonDict:
    """Draw a simulated market and write it; the same arguments give the same file.

    Returns:
        What was made: market, bars, assets, seed, file and the hash of the bars.

    Raises:
        DataError: an unknown name, a number out of range, or a file that cannot be written.
    """
    if seed < 0:
        raise DataError("a seed must be zero or more", str(seed), "Use 0.")
    check_file_name(to)
    if n_assets > _MOST_ASSETS:
        raise DataError(
            f"a made market has at most {_MOST_ASSETS} assets", str(n_assets), "Use fewer."
        )
    if n_bars * n_assets > _MOST_PRICES:
        raise DataError(
            f"a made market has at most {_MOST_PRICES} prices (bars times assets)",
            str(n_bars * n_assets),
            "Use fewer bars or assets.",
        )
    bars = synthetic_market(name, np.random.default_rng(seed), n_bars, n_assets)
    write_bars(bars, to)
    return {
        "market": name,
        "bars": n_bars,
        "assets": n_assets,
        "seed": seed,
        "file": str(to),
        "sha256": bars.sha256,
    }
