"""Bars from the bundled samples and from files; fetching from Yahoo is in ``yahoo``."""

import hashlib
import os
import tomllib
import warnings
from gzip import decompress
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.tables import bars_from_table, bars_to_table

__all__ = ["load_bars", "load_sample", "read_bars", "write_bars", "sample_names", "read_table"]

_PACKAGE = Path(__file__).resolve().parents[1]
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


def load_bars(name: str) -> Bars:
    """Bars of a bundled sample, or of a CSV or Parquet file.

    Raises:
        DataError: there is neither, or the file is wrong.
    """
    return load_sample(name) if name in sample_names() else read_bars(Path(name))


def read_bars(path: str | Path) -> Bars:
    """Read bars from a CSV or Parquet file in long format.

    Columns: date, symbol, open, high, low, close, volume; or date, symbol, close. Optional are
    raw_close, split, dividend and tradable. Prices in open to close are adjusted for splits and
    dividends. Nothing is repaired.

    Raises:
        DataError: the file is missing, unreadable or holds impossible bars; one sentence each.
    """
    table = read_table(path)
    try:
        return bars_from_table(table)
    except DataError as error:
        raise DataError(f"{Path(path).name}: {error.must}", error.got, error.remedy) from None


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file as it is, without judging its content.

    Raises:
        DataError: the file is missing or not what its name says.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise DataError("a bars file must end in .csv or .parquet", path.name, "Rename or convert.")
    if path.is_dir():
        raise DataError("bars must be in a file", f"the directory {path}", "Name the file.")
    if not path.exists():
        raise DataError("the file of bars must exist", f"nothing at {path}", "Check the path.")
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)


def write_bars(bars: Bars, path: str | Path) -> None:
    """Write bars so that ``read_bars`` returns equal ones; an interrupted write leaves no file.

    Raises:
        DataError: the name ends in neither .csv nor .parquet, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise DataError("a bars file must end in .csv or .parquet", path.name, "Rename it.")
    table = bars_to_table(bars)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".csv":
            table.to_csv(aside, index=False)
        else:
            # Without pandas' own metadata the bytes depend on the bars and on pyarrow alone.
            plain = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
            pq.write_table(plain, aside, compression="zstd")
        os.replace(aside, path)
    except OSError as error:
        raise DataError(f"{path} must be writable", str(error), "Choose another path.") from None
    finally:
        aside.unlink(missing_ok=True)


def _read_csv(path: Path) -> pd.DataFrame:
    """Read every cell as text: a symbol may be called NA or TRUE, and numbers are read exactly."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
            )
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name} must hold bars", "an empty file", "Add the data.") from None
    except pd.errors.ParserWarning:
        reason = "a row has more cells than the header"
    except (pd.errors.ParserError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
    raise DataError(
        f"{path.name} must be a CSV table", reason, "Save it as comma-separated UTF-8 text."
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pq.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path.name} must be a Parquet table", reason, "Write it again.") from None
    return table.reset_index() if any(table.index.names) else table


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
