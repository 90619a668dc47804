"""The shapes in which tables of bars come, turned into one row per date and symbol."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import ARRAY_NAMES, PRICE_NAMES

__all__ = ["LongTable", "long_table", "field_of", "COLUMNS"]

COLUMNS: Final = ("date", "symbol", *ARRAY_NAMES, "adj_close", "currency")
_REQUIRED = ("date", "symbol", "close")
_ALIASES: Final = {
    "date": ("datetime", "timestamp", "time", "date time"),
    "symbol": ("ticker", "tic", "code", "sym"),
    "volume": ("vol",),
    "adj_close": ("adj close", "adjclose", "adj. close", "adjusted close"),
    "raw_close": ("raw close", "unadjusted close"),
    "split": ("splits", "stock splits", "split ratio", "split factor"),
    "dividend": ("dividends", "ex dividend"),
}
_FIELDS = {name: name for name in COLUMNS} | {
    alias: name for name, aliases in _ALIASES.items() for alias in aliases
}
# Only in lower case: C, V and T are symbols of companies.
_LETTERS = dict(zip("tohlcv", ("date", *PRICE_NAMES, "volume"), strict=True))
# A table with one of these words in a name is not one of closes by symbol.
_BAR_WORDS: Final = frozenset(word for name in _FIELDS for word in re.split(r"[ _.]+", name)) | {
    *("price", "prices", "prc", "last", "settle", "settlement", "bid", "ask", "mid", "vwap"),
    *("adjusted", "return", "returns", "ret", "turnover", "shares", "name"),
}
_PAIR = re.compile(r"""\((['"])([^'"]*)\1,\s*(['"])([^'"]*)\3\)""")
_WORD = re.compile(r"[A-Z]?[a-z][a-z _]*")
_JUDGED_ROWS = 50
_BLANK: Final = ("", "nan", "NaN", "None", "<NA>", "NaT")
_TICKER = re.compile(r"[A-Z^][A-Z0-9.\-=^]{0,9}")


@dataclass(frozen=True, eq=False)
class LongTable:
    """One row per date and symbol, under the names of ``COLUMNS``; other columns are left out.

    Attributes:
        table: the cells as they came.
        notes: what was understood beyond the plain layout, one sentence each.
        events_of_yahoo: splits and dividends are Yahoo's: 0 for no split, shares of the last day.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    events_of_yahoo: bool = False


def long_table(table: pd.DataFrame, name: str = "") -> LongTable:
    """Recognise a long table, a table of closes by symbol, or yfinance's two-level columns.

    Args:
        table: as read.
        name: of the file without its ending; a table of one symbol without a column for it, as
            yfinance's ``Ticker.history`` gives, is of the symbol in the file's name.

    Raises:
        DataError: a column is missing or ambiguous, or there are no rows.
    """
    notes: list[str] = []
    table = _without_blanks(_with_index(table))
    pairs = _pairs(table.columns)
    if pairs is not None:
        table = _from_pairs(table, pairs)
        notes.append("Two-level columns (field and symbol) were read as one row per symbol.")
    fields = [field_of(column) for column in table.columns]
    if "date" not in fields and fields and _plain(table.columns[0]) in ("", "index", "unnamed: 0"):
        fields[0] = "date"
    if _is_wide(table.columns, fields):
        table = _from_wide(table, fields)
        fields = list(table.columns)
        notes.append("A wide table of closes: each column but the date was read as a symbol.")
    if "symbol" not in fields and "close" in fields and _TICKER.fullmatch(name):
        table = table.assign(symbol=name)
        fields.append("symbol")
        notes.append(f"No column names the symbol: the file's name was taken, {name}.")
    _require(table, fields)
    known = [i for i, field in enumerate(fields) if field is not None]
    yahoo = any(_plain(column) == "stock splits" for column in table.columns)
    picked = table.iloc[:, known].set_axis([str(fields[i]) for i in known], axis=1)
    _check_cells(picked)
    return LongTable(picked, tuple(notes), yahoo)


def _check_cells(table: pd.DataFrame) -> None:
    """Refuse cells of lists, structs and bytes, with which nothing after this can be done."""
    for name, column in table.items():
        if not pd.api.types.is_object_dtype(column):
            continue
        if pd.api.types.infer_dtype(column, skipna=True) not in ("mixed", "bytes"):
            continue
        for row, cell in enumerate(column):
            if isinstance(cell, bytes) or not isinstance(cell, Hashable):
                raise DataError(
                    f"{name} must hold dates, text, numbers or flags",
                    f"{str(cell)[:40]!r} in data row {row + 1}",
                    "Write one of these in each cell.",
                )


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose dates or symbols in the index are columns."""
    index = table.index
    if isinstance(index, pd.DatetimeIndex):
        return table.reset_index(names=index.name or "date")
    return table.reset_index(drop=not any(index.names))


def _without_blanks(table: pd.DataFrame) -> pd.DataFrame:
    """Drop columns with neither a name nor a cell, as a comma at the end of each line makes."""
    nameless = [i for i, name in enumerate(table.columns) if i and not str(name).strip()]
    empty = [i for i in nameless if _blank(table.iloc[:, i]).all()]
    return table.iloc[:, np.delete(np.arange(table.shape[1]), empty)] if empty else table


def field_of(column: object) -> str | None:
    """Return the field of ``COLUMNS`` that a column's name stands for."""
    if isinstance(column, str) and column.strip() in _LETTERS:
        return _LETTERS[column.strip()]
    plain = _plain(column)
    return _FIELDS.get(plain) or _FIELDS.get(plain.replace(" ", "_"))


def _plain(column: object) -> str:
    """Lower case, one space between words, without the footnotes of a web page's table."""
    return " ".join(re.split(r"[\s_-]+", str(column).strip().lower().rstrip("*"))).strip()


def _is_wide(columns: "pd.Index[Any]", fields: list[str | None]) -> bool:
    """Whether there is a date and every other column is the name of a symbol."""
    named = any(field in ("symbol", "close", "adj_close") for field in fields)
    strangers = any(f is None and str(c).strip() for c, f in zip(columns, fields, strict=True))
    return fields.count("date") == 1 and strangers and not named


def _from_wide(table: pd.DataFrame, fields: list[str | None]) -> pd.DataFrame:
    place = fields.index("date")
    symbols = [str(name).strip() for i, name in enumerate(table.columns) if i != place]
    cells = table.iloc[:, np.delete(np.arange(table.shape[1]), place)]
    _check_symbols(symbols, cells)
    return _stacked(table.iloc[:, place], symbols, {"close": cells})


def _check_symbols(symbols: list[str], cells: pd.DataFrame) -> None:
    """Refuse what may be another kind of table: guessed, it would be read as other prices."""
    bar_words = [s for s in symbols if _BAR_WORDS & set(re.split(r"[ .]+", _plain(s)))]
    capitals = any(s == s.upper() != s.lower() for s in symbols)
    words = [s for s in symbols if capitals and _WORD.fullmatch(s)]
    head = cells.head(_JUDGED_ROWS)
    _check_cells(head)
    text = head.to_numpy(dtype=object).astype(str)
    numbers = pd.to_numeric(pd.Series(text.ravel()), errors="coerce").to_numpy()
    no_numbers = np.isnan(numbers.reshape(head.shape)).all(axis=0)
    no_numbers &= ~np.isin(text, _BLANK).all(axis=0)
    remedy = "Name the column of closes close, or give one row per date and symbol."
    for what, wrong in (
        ("a table without a close must have nothing but symbols beside its date", bar_words),
        ("symbols must all be in capitals or none", words),
        ("every column must have a name", ["a column without" for s in symbols if not s]),
        (
            "each symbol's closes must be numbers",
            [s for s, none in zip(symbols, no_numbers, strict=True) if none],
        ),
    ):
        if wrong:
            raise DataError(what, ", ".join(wrong)[:80], remedy)
    _check_once(symbols, "each symbol may occur once")


def _check_once(names: list[str], must: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(must, ", ".join(repeated)[:80], "Drop or rename one.")


def _pairs(columns: "pd.Index[Any]") -> list[tuple[str, str]] | None:
    """Return the two levels of each column's name, or None for plain names."""
    pairs = [_pair(column) for column in columns]
    told = [pair for pair in pairs if pair is not None]
    if not told or len(told) < len(pairs) - 1:
        return None
    return [pair or (str(column), "") for pair, column in zip(pairs, columns, strict=True)]


def _pair(column: object) -> tuple[str, str] | None:
    if isinstance(column, str) and (written := _PAIR.fullmatch(column)):
        return written[2], written[4]
    if isinstance(column, tuple) and len(column) == 2:
        return str(column[0]), str(column[1])
    return None


def _from_pairs(table: pd.DataFrame, pairs: list[tuple[str, str]]) -> pd.DataFrame:
    """Turn columns named (field, symbol) or (symbol, field) into rows."""
    places = [i for i, pair in enumerate(pairs) if "date" in map(field_of, pair)]
    place = places[0] if places else 0
    named = {i: pair for i, pair in enumerate(pairs) if i != place}
    fields = [sum(field_of(pair[level]) is not None for pair in named.values()) for level in (0, 1)]
    if fields[1] > fields[0]:
        named = {i: (field, symbol) for i, (symbol, field) in named.items()}
    unknown = sorted({field for field, _ in named.values() if field_of(field) is None})
    if unknown or not named:
        raise DataError(
            "two-level columns must be a field and a symbol",
            ", ".join(unknown)[:80] or "none",
            "Save what yfinance.download returned, or one row per date and symbol.",
        )
    named = {i: (field, symbol.strip()) for i, (field, symbol) in named.items()}
    _check_once(
        [f"{field_of(field)} of {symbol}" for field, symbol in named.values()],
        "a field of a symbol may occur once",
    )
    symbols = list(dict.fromkeys(symbol for _, symbol in named.values()))
    columns = {pair: table.iloc[:, i] for i, pair in named.items()}
    blank = pd.Series(np.nan, index=table.index)
    cells = {
        field: pd.concat([columns.get((field, symbol), blank) for symbol in symbols], axis=1)
        for field in dict.fromkeys(field for field, _ in named.values())
    }
    return _stacked(table.iloc[:, place], symbols, cells)


def _stacked(
    dates: "pd.Series[Any]", symbols: list[str], cells: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """One row per date and symbol; where no price is given there was no bar."""
    n_rows, n_symbols = len(dates), len(symbols)
    rows = pd.DataFrame(
        {
            "date": dates.repeat(n_symbols).reset_index(drop=True),
            "symbol": pd.Categorical.from_codes(
                np.tile(np.arange(n_symbols), n_rows), pd.Index(symbols)
            ),
            **{name: frame.to_numpy().ravel() for name, frame in cells.items()},
        }
    )
    prices = [name for name in cells if field_of(name) in PRICE_NAMES]
    blank = np.logical_and.reduce([_blank(rows[name]) for name in prices])
    filled: pd.DataFrame = rows[~blank].reset_index(drop=True)
    return filled


def _blank(column: "pd.Series[Any]") -> "np.ndarray[Any, np.dtype[np.bool_]]":
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column):
        return missing
    return np.asarray(missing | column.isin(_BLANK).to_numpy())


def _require(table: pd.DataFrame, fields: Iterable[str | None]) -> None:
    known = [field for field in fields if field is not None]
    shown = ", ".join(str(name).strip().lower() for name in table.columns)[:200]
    repeated = sorted({name for name in known if known.count(name) > 1})
    if repeated:
        raise DataError(
            "a column may occur once",
            f"{', '.join(repeated)} twice among {shown}",
            "Drop or rename one.",
        )
    needed = [*_REQUIRED, *(("open", "high", "low") if {"high", "low"} & set(known) else ())]
    missing = [name for name in needed if name not in known]
    if missing:
        raise DataError(
            "bars need the columns date, symbol, close (or open, high, low, close, volume)",
            f"no {', '.join(missing)} among {shown or 'no columns'}",
            "Add or rename the column.",
        )
    if table.empty:
        raise DataError("bars must cover at least one date", "no rows", "Add the data.")
