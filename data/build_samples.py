"""Make data/samples/us4.parquet and data/manifest.toml from the installed bokeh-sampledata.

Run it from the repository: ``python data/build_samples.py``. The same packages give the same bytes.
"""

import hashlib
import sys
from gzip import decompress
from importlib.metadata import distribution, version
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.market import Bars, write_bars
from trading_rlhf.market.actions import infer_actions, later_splits

__all__ = ["adjusted_bars", "main", "source_prices"]

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
SOURCE_SHA256 = "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd"
DECIMALS = 6  # the archive gives the adjusted close with six digits or more
SP20_RESOURCE = "skfolio/datasets/data/sp500_dataset.csv.gz"

MANIFEST = """\
# Written by data/build_samples.py. load_sample verifies sha256 each time.

[us4]
title = "AAPL, GOOG, IBM and MSFT, daily open, high, low, close, volume"
file = "samples/us4.parquet"
symbols = ["AAPL", "GOOG", "IBM", "MSFT"]
first = {first:%Y-%m-%d}
last = {last:%Y-%m-%d}
bars = {bars}
source = "Quandl WIKI Prices, from the stocks.csv.gz of bokeh-sampledata {bokeh}"
source_url = "https://data.nasdaq.com/databases/WIKIP"
source_sha256 = "{source_sha256}"
licence = "Public domain, as the publisher declared and bokeh-sampledata records (source-verified)"
known_bias = "Four survivors, chosen with hindsight; GOOG is not tradable before 2004-08-19."
built_with = "pyarrow {pyarrow}"
content_sha256 = "{content_sha256}"
sha256 = "{us4_sha256}"

[sp20]
title = "20 large US stocks, daily adjusted closes only"
package = "skfolio"
version = "{skfolio}"
resource = "{sp20_resource}"
first = 1990-01-02
last = 2022-12-28
bars = 8313
source = "skfolio.datasets.load_sp500_dataset; its origin is not stated there"
licence = "Code BSD-3-Clause; the data for testing and example only, not for investment or trading"
copied = false  # read from the installed package, never stored here
known_bias = "Survivors only: each was in the S&P 500 at the end. Closes only."
sha256 = "{sp20_sha256}"  # of the decompressed file
"""


def source_prices() -> pd.DataFrame:
    """Return the source as it is: unadjusted bars and the adjusted close, one row per bar.

    Raises:
        SystemExit: the installed file is not the one this program was written for.
    """
    content = files("bokeh_sampledata").joinpath("_data", "stocks.csv.gz").read_bytes()
    if hashlib.sha256(content).hexdigest() != SOURCE_SHA256:
        raise SystemExit("stocks.csv.gz has changed: install bokeh-sampledata==2026.1.")
    text = BytesIO(decompress(content))
    table = pd.read_csv(text, parse_dates=["Date"])
    return table[table["Ticker"].isin(SYMBOLS)]


def adjusted_bars(table: pd.DataFrame) -> Bars:
    """Adjust the source's bars for the splits and dividends within its range.

    The adjustment factor is 1 at the last bar, so that the level of prices tells of no event after
    the range, and prices times volume is the notional that was traded, up to dividends.
    """
    wide = table.pivot(index="Date", columns="Ticker").sort_index()
    raw = {name: wide[name][list(SYMBOLS)].to_numpy(float) for name in wide.columns.levels[0]}
    present = np.isfinite(raw["Close"])
    split, dividend = np.ones(present.shape), np.zeros(present.shape)
    for column in range(len(SYMBOLS)):
        rows = present[:, column]
        split[rows, column], dividend[rows, column] = infer_actions(
            raw["Close"][rows, column], raw["Adj Close"][rows, column], DECIMALS
        )
    factor = raw["Adj Close"] / raw["Close"]
    factor = factor / factor[-1]
    return Bars(
        dates=pd.DatetimeIndex(wide.index),
        symbols=SYMBOLS,
        open=raw["Open"] * factor,
        high=raw["High"] * factor,
        low=raw["Low"] * factor,
        close=raw["Close"] * factor,
        volume=raw["Volume"] * later_splits(split),
        raw_close=raw["Close"],
        split=split,
        dividend=dividend,
        tradable=present,
    )


def main(folder: Path) -> None:
    """Write the sample and the manifest into ``folder``."""
    path = folder / "samples" / "us4.parquet"
    us4 = adjusted_bars(source_prices())
    write_bars(us4, path)
    sp20 = Path(str(distribution("skfolio").locate_file(SP20_RESOURCE))).read_bytes()
    manifest = MANIFEST.format(
        first=us4.dates[0],
        last=us4.dates[-1],
        bars=us4.shape[0],
        content_sha256=us4.sha256,
        us4_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        source_sha256=SOURCE_SHA256,
        sp20_sha256=hashlib.sha256(decompress(sp20)).hexdigest(),
        sp20_resource=SP20_RESOURCE,
        bokeh=version("bokeh-sampledata"),
        skfolio=version("skfolio"),
        pyarrow=version("pyarrow"),
    )
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
