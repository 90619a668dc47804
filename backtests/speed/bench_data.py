"""Loading, validating and featurizing 500 symbols over 10 years, daily and hourly.

python -m backtests.speed.bench_data [--json] [--tiny]

The panels are simulated and written to Parquet; each run reads them in a fresh process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from trading_rlhf.market import (
    OHLCV_FEATURES,
    Bars,
    check_bars,
    compute_features,
    gbm_market,
    read_bars,
    trading_sessions,
    write_bars,
)

__all__ = ["main"]

MOST_SECONDS, MOST_GIB = 60.0, 4.0
_PARTS = ("read", "check", "features")
_HOURS = tuple(pd.Timedelta(hours=9.5 + hour) for hour in range(7))
_CASES: dict[str, dict[str, int]] = {
    "daily": {"sessions": 2520, "assets": 500, "bars_a_session": 1, "repeats": 3},
    "hourly": {"sessions": 2520, "assets": 500, "bars_a_session": 7, "repeats": 3},
}
_TINY = {"sessions": 150, "assets": 5, "repeats": 1}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help="small panels, once: a smoke test")
    parser.add_argument("--make", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--measure", metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.make:
        cases = _cases(given.tiny)
        return _said({name: _make(case, _file(given.make, name)) for name, case in cases.items()})
    if given.measure:
        return _said(_measure(Path(given.measure)))
    from backtests.speed.timing import machine_facts

    with TemporaryDirectory() as folder:
        made = _run(*(["--tiny"] if given.tiny else []), "--make", folder)
        figures = {
            name: _case(case, made[name], _file(folder, name))
            for name, case in _cases(given.tiny).items()
        }
    report = {"benchmark": "data", "machine": machine_facts(), "cases": figures}
    if given.json:
        return _said(report)
    for name, case in figures.items():
        print(_sentence(name, case))
    return report


def _cases(tiny: bool) -> dict[str, dict[str, int]]:
    return {name: case | (_TINY if tiny else {}) for name, case in _CASES.items()}


def _file(folder: str, name: str) -> Path:
    return Path(folder) / f"{name}.parquet"


def _case(case: dict[str, int], made: dict[str, Any], path: Path) -> dict[str, Any]:
    """Read a written panel several times and sum up."""
    runs = [_run("--measure", str(path)) for _ in range(case["repeats"])]
    if any(run["sha256"] != made["sha256"] for run in runs):
        raise SystemExit(f"{path.name}: the bars that were read are not those that were written.")
    totals = [sum(run[part] for part in _PARTS) for run in runs]
    figures = {
        "bars": made["bars"],
        "assets": case["assets"],
        "file_mib": round(path.stat().st_size / 2**20, 1),
        "repeats": len(runs),
        "seconds": {
            part: round(statistics.median(run[part] for run in runs), 2) for part in _PARTS
        },
        "seconds_total": round(statistics.median(totals), 2),
        "seconds_min": round(min(totals), 2),
        "seconds_max": round(max(totals), 2),
        "peak_gib": round(max(run["peak_gib"] for run in runs), 2),
    }
    within = figures["seconds_total"] <= MOST_SECONDS and figures["peak_gib"] <= MOST_GIB
    return figures | {"within_60_s_and_4_gib": within}


def _make(case: dict[str, int], path: Path) -> dict[str, Any]:
    """Write a simulated panel."""
    a_session = case["bars_a_session"]
    sessions = trading_sessions(pd.Timestamp("2010-01-04"), pd.Timestamp("2030-12-31"))
    dates = sessions[: case["sessions"]]
    if a_session > 1:
        times = np.add.outer(dates.to_numpy(), np.array(_HOURS[:a_session], "timedelta64[us]"))
        dates = pd.DatetimeIndex(times.ravel()).tz_localize("America/New_York").tz_convert("UTC")
    bars: Bars = gbm_market(
        np.random.default_rng(0),
        len(dates),
        case["assets"],
        bars_per_year=252.0 * a_session,
        dates=dates,
    )
    write_bars(bars, path)
    return {"bars": len(dates), "sha256": bars.sha256}


def _measure(path: Path) -> dict[str, Any]:
    """Time each part once, in this process, and note its peak of memory."""
    clock = [time.perf_counter()]
    bars = read_bars(path)
    clock.append(time.perf_counter())
    findings = check_bars(bars).findings
    clock.append(time.perf_counter())
    features = compute_features(bars, OHLCV_FEATURES)
    clock.append(time.perf_counter())
    seconds = dict(zip(_PARTS, np.diff(clock).tolist(), strict=True))
    peak = _peak_gib()
    if not (features[-1] != 0.0).any(axis=0).all():
        raise SystemExit("a feature is zero for every asset at the last bar.")
    return seconds | {"peak_gib": peak, "findings": len(findings), "sha256": bars.sha256}


def _peak_gib() -> float:
    """Peak of resident memory of this program; Linux says it in kB.

    getrusage would also count the process that started this one.
    """
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def _run(*arguments: str) -> dict[str, Any]:
    """Run this module in a fresh process and read what it prints."""
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", "backtests.speed.bench_data", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr.strip().splitlines()[-1:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _said(value: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(value, indent=2))
    return value


def _sentence(name: str, figures: dict[str, Any]) -> str:
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in figures["seconds"].items())
    return (
        f"{name}: {figures['bars']} bars of {figures['assets']} assets in "
        f"{figures['seconds_total']:.1f} s ({parts}), peak {figures['peak_gib']:.2f} GiB"
    )


if __name__ == "__main__":
    main()
