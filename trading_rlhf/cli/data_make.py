"""``trading-rlhf data make``: a simulated market in a file."""

from pathlib import Path

from trading_rlhf.cli.console import print_json, print_line
from trading_rlhf.cli.options import Whole
from trading_rlhf.services.made_data import make_data

__all__ = ["make"]


def make(
    name: str,
    /,
    *,
    bars: Whole = 2520,
    assets: Whole = 20,
    seed: Whole = 0,
    to: Path = Path("data/made.parquet"),
    json: bool = False,
) -> int:
    """Make bars of a simulated market and write them to a file.

    Args:
        name: planted (drift known from features), gbm, heston (with jumps) or regimes.
        bars: number of daily bars.
        assets: number of assets.
        seed: seed of the random numbers.
        to: Parquet or CSV file to write.
        json: print JSON.
    """
    made = make_data(name, bars, assets, seed, to)
    if json:
        print_json(made)
    else:
        print_line(f"{bars} bars of {assets} assets, simulated ({name}, seed {seed}): {to}.")
    return 0
