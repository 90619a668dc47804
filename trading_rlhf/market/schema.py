"""What a row of a long table must be, checked for all rows at once (pandera)."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import pandera.pandas as pa

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import PRICE_NAMES, YEARS
from trading_rlhf.market.dates import read_dates
from trading_rlhf.market.findings import FINDING_COLUMNS, Findings
from trading_rlhf.market.tables import plain_number
from trading_rlhf.types import FloatArray

__all__ = ["check_rows", "long_schema"]

_NULL_RULES: Final = {"date": "not_a_date", "symbol": "no_symbol"}
_NUMBERS: Final = (*PRICE_NAMES, "volume", "raw_close", "adj_close")


def check_rows(table: pd.DataFrame) -> Findings:
    """List every impossible row of a long table.

    Rules: not_a_date, no_symbol, missing (no number), not_positive, negative, high_below_low,
    open_outside_range, close_outside_range, repeated, unsorted, mixed_currencies.
    """
    if "tradable" in table:
        words = table["tradable"].astype(str).str.strip().str.lower()
        table = table[(words != "false").to_numpy()]
    given = table.reset_index(drop=True)
    names = [name for name in _NUMBERS if name in given]
    read = pd.DataFrame(
        {
            "date": _dates(given["date"]),
            "symbol": _symbols(given["symbol"]),
            **{name: _numbers(given[name]) for name in names},
        }
    )
    refusals: list[tuple[object, ...]] = list(_other_currencies(given))
    try:
        long_schema(names).validate(read, lazy=True)
    except pa.errors.SchemaErrors as error:
        refusals += _refusals(error.failure_cases, given)
    return pd.DataFrame(refusals, columns=FINDING_COLUMNS)


def long_schema(names: list[str]) -> pa.DataFrameSchema:
    """Return the schema of a long table with the given columns of numbers."""
    positive = pa.Check(lambda x: (x > 0.0) & (x < np.inf), error="not_positive")
    not_negative = pa.Check(lambda x: (x >= 0.0) & (x < np.inf), error="negative")
    columns = {n: pa.Column(float, not_negative if n == "volume" else positive) for n in names}
    checks = [pa.Check(_in_order, error="unsorted", ignore_na=False)]
    if {"high", "low"} <= set(names):
        # Asked in the negative, so that a missing number is reported once, as missing.
        checks.append(pa.Check(lambda t: ~_above(t["low"], t["high"]), error="high_below_low"))
        for name in sorted({"open", "close"} & set(names)):
            checks.append(
                pa.Check(
                    lambda t, n=name: ~(_above(t[n], t["high"]) | _above(t["low"], t[n])),
                    error=f"{name}_outside_range",
                )
            )
    return pa.DataFrameSchema(
        {"date": pa.Column(), "symbol": pa.Column(), **columns},
        checks=checks,
        unique=["date", "symbol"],
        report_duplicates="exclude_first",
    )


def _dates(column: "pd.Series[Any]") -> pd.DatetimeIndex:
    """Dates as ``read_bars`` reads them; those that it cannot read are missing."""
    try:
        places, dates, _ = read_dates(column)
        return dates[places]
    except DataError:
        read = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce", utc=True)
        return pd.DatetimeIndex(read.where(read.dt.year.isin(YEARS)))


def _symbols(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return column.astype(str).str.strip().replace("", None).astype("category")


def _numbers(column: "pd.Series[Any]") -> FloatArray:
    numbers = plain_number(column)
    if numbers is None:
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    return numbers


def _above(one: "pd.Series[float]", other: "pd.Series[float]") -> "pd.Series[bool]":
    """Whether one price exceeds the other by more than rounding."""
    return one > other * (1.0 + 1e-9)


def _in_order(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each row is not earlier than the row before it of the same symbol."""
    codes = pd.factorize(table["symbol"])[0]
    order = np.argsort(codes, kind="stable")
    dates = table["date"].to_numpy()[order]
    earlier = (codes[order][1:] == codes[order][:-1]) & (dates[1:] < dates[:-1])
    good = np.ones(len(table), dtype=np.bool_)
    good[order[1:][earlier]] = False
    return pd.Series(good, index=table.index, dtype=bool)


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
