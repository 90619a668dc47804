"""Files of strange kinds, prices and adjustments are read as what they are or refused."""

from contextlib import suppress
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import Bars, check_file, read_bars

DAYS = pd.bdate_range("2020-01-02", periods=4)
PLAIN = {
    "date": pa.array(DAYS),
    "symbol": pa.array(["A"] * 4),
    "close": pa.array([1.0, 2.0, 3.0, 4.0]),
}


@pytest.fixture
def parquet(tmp_path):
    def write(**columns):
        pq.write_table(pa.table(PLAIN | columns), tmp_path / "bars.parquet")
        return tmp_path / "bars.parquet"

    return write


@pytest.fixture
def csv(tmp_path):
    def write(head, *rows):
        lines = [f"{day:%Y-%m-%d},A,{row}" for day, row in zip(DAYS, rows, strict=False)]
        (tmp_path / "bars.csv").write_text("\n".join([f"date,symbol,{head}", *lines]) + "\n")
        return tmp_path / "bars.csv"

    return write


def is_refused(path):
    with suppress(DataError):
        return check_file(path).refused
    return True


STRUCT, LIST = pa.array([{"x": 1.0}] * 4), pa.array([[1.0]] * 4)
MAP = pa.array([[("a", 1.0)]] * 4, type=pa.map_(pa.string(), pa.float64()))
BYTES = pa.array([b"\xff\x00"] * 4)


@pytest.mark.parametrize("kind", [STRUCT, LIST, MAP, BYTES], ids=["struct", "list", "map", "bytes"])
@pytest.mark.parametrize("name", ["date", "symbol", "close", "currency", "tradable"])
def test_cells_that_hold_no_single_value_are_refused(parquet, kind, name):
    path = parquet(**{name: kind})
    for read in (read_bars, check_file):
        with pytest.raises(
            DataError, match=rf"bars\.parquet: {name} must hold dates, text, numbers or flags; got"
        ) as said:
            read(path)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize("kind", [STRUCT, LIST, MAP, BYTES], ids=["struct", "list", "map", "bytes"])
def test_a_wide_table_of_such_cells_is_refused(tmp_path, kind):
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"date": PLAIN["date"], "A": kind}), path)
    with pytest.raises(DataError, match="A must hold dates, text, numbers or flags"):
        read_bars(path)


def test_a_column_that_nobody_asks_for_may_hold_anything(parquet):
    assert read_bars(parquet(extra=STRUCT)).shape == (4, 1)


@pytest.mark.parametrize("nothing", [pa.nulls(4), pa.array([None] * 4, pa.timestamp("us"))])
def test_dates_that_are_all_missing_are_refused(parquet, nothing):
    path = parquet(date=nothing)
    with pytest.raises(DataError, match="every date must be written like"):
        read_bars(path)
    assert check_file(path).counts["not_a_date"] == 4


def test_a_corrupt_file_is_one_sentence(parquet):
    path = parquet()
    whole, generator = path.read_bytes(), np.random.default_rng(1)
    for _ in range(300):
        content = bytearray(whole)
        for place in generator.integers(4, len(content) - 4, size=3):
            content[place] = generator.integers(256)
        path.write_bytes(bytes(content))
        with suppress(DataError):
            read_bars(path)


def test_decimals_are_numbers_and_flags_are_none(parquet):
    prices = [Decimal("1.5"), Decimal("1.25"), Decimal("2.75"), Decimal("3")]
    path = parquet(close=pa.array(prices))
    assert read_bars(path).close[:, 0].tolist() == [1.5, 1.25, 2.75, 3.0]
    assert not check_file(path).refused
    path = parquet(close=pa.array([True] * 4))
    with pytest.raises(DataError, match=r"close must hold numbers; got .*True"):
        read_bars(path)
    assert check_file(path).counts["missing"] == 4


@pytest.mark.parametrize("price", ["1e308", "1e13", "1e-10", "1e-320"])
def test_prices_of_no_market_are_refused(csv, price):
    path = csv("close", "1.0", price, "1.0")
    with pytest.raises(DataError, match="close must be positive and finite, 1e-9 to 1e12"):
        read_bars(path)
    assert check_file(path).counts == {"out_of_range": 1}


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("split", 1e7, "split must be positive, 1e-6 to 1e6"),
        ("split", 1e300, "split must be positive, 1e-6 to 1e6"),
        ("dividend", 1e13, "dividend must be zero or more, 1e"),
        ("volume", 1e19, "volume must be finite, 1e"),
    ],
)
def test_events_and_volumes_of_no_market_are_refused(column, value, word):
    prices = np.ones((2, 1))
    arrays = {"volume": prices, column: np.array([[1.0], [value]])}
    with pytest.raises(DataError, match=word):
        Bars(DAYS[:2], ["A"], None, None, None, prices, raw_close=prices, **arrays)


@pytest.mark.parametrize(
    "rows",
    [
        ("100,50", "100,200", "100,3", "100,1000"),
        ("100,100", "100,1e-5", "100,100", "100,100"),
        ("1e308,1e-320", "1,1", "1,1", "1,1"),
        ("100,1e308", "100,1e-320", "100,100", "100,1"),
        ("100,inf", "100,1", "100,1", "100,1"),
    ],
)
def test_an_adjusted_close_that_contradicts_itself_is_one_sentence(csv, rows):
    path = csv("close,adj close", *rows)
    with pytest.raises(DataError) as said:
        read_bars(path)
    assert "split must be positive" not in str(said.value)
    assert is_refused(path)


def test_a_split_of_one_for_fifty_is_read_from_an_adjusted_close(csv):
    bars = read_bars(csv("close,adj close", "2,100", "2,100", "100,100", "101,101"))
    assert bars.split[:, 0].tolist() == [1.0, 1.0, 0.02, 1.0]
    np.testing.assert_allclose(bars.close[:, 0], [100.0, 100.0, 100.0, 101.0])
