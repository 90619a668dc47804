"""What a row of a long table must be, checked for all rows at once (pandera)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import PRICE_NAMES, PRICE_RANGE, YEARS
from trading_rlhf.market.dates import read_dates
from trading_rlhf.market.findings import FINDING_COLUMNS, Findings
from trading_rlhf.market.tables import plain_number
from trading_rlhf.types import BoolArray, FloatArray

__all__ = ["check_rows", "long_schema"]

_NULL_RULES: Final = {"date": "not_a_date", "symbol": "no_symbol"}
_NUMBERS: Final = (*PRICE_NAMES, "volume", "raw_close", "adj_close")


def check_rows(table: pd.DataFrame) -> Findings:
    """List every impossible row of a long table.

    Rules: not_a_date, no_symbol, missing (no number), not_positive, out_of_range (a price of no
    market), negative, high_below_low, open_outside_range, close_outside_range, repeated, unsorted,
    mixed_currencies.
    """
    given = _with_bars(table).reset_index(drop=True)
    names = [name for name in _NUMBERS if name in given]
    read = pd.DataFrame(
        {
            "date": _dates(given["date"]),
            "symbol": _symbols(given["symbol"]),
            **{name: _numbers(given[name]) for name in names},
        },
        copy=False,
    )
    refusals: list[tuple[object, ...]] = list(_other_currencies(given))
    try:
        long_schema(names, _ascends(read)).validate(read, lazy=True)
    except pa.errors.SchemaErrors as error:
        refusals += _refusals(error.failure_cases, given)
    return pd.DataFrame(refusals, columns=FINDING_COLUMNS)


def long_schema(names: list[str], ascends: bool = False) -> pa.DataFrameSchema:
    """Return the schema of a long table with the given columns of numbers.

    Args:
        names: the columns of numbers.
        ascends: whether each symbol's dates are known to ascend; then none can occur twice.
    """
    # All are asked in the negative, so that a missing number is reported once, as missing.
    positive = _check(lambda x: ~((x <= 0.0) | (x == np.inf)), "not_positive")
    not_negative = _check(lambda x: ~((x < 0.0) | (x == np.inf)), "negative")
    least, most = PRICE_RANGE
    possible = _check(
        lambda x: ~((x > 0.0) & (x < least) | (x > most) & (x < np.inf)), "out_of_range"
    )
    columns = {
        n: pa.Column(float, [not_negative] if n == "volume" else [positive, possible])
        for n in names
    }
    checks = [] if ascends else [_check(lambda t: pd.Series(~_earlier(t)), "unsorted")]
    if {"high", "low"} <= set(names):
        checks.append(_check(lambda t: ~_above(t["low"], t["high"]), "high_below_low"))
        for name in sorted({"open", "close"} & set(names)):
            checks.append(_check(partial(_within, name), f"{name}_outside_range"))
    return pa.DataFrameSchema(
        {"date": pa.Column(), "symbol": pa.Column(), **columns},
        checks=checks,
        unique=None if ascends else ["date", "symbol"],
        report_duplicates="exclude_first",
    )


def _check(holds: Callable[[Any], Any], rule: str) -> pa.Check:
    # Left to itself, pandera copies a table to drop its missing numbers before each check.
    return pa.Check(holds, error=rule, ignore_na=False)


def _with_bars(table: pd.DataFrame) -> pd.DataFrame:
    """Drop rows that say that there was no bar."""
    if "tradable" not in table:
        return table
    words = table["tradable"]
    if not pd.api.types.is_bool_dtype(words):
        words = words.astype(str).str.strip().str.lower() != "false"
    return table if words.all() else table[words.to_numpy(dtype=bool)]


def _dates(column: "pd.Series[Any]") -> pd.DatetimeIndex:
    """Dates as ``read_bars`` reads them, without zone; those that it cannot read are missing."""
    try:
        places, dates, _ = read_dates(column)
        return dates.tz_localize(None)[places]
    except DataError:
        read = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce", utc=True)
        return pd.DatetimeIndex(read.where(read.dt.year.isin(YEARS))).tz_localize(None)


def _symbols(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return column.astype(str).str.strip().replace("", None).astype("category")


def _numbers(column: "pd.Series[Any]") -> FloatArray:
    numbers = plain_number(column)
    if numbers is None:
        text = column.astype(str).str.strip()
        return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    return numbers


def _above(one: "pd.Series[float]", other: "pd.Series[float]") -> "pd.Series[bool]":
    """Whether one price exceeds the other by more than rounding."""
    return one > other * (1.0 + 1e-9)


def _within(name: str, table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a price does not lie outside low and high."""
    return ~(_above(table[name], table["high"]) | _above(table["low"], table[name]))


def _ascends(table: pd.DataFrame) -> bool:
    """Whether each symbol's dates ascend, none of them missing or repeated."""
    order, same = _by_symbol(table)
    step = np.diff(table["date"].to_numpy()[order])
    return not bool((same & ~(step > np.timedelta64(0))).any())


def _earlier(table: pd.DataFrame) -> BoolArray:
    """Whether each row is earlier than the row before it of the same symbol."""
    order, same = _by_symbol(table)
    step = np.diff(table["date"].to_numpy()[order])
    earlier = np.zeros(len(table), dtype=np.bool_)
    earlier[order[1:][same & (step < np.timedelta64(0))]] = True
    return earlier


def _by_symbol(table: pd.DataFrame) -> tuple[npt.NDArray[np.intp], BoolArray]:
    """Order of the rows symbol by symbol, and whether each but the first continues a symbol."""
    codes = table["symbol"].cat.codes.to_numpy()
    order = np.argsort(codes, kind="stable")
    return order, np.asarray(np.diff(codes[order]) == 0)


def _other_currencies(given: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    """One refusal per symbol that is not in the currency of the first row."""
    if "currency" not in given:
        return
    other = given[(given["currency"] != given["currency"].iloc[0]).to_numpy()]
    for _, row in other.drop_duplicates("symbol").iterrows():
        shown = f"{row['currency']}, not {given['currency'].iloc[0]}"
        yield str(row["symbol"]), _day(row["date"]), "mixed_currencies", shown, "refused"


def _refusals(cases: pd.DataFrame, given: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    """Turn pandera's failure cases into one finding per row, column and rule."""
    seen: set[tuple[Any, ...]] = set()
    cases = cases.sort_values("index", kind="stable")
    for place, of, check, row in cases[["schema_context", "column", "check", "index"]].to_numpy():
        by_row, rule = place == "DataFrameSchema", str(check)
        column = "" if by_row else str(of)
        if rule == "multiple_fields_uniqueness":
            rule = "repeated"
        if rule == "not_nullable":
            rule = _NULL_RULES.get(column, "missing")
        if (row, column, rule) in seen:
            continue
        seen.add((row, column, rule))
        value = given["close" if by_row else column].iloc[row]
        shown = str(value) if by_row else f"{column} {value}".strip()
        yield str(given["symbol"].iloc[row]), _day(given["date"].iloc[row]), rule, shown, "refused"


def _day(date: object) -> str:
    return str(date).removesuffix(" 00:00:00")
