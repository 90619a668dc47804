"""Bars from the bundled samples and from files; ``catalog`` finds them by name."""

import csv
import hashlib
import re
import tomllib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import decompress
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.layouts import field_of, long_table
from trading_rlhf.market.tables import bars_of, bars_to_table

__all__ = [
    "load_sample",
    "read_bars",
    "read_bars_and_notes",
    "write_bars",
    "sample_names",
    "read_table",
    "named_in_errors",
    "check_file_name",
]

_PACKAGE = Path(__file__).resolve().parents[1]
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars"}
_FOLDERS = (_PACKAGE / "_samples", _PACKAGE.parent / "data")


def sample_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names that ``load_sample`` takes."""
    return tuple(_manifest(folder)[1])


def load_sample(name: str, folder: Path | None = None) -> Bars:
    """Load bundled bars and verify that they are the ones in the manifest.

    Args:
        name: "us4" (AAPL, GOOG, IBM, MSFT, daily bars 2000 to 2013) or "sp20" (20 US stocks,
            daily closes 1990 to 2022, read from the installed skfolio package).
        folder: where manifest.toml lies; by default the installed or the checked-out samples.

    Raises:
        DataError: an unknown name, a missing file, or content other than the manifest's.
    """
    place, entries = _manifest(folder)
    if name not in entries:
        raise DataError(f"a sample must be one of {', '.join(entries)}", name, "Choose one.")
    entry = entries[name]
    if "package" in entry:
        content = decompress(_package_file(entry))
        _verify(content, entry["sha256"], name, entry["resource"])
        return _closes(content)
    path = place / entry["file"]
    if not path.exists():
        path = place / Path(entry["file"]).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} must be readable", str(error), "Install again.") from None
    _verify(content, entry["sha256"], name, str(path))
    return read_bars(path)


def read_bars(path: str | Path) -> Bars:
    """Read bars from a CSV or Parquet file.

    One row per date and symbol with the columns date, symbol, open, high, low, close, volume; or
    date, symbol, close; or a date and one column of closes per symbol; or what yfinance returns.
    Optional are raw_close, split, dividend, tradable and currency. Prices in open to close are
    adjusted for splits and dividends, or come with an adjusted close. Nothing is repaired.

    Raises:
        DataError: the file is missing, unreadable or holds impossible bars; one sentence each.
    """
    return read_bars_and_notes(path)[0]


def read_bars_and_notes(path: str | Path) -> tuple[Bars, tuple[str, ...]]:
    """Read bars as ``read_bars``, and what was understood or done in one sentence each.

    Raises:
        DataError: as ``read_bars``.
    """
    path = Path(path)
    table = read_table(path)
    with named_in_errors(path):
        return bars_of(long_table(table, path.stem))


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Name the file in errors about its content."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path.name}: {error.must}", error.got, error.remedy) from None


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file as it is, without judging its content.

    Raises:
        DataError: the file is missing or not what its name says.
    """
    path = check_file_name(path)
    if path.is_dir():
        raise DataError("bars must be in a file", f"the directory {path}", "Name the file.")
    if not path.exists():
        raise DataError("the file of bars must exist", f"nothing at {path}", "Check the path.")
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)


def write_bars(bars: Bars, path: str | Path) -> None:
    """Write bars so that ``read_bars`` returns equal ones; a kill leaves the old file or the new.

    Raises:
        DataError: the name ends in neither .csv nor .parquet, or the file cannot be written.
    """
    # The store's database is loaded with it.
    from trading_rlhf.store.files import whole_file

    path = check_file_name(path)
    table = bars_to_table(bars)
    try:
        with whole_file(path) as aside:
            if path.suffix.lower() == ".csv":
                table.to_csv(aside, index=False)
            else:
                # Without pandas' own metadata the bytes depend on the bars and on pyarrow alone.
                plain = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
                place = plain.schema.get_field_index("symbol")
                names = plain.column(place).cast(pa.string())
                pq.write_table(plain.set_column(place, "symbol", names), aside, compression="zstd")
    except OSError as error:
        raise DataError(f"{path} must be writable", str(error), "Choose another path.") from None


def check_file_name(path: str | Path) -> Path:
    """Return the path of a file of bars.

    Raises:
        DataError: its name ends in neither .csv nor .parquet.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        got = path.name or "no name"
        raise DataError("a bars file must end in .csv or .parquet", got, "Rename or convert it.")
    return path


def _read_csv(path: Path) -> pd.DataFrame:
    """Read every cell as text: a symbol may be called NA or TRUE, and numbers are read exactly."""
    try:
        head = _header(path)
        if head.separated_by:
            raise _no_csv(path, f"columns separated by {head.separated_by}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
                header=0,
                skiprows=range(1, head.rows),
            )
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name} must hold bars", "an empty file", "Add the data.") from None
    except pd.errors.ParserWarning:
        reason = "a row has more cells than the header"
    except (pd.errors.ParserError, csv.Error, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    else:
        fits = len(head.names) == len(table.columns)
        return table.set_axis(list(head.names), axis=1) if fits else table
    raise _no_csv(path, reason)


def _no_csv(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path.name} must be a CSV table", reason, "Save it as comma-separated UTF-8 text."
    )


@dataclass(frozen=True)
class _Header:
    """Names of a CSV table's columns as written, and the rows that they take."""

    names: tuple[object, ...]
    rows: int

    @property
    def separated_by(self) -> str:
        """The mark other than a comma that separates the names; empty where there is none."""
        alone = str(self.names[0]) if len(self.names) == 1 else ""
        return next((name for mark, name in _SEPARATORS.items() if mark in alone), "")


def _header(path: Path) -> _Header:
    """Read one row of names, or two of fields and symbols as pandas writes yfinance's tables."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(islice(csv.reader(file), 3))
    first = lines[0] if lines else []
    second = lines[1] if len(lines) > 1 else []
    corner = second[0].strip().lower() if second else "-"
    if len(first) < 2 or len(first) != len(second) or corner not in ("", "ticker", "price"):
        return _Header(tuple(first), 1)
    one, other = first[1:], second[1:]
    numbers = any(_NUMBER.fullmatch(cell.strip()) for cell in (*one, *other))
    if numbers or not (all(map(field_of, one)) or all(map(field_of, other))):
        return _Header(tuple(first), 1)
    third = lines[2] if len(lines) > 2 else []
    rows = 3 if third and field_of(third[0]) == "date" and not any(third[1:]) else 2
    return _Header((("date", ""), *zip(one, other, strict=True)), rows)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        # A symbol is kept once, and columns are handed over one by one: long histories fit.
        names = [
            column.name
            for column in pq.read_schema(path)
            if field_of(column.name) == "symbol" and pa.types.is_string(column.type)
        ]
        file = pq.ParquetFile(path, read_dictionary=names)
        table: pd.DataFrame = file.read().to_pandas(split_blocks=True, self_destruct=True)
    # Bytes that were damaged can mean anything, and raise anything.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path.name} must be a Parquet table", reason, "Write it again.") from None
    return table


def _manifest(folder: Path | None) -> tuple[Path, dict[str, Any]]:
    for place in _FOLDERS if folder is None else (folder,):
        path = place / "manifest.toml"
        if path.exists():
            return place, tomllib.loads(path.read_text(encoding="utf-8"))
    raise DataError("the samples must be installed", "no manifest.toml", "Install again.")


def _package_file(entry: dict[str, Any]) -> bytes:
    try:
        path = Path(str(distribution(entry["package"]).locate_file(entry["resource"])))
        return path.read_bytes()
    except (PackageNotFoundError, OSError) as error:
        raise DataError(
            f"{entry['package']} must be installed with its data",
            str(error),
            f"Run pip install {entry['package']}=={entry['version']}.",
        ) from None


def _verify(content: bytes, expected: str, name: str, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"sample {name} must have the sha256 {expected[:12]} of the manifest",
            f"{found[:12]} in {where}",
            "Restore the file, or rebuild it with data/build_samples.py.",
        )


def _closes(content: bytes) -> Bars:
    """Read a wide table of closes: one row per date, one column per symbol."""
    wide = pd.read_csv(BytesIO(content), index_col=0)
    close = wide.to_numpy(dtype=np.float64)
    return Bars(list(wide.index), list(wide.columns), None, None, None, close, None)
