"""``trading-rlhf data``: fetch bars, check them, list the cache; features and simulated markets."""

from datetime import date
from pathlib import Path
from typing import Literal

import pandas as pd
from cyclopts import App

from trading_rlhf.cli.console import print_error, print_frame, print_json, print_line, progress_bars
from trading_rlhf.cli.options import Folder, Whole
from trading_rlhf.services.market_data import check_data, fetch_data, list_cache

__all__ = ["data"]

data = App(name="data", help="Fetch and check price bars.")


@data.command
def fetch(
    symbols: list[str],
    /,
    *,
    start: date,
    end: date,
    interval: Literal["1d", "1h", "30m", "15m", "5m", "1m"] = "1d",
    to: Path | None = None,
    cache: Folder | None = None,
    json: bool = False,
) -> int:
    """Fetch bars from Yahoo Finance; what arrives is kept in the cache, each failure is named.

    Args:
        symbols: Yahoo's names, such as AAPL MSFT.
        start: first day.
        end: first day that is not fetched.
        interval: length of a bar; below a day Yahoo keeps only the last days or months.
        to: Parquet or CSV file to write as well.
        cache: folder of the cache; by default TRLHF_CACHE or data/cache.
        json: print JSON.
    """
    with progress_bars() as progress:
        fetched = fetch_data(symbols, start, end, interval, to, cache, progress)
    problems = {row["symbol"]: row["problem"] for row in fetched["symbols"] if row["problem"]}
    if json:
        print_json(fetched)
    else:
        frame = pd.DataFrame(fetched["symbols"]).set_index("symbol")
        print_frame("Fetched", frame.drop(columns="problem"))
        for symbol, problem in problems.items():
            print_line(f"{symbol}: {problem}")
        for note in fetched["notes"]:
            print_line(note)
    return 1 if problems else 0


@data.command
def check(
    source: str, /, *, cache: Folder | None = None, json: bool = False, limit: Whole = 40
) -> int:
    """Check bars for silent faults; nothing is repaired. Exit 1 where a file cannot be used.

    Args:
        source: a bundled sample (us4, sp20), cached bars (cache:3f2a) or a CSV or Parquet file.
        cache: folder of the cache; by default TRLHF_CACHE or data/cache.
        json: print JSON.
        limit: findings to print.
    """
    if limit < 0:
        print_error(f"Usage: --limit must be zero or more; got {limit}.")
        return 2
    checked = check_data(source, cache)
    findings = checked.findings
    if json:
        print_json(
            {
                "findings": findings.astype(str).to_dict(orient="records"),
                "notes": list(checked.notes),
                "refused": checked.refused,
            }
        )
        return 1 if checked.refused else 0
    for note in checked.notes:
        print_line(note)
    if findings.empty:
        print_line(f"{source}: nothing found.")
    else:
        print_frame(f"Findings in {source}: {len(findings)}", checked.summary.set_index("rule"))
        print_frame("", findings.head(limit).set_index("symbol"))
        if len(findings) > limit:
            print_line(f"{len(findings) - limit} more; --limit {len(findings)} shows all.")
    return 1 if checked.refused else 0


@data.command(name="cache")
def cache_(*, cache: Folder | None = None, json: bool = False) -> int:
    """List the bars in the cache; exit 1 where an entry is damaged.

    Args:
        cache: its folder; by default TRLHF_CACHE or data/cache.
        json: print JSON.
    """
    rows = list_cache(cache)
    if json:
        print_json(rows)
    elif rows:
        print_frame("Cached bars", pd.DataFrame(rows).set_index("data"))
    else:
        print_line("The cache is empty; 'trading-rlhf data fetch' fills it.")
    return 1 if any(row["state"] == "damaged" for row in rows) else 0


data.command(
    "trading_rlhf.cli.features:features",
    name="features",
    help="List the features, check that none looks ahead, or report what they say about returns.",
)
data.command(
    "trading_rlhf.cli.data_make:make",
    name="make",
    help="Make bars of a simulated market and write them to a file.",
)
