"""Bars as a long table (one row per date and symbol) and back."""

from typing import Any, Final

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import ARRAY_NAMES, YEARS, Bars
from trading_rlhf.types import BoolArray, FloatArray

__all__ = ["bars_from_table", "bars_to_table", "named_columns", "COLUMNS"]

COLUMNS: Final = ("date", "symbol", *ARRAY_NAMES)
_REQUIRED = ("date", "symbol", "close")
_ABSENT = {"split": 1.0, "dividend": 0.0}
_ZONE = r"[T ].*(?:Z|[+-]\d\d:?\d\d)$"


def bars_to_table(bars: Bars) -> pd.DataFrame:
    """Return bars as a long table, dates first, without columns that say nothing."""
    n_bars, n_assets = bars.shape
    columns: dict[str, Any] = {
        "date": bars.dates.repeat(n_assets),
        "symbol": np.tile(np.array(bars.symbols, dtype=object), n_bars),
    }
    for name in ARRAY_NAMES:
        array = getattr(bars, name)
        if array is not None and not _says_nothing(bars, name, array):
            columns[name] = array.ravel()
    return pd.DataFrame(columns)


def bars_from_table(table: pd.DataFrame) -> Bars:
    """Read bars from a long table with the columns date, symbol, open, high, low, close, volume.

    ``date``, ``symbol`` and ``close`` are enough; raw_close, split, dividend and tradable may be
    added, other columns are ignored. A date and symbol without a row is a missing bar.

    Raises:
        DataError: a missing column, a date or number that cannot be read, unsorted or repeated
            dates, or bars that are impossible.
    """
    table = named_columns(table)
    when, symbols = _dates(table["date"]), _symbols(table["symbol"])
    rows, dates = pd.factorize(when, sort=True)
    columns, names = pd.factorize(symbols)
    _check_order(when, rows, columns, symbols)
    shape = (len(dates), len(names))

    def panel(name: str) -> FloatArray | None:
        if name not in table:
            return None
        array = np.full(shape, _ABSENT.get(name, np.nan))
        array[rows, columns] = _numbers(table[name])
        return array

    tradable = np.zeros(shape, dtype=bool)
    tradable[rows, columns] = _flags(table["tradable"]) if "tradable" in table else True
    close = panel("close")
    assert close is not None  # noqa: S101 - a required column
    return Bars(
        pd.DatetimeIndex(dates),
        [str(name) for name in names],
        **{name: panel(name) for name in ("open", "high", "low", "volume")},
        close=close,
        **{name: panel(name) for name in ("raw_close", "split", "dividend")},
        tradable=tradable,
    )


def named_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with lower-case column names, all needed ones present.

    Raises:
        DataError: a column is missing or ambiguous, or there are no rows.
    """
    found = [str(name).strip().lower() for name in table.columns]
    shown = ", ".join(found)[:200]
    repeated = sorted({name for name in found if found.count(name) > 1} & set(COLUMNS))
    if repeated:
        raise DataError("a column may occur once", ", ".join(repeated), "Drop the repeats.")
    if {"adj close", "adj_close"} & set(found):
        raise DataError(
            "close must be adjusted for splits and dividends, with the traded one in raw_close",
            f"a column adj close beside {shown}",
            "Rename close to raw_close and adj close to close, and scale open, high and low alike.",
        )
    needed = [*_REQUIRED, *(("open", "high", "low") if {"high", "low"} & set(found) else ())]
    missing = [name for name in needed if name not in found]
    if missing:
        raise DataError(
            "bars need the columns date, symbol, close (or open, high, low, close, volume)",
            f"no {', '.join(missing)} among {shown or 'no columns'}",
            "Add or rename the column.",
        )
    if table.empty:
        raise DataError("bars must cover at least one date", "no rows", "Add the data.")
    return table.set_axis(found, axis=1)


def _says_nothing(bars: Bars, name: str, array: FloatArray | BoolArray) -> bool:
    if name == "raw_close":
        return np.array_equal(array, bars.close, equal_nan=True) and bool((bars.split == 1.0).all())
    if name == "tradable":
        return bool(array.all())
    return name in _ABSENT and bool((array == _ABSENT[name]).all())


def _dates(column: "pd.Series[Any]") -> pd.DatetimeIndex:
    if pd.api.types.is_datetime64_any_dtype(column):
        index = pd.DatetimeIndex(column)
        bad = np.asarray(~index.year.isin(YEARS))
    else:
        text = column.astype(str).str.strip()
        zoned = text.str.contains(_ZONE)
        read = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
        bad = ~read.dt.year.isin(YEARS).to_numpy()
        if zoned.any() and not (zoned | bad).all():
            raise DataError(
                "all dates or none must carry a time zone", "both kinds", "Write them in one way."
            )
        if not bad.any():
            index = pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=bool(zoned.any())))
    if bad.any():
        raise DataError(
            "every date must be written like 2009-03-02",
            _cell(column, bad),
            "Correct the date.",
        )
    return index if index.tz is None else index.tz_convert("UTC")


def _symbols(column: "pd.Series[Any]") -> "pd.Series[str]":
    symbols = column.fillna("").astype(str)
    blank = (symbols.str.strip() == "").to_numpy()
    if blank.any():
        raise DataError("every row must name a symbol", _cell(column, blank), "Fill it in.")
    return symbols


def _numbers(column: "pd.Series[Any]") -> FloatArray:
    """Read numbers exactly; a blank is a missing number."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = column.fillna("nan").replace(r"^\s*$", "nan", regex=True).to_numpy(dtype=object)
    try:
        return values.astype(np.float64)
    except (ValueError, TypeError):
        bad = np.array([not _is_number(value) for value in values])
        raise DataError(
            f"{column.name} must hold numbers", _cell(column, bad), "Correct the number."
        ) from None


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False
    return True


def _flags(column: "pd.Series[Any]") -> BoolArray:
    words = column.astype(str).str.strip().str.lower()
    bad = ~words.isin(["true", "false"]).to_numpy()
    if bad.any():
        raise DataError("tradable must be true or false", _cell(column, bad), "Correct the word.")
    return (words == "true").to_numpy()


def _check_order(
    when: pd.DatetimeIndex,
    rows: "np.ndarray[Any, np.dtype[np.intp]]",
    columns: "np.ndarray[Any, np.dtype[np.intp]]",
    symbols: "pd.Series[str]",
) -> None:
    """Each symbol's dates must ascend in the order of the table, each once."""
    order = np.argsort(columns, kind="stable")
    same = columns[order][1:] == columns[order][:-1]
    step = np.diff(rows[order])

    def name(row: int) -> str:
        return f"{when[row]:%Y-%m-%d} of {symbols.iloc[row]} in data row {row + 1}"

    repeats = pd.Series(rows.astype(np.int64) * (columns.max() + 1) + columns).duplicated()
    if repeats.any():
        row = int(np.flatnonzero(repeats)[0])
        raise DataError(
            "a symbol may have one row per date",
            f"a second {name(row)}",
            "Drop the repeat.",
        )
    late = np.flatnonzero(same & (step < 0))
    if late.size:
        raise DataError(
            "each symbol's dates must ascend",
            f"{name(int(order[late[0] + 1]))} after {name(int(order[late[0]]))}",
            "Sort the file by date.",
        )


def _cell(column: "pd.Series[Any]", bad: BoolArray) -> str:
    """Name the first bad cell of a column."""
    row = int(np.flatnonzero(bad)[0])
    return f"{column.iloc[row]!r} in data row {row + 1}"
