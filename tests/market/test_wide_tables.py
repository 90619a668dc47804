"""A table is read as closes by symbol only where its columns can be nothing else."""

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import Bars, check_file, read_bars

ROWS = ("2020-01-02", "2020-01-03", "2020-01-06")


def csv(tmp_path, head, cells, name="bars.csv"):
    path = tmp_path / name
    path.write_text("\n".join([head, *(f"{day},{cells}" for day in ROWS)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("head", "cells", "word"),
    [
        ("Date,Open,High,Low,Last,Volume", "10,11,9,10.5,1000", "Open"),
        ("Date,Open,High,Low,Close Price,Volume", "10,11,9,10.5,1000", "Open"),
        ("date,name,price", "1,2", "price"),
        ("date,permno,prc,vol", "10107,50,1000", "prc"),
        ("date,volume,AAPL", "1,2", "volume"),
        ("date,OPEN,AAPL", "1,2", "OPEN"),
        ("date,AAPL,Adjusted", "1,2", "Adjusted"),
        ("date,AAPL Close,MSFT Close", "1,2", "AAPL Close"),
        ("date,AAPL_close,MSFT_volume", "1,2", "AAPL_close"),
        ("date,AAPL,MSFT,label", "1,2,3", "label"),
        ("date,AAPL,MSFT,Regime", "1,2,3", "Regime"),
        ("date,AAPL,LABEL", "1,up", "LABEL"),
    ],
)
@pytest.mark.parametrize("name", ["AAPL.csv", "bars.csv"])
def test_columns_that_may_be_no_symbols_are_refused(tmp_path, head, cells, word, name):
    path = csv(tmp_path, head, cells, name)
    for read in (read_bars, check_file):
        with pytest.raises(DataError, match=rf"{name}: .*must .*got .*{word}") as said:
            read(path)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("head", "symbols"),
    [
        ("date,AAPL,NA,TRUE", ("AAPL", "NA", "TRUE")),
        ("date,T,C,V", ("T", "C", "V")),
        ("date,BRKb,BF.B,0700.HK", ("BRKb", "BF.B", "0700.HK")),
        ("date,aapl,msft,ibm", ("aapl", "msft", "ibm")),
        ("Date,Apple,Johnson & Johnson,IBM Corp", ("Apple", "Johnson & Johnson", "IBM Corp")),
        (",1,2,3", ("1", "2", "3")),
    ],
)
def test_symbols_are_read(tmp_path, head, symbols):
    bars = read_bars(csv(tmp_path, head, "1,2,3"))
    assert bars.symbols == symbols
    assert bars.close[0].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("head", ["date,AAPL,AAPL", "date,AAPL , AAPL"])
def test_a_symbol_twice_is_refused(tmp_path, head):
    with pytest.raises(DataError, match="each symbol may occur once; got AAPL"):
        read_bars(csv(tmp_path, head, "1,2"))


def test_a_column_without_name_and_cells_is_left_out(tmp_path):
    assert read_bars(csv(tmp_path, "date,AAPL,", "1,")).symbols == ("AAPL",)
    with pytest.raises(DataError, match="every column must have a name"):
        read_bars(csv(tmp_path, "date,AAPL,", "1,2"))


@pytest.mark.parametrize("head", ["Price,Close,Close\nTicker,A,A", "Price,Close,close\nTicker,A,A"])
def test_a_field_of_a_symbol_twice_is_refused(tmp_path, head):
    path = csv(tmp_path, f"{head}\nDate,,", "1,100")
    with pytest.raises(DataError, match=r"may occur once; got [Cc]lose of A"):
        read_bars(path)


@pytest.mark.parametrize(
    "cell", ["(" + "-" * 100_000 + "1)", "(" + "(" * 3000 + ")", "('a'" + ",'" * 50_000 + ")"]
)
def test_a_monstrous_name_of_a_column_is_a_name(tmp_path, cell):
    table = pd.DataFrame({"date": list(ROWS), "symbol": "A", "close": 1.0, cell: 2.0})
    table.to_csv(tmp_path / "bars.csv", index=False)
    assert read_bars(tmp_path / "bars.csv").symbols == ("A",)


@pytest.mark.parametrize(("mark", "name"), [("\t", "tabs"), (";", "semicolons"), ("|", "bars")])
def test_another_separator_is_named(tmp_path, mark, name):
    (tmp_path / "bars.csv").write_text("date,symbol,close\n2020-01-02,A,1.5\n".replace(",", mark))
    with pytest.raises(DataError, match=rf"got columns separated by {name}"):
        read_bars(tmp_path / "bars.csv")
    # With commas within numbers, as in Europe.
    text = (tmp_path / "bars.csv").read_text().replace("1.5", "1,5")
    (tmp_path / "bars.csv").write_text(text)
    with pytest.raises(DataError, match=rf"got columns separated by {name}"):
        read_bars(tmp_path / "bars.csv")


@pytest.mark.timeout(20)
def test_a_hundred_thousand_symbols_are_checked_in_a_moment():
    names = [f"S{i}" for i in range(100_000)]
    prices = np.ones((2, len(names)))
    bars = Bars(ROWS[:2], names, None, None, None, prices, None)
    assert bars.shape == (2, 100_000)
