"""``trading-rlhf data features``: list, check and score what policies see."""

from datetime import date
from pathlib import Path

import pandas as pd

from trading_rlhf.cli.console import print_error, print_frame, print_json, print_line
from trading_rlhf.services.feature_report import (
    check_features,
    list_features,
    report_features,
)

__all__ = ["features"]


def features(
    *,
    report: bool = False,
    source: str | None = None,
    file: list[Path] | None = None,
    horizon: str = "1,5,20",
    until: date | None = None,
    out: Path = Path("features.html"),
    json: bool = False,
) -> int:
    """List the features, check that none looks ahead, or report what they say about returns.

    Args:
        report: information coefficient and returns by quantile, as a table and an HTML page.
        source: a bundled sample (us4, sp20) or a file of bars; alone, every feature is checked on
            it, and one that looks ahead or depends on the level of prices gives exit 1.
        file: Python files of your own features; each defines register(registry).
        horizon: bars over which returns are taken, separated by commas.
        until: last day of the report, to keep a test period unseen.
        out: HTML page to write.
        json: print JSON.
    """
    files = file or []
    if report:
        return _report("us4" if source is None else source, files, horizon, until, out, json)
    if source is None:
        rows = list_features(files)
        status = 0
    else:
        rows = check_features(source, files)
        status = int(any(row["problem"] for row in rows))
    if json:
        print_json(rows)
        return status
    frame = pd.DataFrame(rows).set_index("name")
    if source is None:
        print_frame("Features", frame)
        return status
    verdict = frame["problem"].map(lambda problem: "refused" if problem else "sound")
    frame["verdict"] = frame["note"].where(frame["note"] != "", verdict)
    print_frame(f"Features on {source}", frame[["label", "bars", "verdict"]])
    for problem in frame["problem"]:
        if problem:
            print_error(f"Error: {problem}")
    return status


def _report(
    source: str, files: list[Path], horizon: str, until: date | None, out: Path, json: bool
) -> int:
    table, rows, notes = report_features(source, files, horizon, until, out)
    if json:
        print_json({"features": rows, "notes": notes, "file": str(out)})
        return 0
    print_frame(f"Features and later returns, {source}", table)
    for note in notes:
        print_line(note)
    print_line(f"Written to {out}.")
    return 0
