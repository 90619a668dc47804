"""Bars as a long table (one row per date and symbol) and back."""

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trading_rlhf.errors import DataError
from trading_rlhf.market.actions import split_days
from trading_rlhf.market.adjustment import Panels, adjusted_panels, split_remedy
from trading_rlhf.market.bars import ARRAY_NAMES, Bars
from trading_rlhf.market.dates import read_dates
from trading_rlhf.market.layouts import LongTable, long_table
from trading_rlhf.types import BoolArray, FloatArray

__all__ = ["bars_from_table", "bars_of", "bars_to_table", "plain_number"]

_ABSENT: Final = {"split": 1.0, "dividend": 0.0}


def bars_to_table(bars: Bars) -> pd.DataFrame:
    """Return bars as a long table, dates first, without columns that say nothing."""
    n_bars, n_assets = bars.shape
    columns: dict[str, Any] = {
        "date": bars.dates.repeat(n_assets),
        "symbol": pd.Categorical.from_codes(
            np.tile(np.arange(n_assets), n_bars), pd.Index(bars.symbols, dtype=object)
        ),
    }
    for name in ARRAY_NAMES:
        array = getattr(bars, name)
        if array is not None and not _says_nothing(bars, name, array):
            columns[name] = array.ravel()
    return pd.DataFrame(columns, copy=False)


def bars_from_table(table: pd.DataFrame, name: str = "") -> Bars:
    """Read bars from a table in one of the layouts of ``long_table``.

    ``date``, ``symbol`` and ``close`` are enough; raw_close, split, dividend and tradable may be
    added, other columns are ignored. A date and symbol without a row is a missing bar.

    Args:
        table: as read.
        name: of the file without its ending.

    Raises:
        DataError: a missing column, a date or number that cannot be read, unsorted or repeated
            dates, several currencies, prices that are not adjusted, or bars that are impossible.
    """
    return bars_of(long_table(table, name))[0]


def bars_of(long: LongTable, judge_splits: bool = True) -> tuple[Bars, tuple[str, ...]]:
    """Return the bars of a long table, and what was understood or done in one sentence each.

    Args:
        long: the table.
        judge_splits: refuse prices that are not adjusted for a split of the table.

    Raises:
        DataError: as ``bars_from_table``.
    """
    table = long.table
    rows, dates, note = read_dates(table["date"])
    symbols = _symbols(table["symbol"])
    columns, names = pd.factorize(symbols)
    _check_order(dates, rows, columns, names)
    _check_currency(table, columns, names)
    shape = (len(dates), len(names))

    def panel(name: str) -> FloatArray | None:
        if name not in table:
            return None
        array = np.full(shape, _ABSENT.get(name, np.nan))
        array[rows, columns] = _numbers(table[name])
        return array

    tradable = np.zeros(shape, dtype=bool)
    tradable[rows, columns] = _flags(table["tradable"]) if "tradable" in table else True
    given = (*(name for name in ARRAY_NAMES if name != "tradable"), "adj_close")
    # Impossible numbers give impossible ones, which Bars refuses.
    with np.errstate(all="ignore"):
        panels, done = adjusted_panels(
            {name: panel(name) for name in given}, tradable, long.events_of_yahoo
        )
        if judge_splits:
            _check_splits(panels, tradable, dates, [str(name) for name in names])
    bars = Bars(dates, [str(name) for name in names], **panels, tradable=tradable)  # type: ignore[arg-type]
    return bars, (*long.notes, *([note] if note else []), *done)


def plain_number(column: "pd.Series[Any]") -> FloatArray | None:
    """Read numbers exactly, a blank as a missing one; None where a cell is no number."""
    if column.dtype == np.float64:
        return column.to_numpy()
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_complex_dtype(column):
        return None
    if pd.api.types.infer_dtype(column) == "decimal":
        column = column.map(str, na_action="ignore")
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    try:
        text = pc.utf8_trim_whitespace(pa.array(column, pa.string(), from_pandas=True))
        blank = pc.equal(text, "")
        cells = pc.if_else(blank, pa.scalar(None, pa.string()), text).cast(pa.float64())
    except pa.ArrowException:
        return None
    return np.asarray(cells.to_numpy(zero_copy_only=False), dtype=np.float64)


def _check_splits(
    panels: Panels, tradable: BoolArray, dates: pd.DatetimeIndex, names: list[str]
) -> None:
    """Refuse prices that were not adjusted for a split of the same table."""
    close, raw, split = panels["close"], panels["raw_close"], panels["split"]
    if split is None or close is None:
        return
    for day in split_days(np.where(tradable, close, np.nan), close if raw is None else raw, split):
        if day.fault:
            raise DataError(
                "close must be adjusted for splits, and raw_close must not",
                f"{day.moved:+.1%} in close on the {day.ratio:g}-for-1 split of "
                f"{names[day.column]} on {dates[day.row]:%Y-%m-%d}, where {day.fault} is at fault",
                split_remedy(),
            )


def _check_currency(
    table: pd.DataFrame, columns: "np.ndarray[Any, np.dtype[np.intp]]", names: "pd.Index[Any]"
) -> None:
    if "currency" not in table:
        return
    codes, currencies = pd.factorize(table["currency"])
    if len(currencies) > 1:
        other = int(np.flatnonzero(codes != codes[0])[0])
        raise DataError(
            "all bars must be in one currency",
            f"{currencies[codes[0]]} for {names[columns[0]]} and {currencies[codes[other]]} for "
            f"{names[columns[other]]}",
            "Convert the prices or keep one file per currency.",
        )


def _says_nothing(bars: Bars, name: str, array: FloatArray | BoolArray) -> bool:
    if name == "raw_close":
        return np.array_equal(array, bars.close, equal_nan=True) and bool((bars.split == 1.0).all())
    if name == "tradable":
        return bool(array.all())
    return name in _ABSENT and bool((array == _ABSENT[name]).all())


def _symbols(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Names as text; blanks are refused."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        given = column.cat.categories
        names = [str(name).strip() for name in given]
        codes = column.cat.codes.to_numpy()
        empty = np.array([not name for name in names], dtype=bool)
        blank = (codes < 0) | (empty[codes] if len(names) else False)
        symbols = column if list(given) == names else column.astype(str).str.strip()
    else:
        symbols = column.fillna("").astype(str).str.strip()
        blank = (symbols == "").to_numpy()
    if blank.any():
        raise DataError("every row must name a symbol", _cell(column, blank), "Fill it in.")
    return symbols


def _numbers(column: "pd.Series[Any]") -> FloatArray:
    numbers = plain_number(column)
    if numbers is None:
        raise DataError(
            f"{column.name} must hold numbers", _first_word(column), "Correct the number."
        )
    return numbers


def _first_word(column: "pd.Series[Any]") -> str:
    """Name the first cell that is no number, found by halving."""
    first, last = 0, len(column)
    while last - first > 1:
        middle = (first + last) // 2
        if plain_number(column.iloc[first:middle]) is None:
            last = middle
        else:
            first = middle
    return f"{column.iloc[first]!r} in data row {first + 1}"


def _flags(column: "pd.Series[Any]") -> BoolArray:
    if pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=bool)
    words = column.astype(str).str.strip().str.lower()
    bad = ~words.isin(["true", "false"]).to_numpy()
    if bad.any():
        raise DataError("tradable must be true or false", _cell(column, bad), "Correct the word.")
    return (words == "true").to_numpy()


def _check_order(
    dates: pd.DatetimeIndex,
    rows: "np.ndarray[Any, np.dtype[np.intp]]",
    columns: "np.ndarray[Any, np.dtype[np.intp]]",
    names: "pd.Index[Any]",
) -> None:
    """Each symbol's dates must ascend in the order of the table, each once."""

    def name(row: int) -> str:
        return f"{dates[rows[row]]:%Y-%m-%d} of {names[columns[row]]} in data row {row + 1}"

    cells = rows.astype(np.int64) * len(names) + columns
    if (np.diff(cells) > 0).all():
        return
    order = np.argsort(columns, kind="stable")
    step = np.diff(rows[order])
    same = np.diff(columns[order]) == 0
    late = np.flatnonzero(same & (step <= 0))
    if not late.size:
        return
    repeats = np.flatnonzero(pd.Series(cells).duplicated())
    if repeats.size:
        raise DataError(
            "a symbol may have one row per date",
            f"a second {name(int(repeats[0]))}",
            "Drop the repeat.",
        )
    raise DataError(
        "each symbol's dates must ascend",
        f"{name(int(order[late[0] + 1]))} after {name(int(order[late[0]]))}",
        "Sort the file by date.",
    )


def _cell(column: "pd.Series[Any]", bad: BoolArray) -> str:
    """Name the first bad cell of a column."""
    row = int(np.flatnonzero(bad)[0])
    return f"{column.iloc[row]!r} in data row {row + 1}"
