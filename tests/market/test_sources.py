"""Files are read exactly or refused with one clear sentence."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import read_bars, write_bars

HEAD = "date,symbol,open,high,low,close,volume"
ROWS = (
    "2020-01-02,AAA,10,11,9,10.5,100",
    "2020-01-02,BBB,20,21,19,20.5,200",
    "2020-01-03,AAA,10,11,9,10.1,100",
    "2020-01-03,BBB,20,21,19,20.1,200",
    "2020-01-06,AAA,10,11,9,10.2,100",
    "2020-01-06,BBB,20,21,19,20.2,200",
)


@pytest.fixture
def write(tmp_path):
    """Return a writer of a bars.csv whose lines are given."""

    def write_lines(*lines, name="bars.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write_lines


def with_row(position, text):
    rows = list(ROWS)
    rows[position] = text
    return [HEAD, *rows]


def test_a_long_table_is_read(write):
    bars = read_bars(write(HEAD, *ROWS))
    assert bars.symbols == ("AAA", "BBB")
    assert list(bars.dates) == list(pd.DatetimeIndex(["2020-01-02", "2020-01-03", "2020-01-06"]))
    np.testing.assert_array_equal(bars.close, [[10.5, 20.5], [10.1, 20.1], [10.2, 20.2]])
    np.testing.assert_array_equal(bars.volume[:, 1], 200.0)


def test_closes_alone_are_enough(write):
    bars = read_bars(write("Date,Symbol,Close", "2020-01-02,AAA,10.5", "2020-01-03,AAA,10.1"))
    assert bars.shape == (2, 1)
    assert not bars.has_open


def test_rows_may_be_grouped_by_symbol(write):
    grouped = read_bars(write(HEAD, *ROWS[::2], *ROWS[1::2]))
    assert grouped.sha256 == read_bars(write(HEAD, *ROWS, name="other.csv")).sha256


def test_a_row_left_out_is_a_missing_bar(write):
    bars = read_bars(write(HEAD, *ROWS[:3], *ROWS[4:]))
    assert not bars.tradable[1, 1]
    assert np.isnan(bars.close[1, 1])
    assert bars.tradable.sum() == 5


def test_symbols_that_look_like_nothing_are_kept(write):
    bars = read_bars(write("date,symbol,close", "2020-01-02,NA,1", "2020-01-02,TRUE,2"))
    assert bars.symbols == ("NA", "TRUE")


def test_numbers_are_read_to_the_last_bit(write):
    texts = ["0.1", "123456.78901234567", "4.186662803811", "3.919675098341900e0"]
    lines = [f"2020-01-0{i + 1},AAA,{text}" for i, text in enumerate(texts)]
    close = read_bars(write("date,symbol,close", *lines)).close[:, 0]
    assert [value.hex() for value in close] == [float(text).hex() for text in texts]


def test_times_with_offsets_become_utc(write):
    lines = ["2020-03-06T15:30:00-05:00,AAA,1", "2020-03-09T15:30:00-04:00,AAA,2"]
    bars = read_bars(write("date,symbol,close", *lines))
    assert list(bars.dates.hour) == [20, 19]
    assert str(bars.dates.tz) == "UTC"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_is_read_back(make_bars, tmp_path, suffix):
    bars = make_bars()
    path = tmp_path / "new" / f"bars{suffix}"
    write_bars(bars, path)
    assert read_bars(path).sha256 == bars.sha256
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_bars_within_a_day_and_missing_bars_are_read_back(make_bars, tmp_path, suffix):
    bars = make_bars()
    tradable = np.array(bars.tradable)
    tradable[7] = False
    tradable[9, 1] = False
    names = ("open", "high", "low", "close", "raw_close")
    gaps = {n: np.where(tradable, getattr(bars, n), np.nan) for n in names}
    dates = pd.date_range("2020-03-02 14:30", periods=200, freq="5min", tz="UTC")
    bars = replace(bars, dates=dates, tradable=tradable, **gaps)
    path = tmp_path / f"bars{suffix}"
    write_bars(bars, path)
    assert read_bars(path).sha256 == bars.sha256


def test_an_interrupted_write_leaves_the_old_file(make_bars, tmp_path, monkeypatch):
    path = tmp_path / "bars.parquet"
    write_bars(make_bars(seed=1), path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("trading_rlhf.market.sources.pq.write_table", fail)
    with pytest.raises(DataError, match="must be writable; got no space left"):
        write_bars(make_bars(seed=2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_replaces_the_old_file_in_one_step_after_it_is_on_disk(
    make_bars, tmp_path, monkeypatch
):
    """The old file is not written to: a name linked to it keeps the old bars."""
    path, old = tmp_path / "bars.parquet", tmp_path / "old.parquet"
    write_bars(make_bars(seed=1), path)
    os.link(path, old)
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (steps.append(n), r(*a)))
    write_bars(make_bars(seed=2), path)
    assert steps == ["fsync", "replace"]
    assert read_bars(old).sha256 == make_bars(seed=1).sha256
    assert read_bars(path).sha256 == make_bars(seed=2).sha256


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            ["date,symbol,open,high,low", "2020-01-02,AAA,1,1,1"],
            "no close among date, symbol, open",
        ),
        (["date,open,high,low,close", "2020-01-02,1,1,1,1"], "no symbol among date, open"),
        (["date,symbol,open,high,close", "2020-01-02,AAA,1,1,1"], "no low among date"),
        ([HEAD.replace(",", ";"), "2020-01-02;AAA;1;1;1;1;1"], "separated by semicolons"),
        (["<html>", "<p>Page not found</p>"], "no date, symbol, close among <html>"),
        (["date,symbol,close,raw_close,Adj Close", "2020-01-02,AAA,2,2,1"], "got all three"),
        (["date,symbol,close,close", "2020-01-02,AAA,2,1"], "a column may occur once; got close"),
        (["date,symbol,close,Close", "2020-01-02,AAA,2,1"], "a column may occur once; got close"),
        ([HEAD], "at least one date; got no rows"),
        ([HEAD, *ROWS[2:], *ROWS[:2]], "must ascend; got 2020-01-02 of AAA in data row 5 after"),
        ([HEAD, *ROWS, ROWS[3]], "one row per date; got a second 2020-01-03 of BBB in data row 7"),
        (with_row(2, "2020-01-03,AAA,10,11,9,-10.1,100"), "got -10.1 for AAA on 2020-01-03"),
        (
            with_row(2, "2020-01-03,AAA,10,11,9,0,100"),
            "positive and finite, 1e-9 to 1e12; got 0 for AAA",
        ),
        (with_row(3, "2020-01-03,BBB,20,18,19,20.1,200"), "high must not be below low; got 18"),
        (with_row(2, "2020-01-03,AAA,10,11,9,ten,100"), "close must hold numbers; got 'ten' in"),
        (with_row(2, "2020-01-03,AAA,10,11,9,,100"), "wherever .*; got nan for AAA on 2020-01-03"),
        (with_row(2, "2020-01-03,AAA,10,11,9,10.1,"), "volume must be zero or more; got nan"),
        (with_row(2, "2020-13-03,AAA,10,11,9,10.1,1"), "got '2020-13-03' in data row 3"),
        (with_row(2, "-2020-01-03,AAA,10,11,9,10.1,1"), "got '-2020-01-03' in data row 3"),
        (with_row(2, "9020-01-03,AAA,10,11,9,10.1,1"), "got '9020-01-03' in data row 3"),
        (with_row(2, "03/01/2020,AAA,10,11,9,10.1,1"), "like 2009-03-02; got '03/01/2020'"),
        (with_row(2, ",AAA,10,11,9,10.1,1"), "like 2009-03-02; got '' in data row 3"),
        (with_row(2, "2020-01-03,,10,11,9,10.1,1"), "name a symbol; got '' in data row 3"),
        (with_row(2, "2020-01-03,AAA,10,11,9,10.1,1,7,8"), "must be a CSV table; got Error tok"),
        ([HEAD, f"{ROWS[0]},7"], "got a row has more cells than the header"),
        (with_row(2, "2020-01-03T10:00Z,AAA,1,1,1,1,1"), "all dates or none must carry"),
        ([HEAD, *(f"{row[:10]} 09:30{row[10:]}" for row in ROWS)], "must carry a time zone"),
        ([f"{HEAD},tradable", f"{ROWS[0]},maybe"], "tradable must be true or false; got 'maybe'"),
    ],
)
def test_a_bad_file_is_one_sentence(write, lines, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read_bars(write(*lines))
    assert "bars.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file_is_one_sentence(tmp_path):
    for path, sentence in (
        (tmp_path / "none.csv", "must exist; got nothing at"),
        (tmp_path, "must end in .csv or .parquet"),
        (tmp_path / "bars.xlsx", "must end in .csv or .parquet; got bars.xlsx"),
    ):
        with pytest.raises(DataError, match=sentence):
            read_bars(path)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(DataError, match="must be in a file; got the directory"):
        read_bars(folder)
    with pytest.raises(DataError, match=r"must end in \.csv or \.parquet"):
        write_bars(None, tmp_path / "bars.txt")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.csv", b"", "empty.csv must hold bars; got an empty file"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "picture.csv must be a CSV table"),
        ("empty.parquet", b"", "empty.parquet must be a Parquet table"),
        ("text.parquet", b"date,symbol,close\n", "text.parquet must be a Parquet table"),
    ],
)
def test_a_file_of_another_kind_is_one_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_bars(path)


def test_parquet_from_other_programs_is_read(tmp_path):
    table = pd.DataFrame(
        {"Symbol": ["AAA", "AAA"], "Close": ["1.5", "2.5"]},
        index=pd.DatetimeIndex(["2020-01-02", "2020-01-03"], name="Date"),
    )
    path = tmp_path / "bars.parquet"
    table.to_parquet(path)
    assert read_bars(path).close[:, 0].tolist() == [1.5, 2.5]


def test_dates_that_are_numbers_are_refused(tmp_path):
    path = tmp_path / "bars.parquet"
    pd.DataFrame({"date": [1, 2], "symbol": "AAA", "close": 1.0}).to_parquet(path)
    with pytest.raises(DataError, match="every date must be written like"):
        read_bars(path)
