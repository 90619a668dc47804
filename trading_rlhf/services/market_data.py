"""Fetching, checking and listing bars for the command line."""

from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.market import (
    FetchResult,
    Origin,
    QualityReport,
    Stored,
    broken_manifests,
    cache_entries,
    check_bars,
    check_file,
    damage,
    default_cache,
    done_about,
    fetch_bars,
    load_bars,
    sample_names,
    store_bars,
    survivorship_note,
    write_bars,
)
from trading_rlhf.market.cache import CACHE_PREFIX
from trading_rlhf.market.sources import check_file_name
from trading_rlhf.services.runs import system_clock
from trading_rlhf.types import JsonDict, Progress

__all__ = ["Checked", "check_data", "fetch_data", "list_cache"]

_COUNTED = {"stale", "gap", "missing_bars", "off_calendar", "outside_hours", "zero_volume"}


@dataclass(frozen=True, eq=False)
class Checked:
    """What a check of bars found.

    Attributes:
        findings: symbol, date, rule, value and action, one row each.
        summary: rule, how many findings and assets, and what was done.
        notes: what was understood when the bars were read, and who survived.
        refused: whether the bars cannot be used at all.
    """

    findings: pd.DataFrame
    summary: pd.DataFrame
    notes: tuple[str, ...]
    refused: bool


def fetch_data(
    symbols: list[str],
    start: date,
    end: date,
    interval: str,
    to: Path | None,
    cache: Path | None,
    progress: Progress,
) -> JsonDict:
    """Fetch bars and keep what arrived in the cache.

    Args:
        symbols: Yahoo's names.
        start: first day.
        end: first day that is not fetched.
        interval: length of a bar.
        to: a file to write as well.
        cache: the cache's folder; None takes the usual one.
        progress: called after each symbol.

    Returns:
        ``symbols`` (one row each: symbol, bars, attempts, left out, adjustment, problem), ``data``
        (the name of the bars for ``load_bars``, None where nothing arrived), ``file`` and
        ``notes``.

    Raises:
        DataError: the request is impossible, or the cache or file cannot be written.
    """
    if to is not None:
        check_file_name(to)
    result = fetch_bars(
        symbols,
        start,
        end,
        interval,
        progress=progress,
        generator=np.random.default_rng(),
        clock=system_clock,
    )
    name, notes = None, ["Nothing arrived, nothing was kept."]
    if result.bars is not None:
        folder = default_cache() if cache is None else cache
        stored = store_bars(folder, result.bars, _origin(result, interval), system_clock)
        name = f"{CACHE_PREFIX}{stored.entry.content[:12]}"
        notes = [*_kept(stored, name), survivorship_note(result.bars)]
        if to is not None:
            write_bars(result.bars, to)
            notes.append(f"Written to {to}.")
    rows = [
        {
            "symbol": fetched.symbol,
            "bars": fetched.n_bars,
            "attempts": fetched.attempts,
            "left out": len(fetched.left_out),
            "adjustment": fetched.adjustment,
            "problem": fetched.error or "",
        }
        for fetched in result.symbols
    ]
    return {
        "symbols": rows,
        "data": name,
        "file": None if to is None or name is None else str(to),
        "notes": notes,
    }


def check_data(source: str, cache: Path | None = None) -> Checked:
    """Look for faults in a sample, in cached bars or in a file.

    Raises:
        DataError: it cannot be read as bars at all.
    """
    named = source in sample_names() or source.startswith(CACHE_PREFIX)
    if named:
        report = check_bars(load_bars(source, cache), clock=system_clock)
    else:
        report = check_file(source, clock=system_clock)
    lived = () if report.bars is None else (survivorship_note(report.bars),)
    told = report.findings[["rule", "value"]].to_numpy()
    shown = report.findings.assign(value=[_shown(rule, value) for rule, value in told])
    return Checked(shown, _summary(report), (*report.notes, *lived), report.refused)


def list_cache(cache: Path | None = None) -> list[JsonDict]:
    """Describe every entry of the cache, the oldest first, then those whose manifest is damaged.

    Raises:
        DataError: the cache is no folder.
    """
    folder = default_cache() if cache is None else cache
    unknown = dict.fromkeys(("name", "bars", "first", "last", "fetched"), "?")
    broken = [
        {"data": f"{CACHE_PREFIX}{content[:12]}", **unknown, "state": "damaged"}
        for content in broken_manifests(folder)
    ]
    entries = [
        {
            "data": f"{CACHE_PREFIX}{entry.content[:12]}",
            "name": entry.name,
            "bars": entry.bars,
            "first": min(day for day, _ in entry.universe.values()),
            "last": max(day for _, day in entry.universe.values()),
            "fetched": entry.fetched_at[:16],
            "state": _state(damage(folder, entry), entry.revises),
        }
        for entry in cache_entries(folder)
    ]
    return entries + broken


def _origin(result: FetchResult, interval: str) -> Origin:
    return Origin(
        provider="Yahoo Finance",
        version=f"yfinance {version('yfinance')}",
        interval=interval,
        adjustment={s.symbol: s.adjustment for s in result.symbols if s.error is None},
        currency=result.currency,
    )


def _kept(stored: Stored, name: str) -> list[str]:
    if not stored.new:
        return [f"The same bars were in the cache already: --data {name}."]
    notes = [f"Kept in the cache as {stored.entry.name}: --data {name}."]
    if stored.revised:
        days = ", ".join(f"{symbol} from {day}" for symbol, day in stored.revised.items())
        notes.append(
            f"The history was revised since {CACHE_PREFIX}{str(stored.entry.revises)[:12]}, which "
            f"stays: {days}."
        )
    return notes


def _summary(report: QualityReport) -> pd.DataFrame:
    groups = report.findings.groupby(["rule", "action"], sort=True)
    rows = [
        {
            "rule": rule,
            "findings": len(group),
            "assets": group["symbol"].nunique(),
            "what was done": done_about(str(rule), str(action)),
        }
        for (rule, action), group in groups
    ]
    return pd.DataFrame(rows, columns=["rule", "findings", "assets", "what was done"])


def _shown(rule: str, value: object) -> str:
    """Returns and yields in per cent, counts as whole numbers."""
    if isinstance(value, float):
        return f"{value:.0f}" if rule in _COUNTED else f"{value:+.1%}"
    return str(value)


def _state(wrong: str | None, revises: str | None) -> str:
    if wrong is not None:
        return "damaged"
    return "" if revises is None else f"revises {revises[:12]}"
