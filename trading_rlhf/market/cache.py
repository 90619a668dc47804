"""Fetched bars that never change: Parquet by content hash, with a manifest beside each.

An entry is two files, ``<hash>.parquet`` and ``<hash>.json``; the hash is that of the bars. The
manifest is written last, so an entry without one is none. Nothing is ever overwritten: the same
bars are the same entry, and a history that its provider revised is another. Files with other names
in the folder are not the cache's and are left alone.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.manifests import (
    CacheEntry,
    Origin,
    broken_manifests,
    cache_entries,
    data_file,
    manifest_file,
    read_manifest,
    readable_manifests,
    sweep,
)
from trading_rlhf.market.sources import read_bars, write_bars
from trading_rlhf.types import Clock

__all__ = [
    "CACHE_PREFIX",
    "CacheEntry",
    "Origin",
    "Stored",
    "broken_manifests",
    "cache_entries",
    "cached_bars",
    "damage",
    "default_cache",
    "find_entry",
    "store_bars",
]

CACHE_PREFIX: Final = "cache:"
_REVISED = 1e-6
_LOCK = ".trading-rlhf-lock"


@dataclass(frozen=True)
class Stored:
    """What became of bars that were put into a cache.

    Attributes:
        entry: their entry.
        new: False where the same bars were there already.
        revised: symbols whose common history differs from the entry that this one revises, each
            with the first day that differs.
    """

    entry: CacheEntry
    new: bool
    revised: dict[str, str]


def default_cache() -> Path:
    """Return the folder named by TRLHF_CACHE, or ``data/cache``."""
    return Path(os.environ.get("TRLHF_CACHE") or "data/cache")


def store_bars(folder: Path, bars: Bars, origin: Origin, clock: Clock) -> Stored:
    """Put bars into a cache; two processes wait for each other, and a kill leaves what was there.

    A damaged entry of the same bars is written anew.

    Raises:
        DataError: the folder cannot be written, or there is no bar at all.
    """
    # Loaded here: the database's libraries take two seconds, and reading bars needs none of them.
    from trading_rlhf.store.files import replace_text

    if not bars.tradable.any():
        raise DataError("cached bars must hold a bar", "none", "Fetch other dates.")
    with _locked(folder):
        sweep(folder)
        path = data_file(folder, bars.sha256)
        same = _intact(folder, bars.sha256)
        if same is not None:
            return Stored(same, new=False, revised={})
        earlier, revised = _revision(folder, bars, origin)
        write_bars(bars, path)
        entry = CacheEntry(
            content=bars.sha256,
            file_sha256=_sha256(path),
            name=_name(bars.symbols, origin.interval),
            symbols=bars.symbols,
            universe=_universe(bars),
            bars=len(bars.dates),
            fetched_at=clock().isoformat(timespec="seconds"),
            origin=origin,
            revises=earlier,
        )
        text = json.dumps(asdict(entry), indent=2, sort_keys=True)
        replace_text(manifest_file(folder, bars.sha256), f"{text}\n")
        return Stored(entry, new=True, revised=revised)


def find_entry(folder: Path, name: str) -> CacheEntry:
    """Return the one entry with that name, or whose content hash starts so.

    Args:
        folder: the cache.
        name: "AAPL+MSFT-1d" or "3f2a", with ``cache:`` before it or not.

    Raises:
        DataError: there is none, several, or its manifest cannot be read.
    """
    wanted = name.removeprefix(CACHE_PREFIX)
    fits = [e for e in cache_entries(folder) if wanted and wanted == e.name]
    fits = fits or [e for e in cache_entries(folder) if wanted and e.content.startswith(wanted)]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        for content, error in broken_manifests(folder).items():
            if wanted and content.startswith(wanted):
                raise error
        raise DataError(
            "a name of cached bars must be in the cache",
            f"{name[:80]}, and no such entry in {folder}",
            "List the entries with 'trading-rlhf data cache'.",
        )
    hashes = ", ".join(f"{e.content[:12]} of {e.fetched_at[:16]}" for e in fits[-5:])
    raise DataError(
        "a name of cached bars must fit one entry",
        f"{name} for {len(fits)} ({hashes})",
        "Name it by its hash.",
    )


def cached_bars(folder: Path, name: str) -> Bars:
    """Return the bars of an entry after comparing the file and the bars with the manifest.

    Raises:
        DataError: there is no such entry, or it is damaged.
    """
    return _verified(folder, find_entry(folder, name))


def damage(folder: Path, entry: CacheEntry) -> str | None:
    """Say what is wrong with an entry; None where its file is what the manifest says."""
    try:
        _check_file(folder, entry)
    except DataError as error:
        return error.got
    return None


def _intact(folder: Path, content: str) -> CacheEntry | None:
    try:
        entry = read_manifest(manifest_file(folder, content))
        _verified(folder, entry)
    except DataError:
        return None
    return entry


def _verified(folder: Path, entry: CacheEntry) -> Bars:
    path = _check_file(folder, entry)
    bars = read_bars(path)
    if bars.sha256 != entry.content:
        raise _damaged(path, f"bars of the sha256 {bars.sha256[:12]}")
    return bars


def _check_file(folder: Path, entry: CacheEntry) -> Path:
    path = data_file(folder, entry.content)
    try:
        found = _sha256(path)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    if found != entry.file_sha256:
        raise _damaged(path, f"sha256 {found[:12]}")
    return path


def _damaged(path: Path, got: str) -> DataError:
    return DataError(
        f"a cached file must be what its manifest says ({path.name})",
        got,
        "Remove it and its .json, and fetch again.",
    )


def _revision(folder: Path, bars: Bars, origin: Origin) -> tuple[str | None, dict[str, str]]:
    """Compare with the newest entry of the same symbols; return its hash and what differs."""
    wanted = (origin.provider, origin.interval, set(bars.symbols))
    entries = readable_manifests(folder).items()
    for _, entry in sorted(entries, key=lambda pair: pair[0].stat().st_mtime, reverse=True):
        if (entry.origin.provider, entry.origin.interval, set(entry.symbols)) != wanted:
            continue
        try:
            revised = _differences(_verified(folder, entry), bars)
        except DataError:
            continue  # A damaged entry cannot be compared with.
        return (entry.content if revised else None), revised
    return None, {}


def _differences(old: Bars, new: Bars) -> dict[str, str]:
    """Return symbols whose common history differs, with the first such day.

    Compared are closes and volumes as traded, and adjusted returns: the level of adjusted prices
    and volumes changes with every later dividend and split, the history does not.
    """
    dates = old.dates.intersection(new.dates)
    if len(dates) < 2:
        return {}
    found: dict[str, str] = {}
    for symbol in new.symbols:
        one, other = (_history(bars, symbol, bars.dates.get_indexer(dates)) for bars in (old, new))
        alike = np.isclose(one, other, rtol=_REVISED, atol=0.0, equal_nan=True).all(axis=0)
        if not alike.all():
            found[symbol] = f"{dates[int(np.flatnonzero(~alike)[0])]:%Y-%m-%d}"
    return found


def _history(bars: Bars, symbol: str, rows: Any) -> Any:
    column = bars.symbols.index(symbol)
    close = bars.close[rows, column]
    later = bars.split[::-1, column].cumprod()[::-1] / bars.split[:, column]
    lines = [bars.raw_close[rows, column], np.append(np.nan, close[1:] / close[:-1])]
    if bars.volume is not None:
        lines.append((bars.volume[:, column] / later)[rows])
    return np.stack(lines)


def _universe(bars: Bars) -> dict[str, tuple[str, str]]:
    days = {
        symbol: (f"{bars.dates[first]:%Y-%m-%d}", f"{bars.dates[last]:%Y-%m-%d}")
        for symbol, (first, last) in zip(bars.symbols, bars.lifetimes, strict=True)
        if first <= last
    }
    return dict(sorted(days.items()))


def _name(symbols: tuple[str, ...], interval: str) -> str:
    shown = "+".join(symbols[:3]) + (f"+{len(symbols) - 3}" if len(symbols) > 3 else "")
    return f"{shown}-{interval}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK):
            yield
    except OSError as error:
        raise DataError(
            f"the cache {folder} must be writable", error.strerror or str(error), "Choose another."
        ) from None
