"""Manifests of cached bars: what each entry is, and which files of a folder are the cache's."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from trading_rlhf.errors import DataError

__all__ = [
    "CacheEntry",
    "Origin",
    "broken_manifests",
    "cache_entries",
    "data_file",
    "manifest_file",
    "read_manifest",
    "readable_manifests",
    "sweep",
]

_ENTRY = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = re.compile(r"\.?[0-9a-f]{64}\.(parquet|json)\.\d+\.(part|new)")
_Hash: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Time: TypeAlias = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d")]


@dataclass(frozen=True)
class Origin:
    """Where bars come from.

    Attributes:
        provider: "Yahoo Finance".
        version: of the client that fetched them ("yfinance 1.7.0").
        interval: "1d" or "1h".
        adjustment: what is proven about splits, by symbol ("proven on 2020-08-31", "no split in
            range").
        currency: of all prices; None where the provider does not say.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    provider: str
    version: str
    interval: str
    adjustment: dict[str, str]
    currency: str | None


@dataclass(frozen=True)
class CacheEntry:
    """The manifest of an entry.

    Attributes:
        content: hex sha256 of the bars (``Bars.sha256``), the entry's name on disk.
        file_sha256: hex sha256 of the Parquet file's bytes.
        name: symbols and interval ("AAPL+MSFT-1d"), for people.
        symbols: all assets.
        universe: first and last day with a bar, by symbol.
        bars: number of bars T.
        fetched_at: ISO time in UTC.
        origin: where the bars come from.
        revises: content hash of the newest earlier entry of these symbols and interval whose
            common history differs; None where there is none.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    content: _Hash
    file_sha256: _Hash
    name: Annotated[str, Field(min_length=1)]
    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    universe: Annotated[dict[str, tuple[str, str]], Field(min_length=1)]
    bars: Annotated[int, Field(ge=1)]
    fetched_at: _Time
    origin: Origin
    revises: _Hash | None


_MANIFEST = TypeAdapter(CacheEntry)


def cache_entries(folder: Path) -> tuple[CacheEntry, ...]:
    """Return all entries whose manifests can be read, the newest last.

    Raises:
        DataError: the folder is none.
    """
    entries = readable_manifests(folder).values()
    return tuple(sorted(entries, key=lambda entry: (entry.fetched_at, entry.content)))


def broken_manifests(folder: Path) -> dict[str, DataError]:
    """Return what is wrong with each manifest that cannot be read, by the hash in its name.

    Raises:
        DataError: the folder is none.
    """
    broken: dict[str, DataError] = {}
    for path in _manifests(folder):
        try:
            read_manifest(path)
        except DataError as error:
            broken[path.stem] = error
    return broken


def readable_manifests(folder: Path) -> dict[Path, CacheEntry]:
    """Return every entry whose manifest can be read, by the manifest's path.

    Raises:
        DataError: the folder is none.
    """
    found: dict[Path, CacheEntry] = {}
    for path in _manifests(folder):
        with suppress(DataError):
            found[path] = read_manifest(path)
    return found


def read_manifest(path: Path) -> CacheEntry:
    """Read one manifest.

    Raises:
        DataError: it cannot be read, or is not what its name says.
    """
    try:
        entry = _MANIFEST.validate_json(path.read_bytes())
        if entry.content == path.stem:
            return entry
        got = f"the hash {entry.content[:12]} within"
    except ValidationError as error:
        first = error.errors()[0]
        got = " ".join((".".join(map(str, first["loc"])), first["msg"])).strip()
    except OSError as error:
        got = error.strerror or str(error)
    raise DataError(
        f"a manifest of the cache must be readable ({path.name})",
        got,
        "Remove it and its .parquet, and fetch again.",
    )


def sweep(folder: Path) -> None:
    """Remove what a killed process left: files not yet renamed, bars without a manifest."""
    for path in folder.iterdir():
        bars = path.suffix == ".parquet" and _ENTRY.fullmatch(path.stem)
        orphan = bars and not path.with_suffix(".json").exists()
        if (orphan or _UNFINISHED.fullmatch(path.name)) and not path.is_dir():
            path.unlink()


def data_file(folder: Path, content: str) -> Path:
    """Return the place of an entry's bars."""
    return folder / f"{content}.parquet"


def manifest_file(folder: Path, content: str) -> Path:
    """Return the place of an entry's manifest."""
    return folder / f"{content}.json"


def _manifests(folder: Path) -> list[Path]:
    """The cache's own manifests; other files may lie beside them."""
    if folder.is_dir():
        return [path for path in folder.glob("*.json") if _ENTRY.fullmatch(path.stem)]
    if any(place.exists() and not place.is_dir() for place in (folder, *folder.parents)):
        raise DataError("a cache must be a folder", f"{folder}", "Name another with --cache.")
    return []
