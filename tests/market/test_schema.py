"""Every impossible row of a table is listed, and nothing is repaired."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import check_file, check_table, load_sample, read_bars, write_bars


def rows(report):
    return [tuple(row) for row in report.findings.itertuples(index=False)]


HEAD = ["date", "symbol", "open", "high", "low", "close", "volume"]
GOOD = [
    ["2021-03-01", "AAA", "10", "11", "9", "10.5", "100"],
    ["2021-03-02", "AAA", "10", "11", "9", "10.5", "100"],
    ["2021-03-03", "AAA", "10", "11", "9", "10.5", "100"],
]


def table(*changes):
    cells = [list(row) for row in GOOD]
    for row, column, value in changes:
        cells[row][HEAD.index(column)] = value
    return pd.DataFrame(cells, columns=HEAD)


@pytest.mark.parametrize(
    ("change", "rule", "value"),
    [
        ((1, "date", "2021-02-30"), "not_a_date", "date 2021-02-30"),
        ((1, "date", ""), "not_a_date", "date"),
        ((1, "symbol", ""), "no_symbol", "symbol"),
        ((1, "close", "ten"), "missing", "close ten"),
        ((1, "open", ""), "missing", "open"),
        ((1, "volume", ""), "missing", "volume"),
        ((1, "low", "0"), "not_positive", "low 0"),
        ((1, "high", "inf"), "not_positive", "high inf"),
        ((1, "volume", "-5"), "negative", "volume -5"),
        ((1, "close", "12"), "close_outside_range", "12"),
        ((1, "open", "8"), "open_outside_range", "10.5"),
        ((1, "date", "2021-03-01"), "repeated", "10.5"),
    ],
)
def test_each_impossible_row_is_listed_once(change, rule, value):
    report = check_table(table(change))
    assert report.refused
    assert [(r[2], r[3], r[4]) for r in rows(report)] == [(rule, value, "refused")]
    row = change[0]
    assert report.findings["date"].iloc[0] == table(change)["date"].iloc[row]


def test_all_impossible_rows_are_listed_not_just_the_first():
    report = check_table(table((0, "close", "-1"), (1, "high", "8"), (2, "volume", "many")))
    assert report.counts["not_positive"] == 1
    assert report.counts["high_below_low"] == 1
    assert report.counts["missing"] == 1
    assert list(report.findings["date"].unique()) == ["2021-03-01", "2021-03-02", "2021-03-03"]


def test_unsorted_rows_are_listed():
    report = check_table(table().iloc[[0, 2, 1]])
    assert [(r[1], r[2]) for r in rows(report)] == [("2021-03-02", "unsorted")]


def test_a_good_table_has_no_findings_and_untradable_rows_may_be_blank():
    assert check_table(table()).ok
    blank = table((1, "close", ""), (1, "open", "")).assign(tradable=["True", "False", "True"])
    assert check_table(blank).ok
    assert check_table(pd.DataFrame({"date": ["2021-03-01"], "symbol": "A", "close": 1.0})).ok


def test_a_hair_of_rounding_is_accepted_by_the_check_as_by_reading(tmp_path):
    path = tmp_path / "bars.csv"
    table((1, "close", "11.000000001")).to_csv(path, index=False)
    assert not check_file(path).refused
    assert read_bars(path).shape == (3, 1)


def test_a_missing_column_is_an_error():
    with pytest.raises(DataError, match="no close among"):
        check_table(table().drop(columns="close"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_is_checked_row_by_row_and_then_as_bars(tmp_path, suffix):
    path = tmp_path / f"bars{suffix}"
    bars = load_sample("us4").window(3000, 3050)
    volume = np.array(bars.volume)
    volume[7, 1] = 0.0
    write_bars(replace(bars, volume=volume), path)
    assert check_file(path).counts == {"zero_volume": 1}
    assert not check_file(path).refused
    path = tmp_path / "bad.csv"
    table((0, "close", "-1"), (1, "close", "x")).to_csv(path, index=False)
    assert check_file(path).counts == {"not_positive": 1, "close_outside_range": 1, "missing": 1}
    assert check_file(path).refused
    with pytest.raises(DataError, match=r"bad\.csv"):
        read_bars(path)


@pytest.mark.parametrize(
    "change",
    [
        (1, "date", "2021-02-30"),
        (1, "symbol", ""),
        (1, "close", "ten"),
        (1, "low", "0"),
        (1, "high", "8"),
        (1, "volume", "-5"),
        (1, "date", "2021-03-01"),
        (1, "date", "2021-03-09"),
    ],
)
def test_what_the_check_refuses_reading_refuses_and_the_reverse(tmp_path, change):
    path = tmp_path / "bars.csv"
    table().to_csv(path, index=False)
    assert not check_file(path).refused
    assert read_bars(path).shape == (3, 1)
    table(change).to_csv(path, index=False)
    assert check_file(path).refused
    with pytest.raises(DataError):
        read_bars(path)


@pytest.mark.parametrize(("other", "refused"), [("USD", False), ("EUR", True)])
def test_one_file_is_in_one_currency(tmp_path, other, refused):
    path = tmp_path / "bars.csv"
    both = pd.concat([table(), table().assign(symbol="SAP")])
    both.assign(currency=["USD"] * 3 + [other] * 3).to_csv(path, index=False)
    report = check_file(path)
    assert report.refused is refused
    if refused:
        row = ("SAP", "2021-03-01", "mixed_currencies", "EUR, not USD", "refused")
        assert rows(report) == [row]
        with pytest.raises(DataError, match="one currency; got USD for AAA and EUR for SAP"):
            read_bars(path)
