"""Bars by the name under which a run asks for them."""

from pathlib import Path

from trading_rlhf.market.bars import Bars
from trading_rlhf.market.sources import load_sample, read_bars, sample_names

__all__ = ["load_bars"]


def load_bars(name: str) -> Bars:
    """Bars of a bundled sample, or of a CSV or Parquet file.

    Raises:
        DataError: there is neither, or the file is wrong.
    """
    return load_sample(name) if name in sample_names() else read_bars(Path(name))
