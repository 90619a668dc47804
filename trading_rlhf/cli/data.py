"""``trading-rlhf data``: fetch bars, check a file, features and simulated markets."""

from datetime import date
from pathlib import Path

import pandas as pd
from cyclopts import App

from trading_rlhf.cli.console import print_frame, print_json, print_line, progress_bars
from trading_rlhf.services.market_data import check_data, fetch_data

__all__ = ["data"]

data = App(name="data", help="Fetch and check price bars.")


@data.command
def fetch(
    symbols: list[str],
    /,
    *,
    start: date,
    end: date,
    interval: str = "1d",
    to: Path = Path("data/fetched.parquet"),
    json: bool = False,
) -> int:
    """Fetch bars from Yahoo Finance; what arrives is kept, each failure is named.

    Args:
        symbols: Yahoo's names, such as AAPL MSFT.
        start: first day.
        end: first day that is not fetched.
        interval: 1d or 1h.
        to: Parquet or CSV file to write.
        json: print JSON.
    """
    with progress_bars() as progress:
        rows, written = fetch_data(symbols, start, end, interval, to, progress)
    if json:
        print_json({"symbols": rows, "file": str(to) if written else None})
    else:
        frame = pd.DataFrame(rows).set_index("symbol")
        print_frame("Fetched", frame)
        print_line(f"Written to {to}." if written else "Nothing was written.")
    return 0 if all(row["problem"] == "" for row in rows) else 1


@data.command
def check(source: str, /, *, json: bool = False, limit: int = 40) -> int:
    """Check bars for silent faults; nothing is repaired. Exit 1 where a file cannot be used.

    Args:
        source: a bundled sample (us4, sp20) or a CSV or Parquet file.
        json: print JSON.
        limit: findings to print.
    """
    findings, refused = check_data(source)
    if json:
        print_json(findings.astype(str).to_dict(orient="records"))
    elif findings.empty:
        print_line(f"{source}: nothing found.")
    else:
        shown = findings.head(limit).set_index("symbol").astype(str)
        print_frame(f"Findings in {source}: {len(findings)}", shown)
        if len(findings) > limit:
            print_line(f"{len(findings) - limit} more; --limit {len(findings)} shows all.")
    return 1 if refused else 0


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
