"""Findings name symbol, date, rule and value, and nothing is repaired."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Bars,
    check_bars,
    check_file,
    check_table,
    load_sample,
    read_bars,
    trading_sessions,
    write_bars,
)

SESSIONS = trading_sessions(pd.Timestamp("2021-03-01"), pd.Timestamp("2021-12-31"))[:60]


def smooth(n_bars=60, **changes):
    """Return bars of two assets in which there is nothing to find."""
    close = np.column_stack([100.0 + np.arange(n_bars) % 5, 50.0 + np.arange(n_bars) % 3])
    values = {
        "dates": SESSIONS[:n_bars],
        "symbols": ("AAA", "BBB"),
        "open": close,
        "high": close + 1.0,
        "low": close - 1.0,
        "close": close,
        "volume": np.full(close.shape, 100.0),
    }
    return Bars(**(values | changes))


def rows(report):
    return [tuple(row) for row in report.findings.itertuples(index=False)]


def scaled_from(bars, t, factor):
    change = np.where(np.arange(len(bars.dates))[:, None] >= t, [factor, 1.0], 1.0)
    names = ("open", "high", "low", "close")
    return {name: getattr(bars, name) * change for name in names}


def test_smooth_bars_have_no_findings():
    report = check_bars(smooth())
    assert report.ok
    assert report.counts == {}
    assert not report.refused


@pytest.mark.parametrize("factor", [0.45, 1.7])
def test_a_jump_without_a_split_is_quarantined_and_kept(factor):
    bars = replace(smooth(), **scaled_from(smooth(), 20, factor), raw_close=None)
    before = bars.sha256
    report = check_bars(bars)
    (row,) = rows(report)
    assert row[:3] == ("AAA", f"{SESSIONS[20]:%Y-%m-%d}", "jump")
    assert row[3] == pytest.approx(bars.close[20, 0] / bars.close[19, 0] - 1.0)
    assert row[4] == "quarantined"
    assert bars.sha256 == before
    assert bars.tradable.all()


@pytest.mark.parametrize("factor", [0.55, 1.45])
def test_a_move_below_half_is_no_jump(factor):
    assert check_bars(replace(smooth(), **scaled_from(smooth(), 20, factor))).ok


def test_a_jump_on_a_split_is_explained():
    split = np.ones((60, 2))
    split[20, 0] = 2.0
    bars = replace(smooth(), **scaled_from(smooth(), 20, 0.45), split=split)
    assert check_bars(bars).ok


def test_a_jump_over_a_missing_bar_is_found_on_the_next_bar():
    bars = replace(smooth(), **scaled_from(smooth(), 20, 0.4))
    tradable = np.ones((60, 2), bool)
    tradable[20, 0] = False
    report = check_bars(replace(bars, tradable=tradable))
    assert [(r[1], r[2]) for r in rows(report)] == [
        (f"{SESSIONS[21]:%Y-%m-%d}", "jump"),
        (f"{SESSIONS[20]:%Y-%m-%d}", "gap"),
    ]


def test_zero_volume_is_reported():
    volume = np.array(smooth().volume)
    volume[7, 1] = 0.0
    assert rows(check_bars(smooth(volume=volume))) == [
        ("BBB", f"{SESSIONS[7]:%Y-%m-%d}", "zero_volume", 0.0, "reported")
    ]


@pytest.mark.parametrize(("repeats", "found"), [(4, 0), (5, 1), (9, 1)])
def test_five_equal_closes_are_stale(repeats, found):
    close = np.array(smooth().close)
    close[30 : 30 + repeats, 0] = 102.5
    report = check_bars(smooth(close=close, open=None, high=None, low=None))
    expected = [("AAA", f"{SESSIONS[30]:%Y-%m-%d}", "stale", float(repeats), "reported")]
    assert rows(report) == expected * found


def test_missing_sessions_are_one_gap_and_a_late_start_is_none():
    tradable = np.ones((60, 2), bool)
    tradable[:10, 1] = False
    tradable[[30, 31, 32, 40], 1] = False
    assert rows(check_bars(smooth(tradable=tradable))) == [
        ("BBB", f"{SESSIONS[30]:%Y-%m-%d}", "gap", 3.0, "reported"),
        ("BBB", f"{SESSIONS[40]:%Y-%m-%d}", "gap", 1.0, "reported"),
    ]


def test_a_session_that_no_asset_has_is_a_gap():
    dates = SESSIONS.delete(12)
    report = check_bars(smooth(59, dates=dates))
    assert [(r[0], r[1], r[2]) for r in rows(report)] == [
        (symbol, f"{SESSIONS[12]:%Y-%m-%d}", "gap") for symbol in ("AAA", "BBB")
    ]


def test_a_bar_on_a_holiday_is_reported_unless_another_calendar_is_given():
    dates = pd.bdate_range("2021-03-01", periods=60)
    report = check_bars(smooth(dates=dates))
    assert rows(report)[0] == ("AAA", "2021-04-02", "off_calendar", 1.0, "reported")
    assert check_bars(smooth(dates=dates), sessions=dates).ok


def test_bars_within_a_day_are_not_compared_with_the_calendar():
    dates = pd.date_range("2021-03-06 15:00", periods=60, freq="1h", tz="UTC")
    volume = np.full((60, 2), 100.0)
    volume[3, 0] = 0.0
    report = check_bars(smooth(dates=dates, volume=volume))
    assert rows(report) == [("AAA", "2021-03-06T18:00:00+00:00", "zero_volume", 0.0, "reported")]


def test_an_asset_that_never_traded_is_no_finding():
    tradable = np.ones((60, 2), bool)
    tradable[:, 1] = False
    assert check_bars(smooth(tradable=tradable)).ok


def test_the_sample_has_one_finding_the_real_fall_of_apple():
    report = check_bars(load_sample("us4"))
    ((symbol, day, rule, value, action),) = rows(report)
    assert (symbol, day, rule, action) == ("AAPL", "2000-09-29", "jump", "quarantined")
    assert value == pytest.approx(-0.5187, abs=1e-4)


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
    volume = np.array(smooth().volume)
    volume[7, 1] = 0.0
    write_bars(smooth(volume=volume), path)
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
