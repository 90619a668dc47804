"""Findings name symbol, date, rule and value, and nothing is repaired."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Bars,
    check_bars,
    check_file,
    load_sample,
    read_bars,
    survivorship_note,
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


def with_split(close_factor, raw_factor, ratio=2.0):
    """Return bars whose closes move by the given factors on the day of a split."""
    split = np.ones((60, 2))
    split[20, 0] = ratio
    raw_close = scaled_from(smooth(), 20, raw_factor)["close"]
    prices = scaled_from(smooth(), 20, close_factor)
    return replace(smooth(), **prices, split=split, raw_close=raw_close)


@pytest.mark.parametrize("ratio", [0.1, 1.5, 2.0, 7.0])
def test_an_adjusted_close_may_move_on_the_day_of_a_split(ratio):
    assert check_bars(with_split(1.0, 1.0 / ratio, ratio)).ok
    assert check_bars(with_split(0.95, 0.95 / ratio, ratio)).ok


@pytest.mark.parametrize("ratio", [0.1, 1.5, 2.0, 7.0])
def test_closes_as_traded_are_not_taken_for_adjusted_ones(ratio):
    report = check_bars(with_split(1.03 / ratio, 1.03 / ratio, ratio))
    (row,) = rows(report)
    assert row[:3] == ("AAA", f"{SESSIONS[20]:%Y-%m-%d}", "split_not_adjusted")
    assert row[3] == pytest.approx(report.findings["value"].iloc[0])
    assert row[4] == "refused"
    assert report.refused


def test_a_close_as_traded_that_was_adjusted_is_found():
    assert [r[2] for r in rows(check_bars(with_split(1.0, 1.0)))] == ["raw_close_adjusted"]


def test_a_split_day_without_a_bar_is_judged_on_the_next_one():
    bars = with_split(0.5, 0.5)
    tradable = np.ones((60, 2), bool)
    tradable[20, 0] = False
    found = rows(check_bars(replace(bars, tradable=tradable)))
    assert [(r[1], r[2]) for r in found] == [
        (f"{SESSIONS[20]:%Y-%m-%d}", "gap"),
        (f"{SESSIONS[21]:%Y-%m-%d}", "split_not_adjusted"),
    ]


@pytest.mark.parametrize(("share", "found"), [(1.0, 0), (0.0, 1)])
def test_a_dividend_that_the_close_does_not_contain_is_quarantined(share, found):
    raw = np.array(smooth().close)
    dividend = np.zeros((60, 2))
    dividend[20, 0] = 3.0
    factor = np.where(np.arange(60)[:, None] >= 20, [1.0 + share * 3.0 / raw[20, 0], 1.0], 1.0)
    names = ("open", "high", "low", "close")
    prices = {name: getattr(smooth(), name) * factor for name in names}
    report = check_bars(smooth(**prices, raw_close=raw, dividend=dividend))
    expected = ("AAA", f"{SESSIONS[20]:%Y-%m-%d}", "dividend_not_adjusted", 3.0 / raw[20, 0])
    assert rows(report) == [(*expected, "quarantined")] * found


def test_a_jump_over_a_missing_bar_is_found_on_the_next_bar():
    bars = replace(smooth(), **scaled_from(smooth(), 20, 0.4))
    tradable = np.ones((60, 2), bool)
    tradable[20, 0] = False
    report = check_bars(replace(bars, tradable=tradable))
    assert [(r[1], r[2]) for r in rows(report)] == [
        (f"{SESSIONS[20]:%Y-%m-%d}", "gap"),
        (f"{SESSIONS[21]:%Y-%m-%d}", "jump"),
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


HOURS = ("09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30")


def hourly(days=("2020-11-25", "2020-11-27", "2020-11-30"), hours=HOURS, **changes):
    """Return hourly bars of two assets on whole sessions; that of 2020-11-27 closes at 13:00."""
    given = [f"{day} {h}" for day in days for h in hours if day != "2020-11-27" or h < "13:00"]
    dates = pd.DatetimeIndex(given).tz_localize("America/New_York").tz_convert("UTC")
    return smooth(len(dates), dates=dates, **changes)


def without(bars, *rows):
    tradable = np.ones(bars.shape, bool)
    tradable[list(rows), 1] = False
    return replace(bars, tradable=tradable)


def test_whole_sessions_of_hourly_bars_have_no_findings():
    assert hourly().shape == (18, 2)
    assert check_bars(hourly()).ok
    clock_hours = ("09:00", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00")
    assert check_bars(hourly(hours=clock_hours)).ok
    found = rows(check_bars(without(hourly(hours=clock_hours), 7)))
    assert found == [("BBB", "2020-11-27T14:00:00+00:00", "missing_bars", 1.0, "reported")]


def test_bars_missing_within_a_session_are_counted_and_whole_sessions_are_gaps():
    found = rows(check_bars(without(hourly(), 2, 3, 5, *range(7, 11))))
    assert found == [
        ("BBB", "2020-11-25T16:30:00+00:00", "missing_bars", 2.0, "reported"),
        ("BBB", "2020-11-25T19:30:00+00:00", "missing_bars", 1.0, "reported"),
        ("BBB", "2020-11-27", "gap", 1.0, "reported"),
    ]


def test_a_session_that_no_asset_has_is_a_gap_within_a_day_too():
    found = rows(check_bars(hourly(("2020-11-25", "2020-11-30"))))
    assert [(r[0], r[1], r[2]) for r in found] == [(s, "2020-11-27", "gap") for s in ("AAA", "BBB")]


def test_bars_after_the_close_and_on_holidays_are_extra():
    late = hourly(("2020-11-25",), (*HOURS, "16:00", "17:00"))
    assert rows(check_bars(late))[0] == (
        "AAA",
        "2020-11-25T21:00:00+00:00",
        "outside_hours",
        2.0,
        "reported",
    )
    early = hourly(("2020-11-25",), ("08:30", *HOURS))
    assert rows(check_bars(early))[0][1:4] == ("2020-11-25T13:30:00+00:00", "outside_hours", 1.0)
    holiday = hourly(("2020-11-25", "2020-11-26", "2020-11-27"))
    assert rows(check_bars(holiday))[0][1:4] == ("2020-11-26T14:30:00+00:00", "off_calendar", 7.0)


def test_a_bar_that_still_goes_on_is_quarantined():
    end = pd.Timestamp("2020-11-30 21:00", tz="UTC").to_pydatetime()
    before = end - timedelta(seconds=1)
    assert check_bars(hourly(), clock=lambda: end).ok
    found = rows(check_bars(hourly(), clock=lambda: before))
    expected = ("2020-11-30T20:30:00+00:00", "unfinished", "until 2020-11-30 21:00 UTC")
    assert found == [(s, *expected, "quarantined") for s in ("AAA", "BBB")]
    day = f"{SESSIONS[59]:%Y-%m-%d}"
    noon = pd.Timestamp(f"{day} 12:00", tz="America/New_York").to_pydatetime()
    found = rows(check_bars(without(smooth(), 59), clock=lambda: noon))
    assert [(r[0], r[1], r[2]) for r in found] == [("AAA", day, "unfinished")]


def test_an_asset_that_never_traded_is_no_finding():
    tradable = np.ones((60, 2), bool)
    tradable[:, 1] = False
    assert check_bars(smooth(tradable=tradable)).ok


def test_the_sample_has_one_finding_the_real_fall_of_apple():
    report = check_bars(load_sample("us4"))
    ((symbol, day, rule, value, action),) = rows(report)
    assert (symbol, day, rule, action) == ("AAPL", "2000-09-29", "jump", "quarantined")
    assert value == pytest.approx(-0.5187, abs=1e-4)


def test_a_file_whose_closes_are_not_adjusted_is_refused(tmp_path):
    path = tmp_path / "bars.parquet"
    write_bars(with_split(0.5, 0.5), path)
    report = check_file(path)
    assert report.refused
    assert report.counts == {"split_not_adjusted": 1}
    with pytest.raises(DataError, match="must be adjusted for splits") as caught:
        read_bars(path)
    assert "2-for-1 split of AAA on 2021-03-29, where close is at fault" in str(caught.value)


def test_an_asset_that_lists_late_is_masked_and_named():
    note = survivorship_note(load_sample("us4"))
    assert note == (
        "Survivorship: 4 of 4 assets trade to the last bar, chosen with that known, which "
        "flatters results; listed late: GOOG (2004-08-19); ended early: none."
    )


def test_an_asset_that_ended_early_is_no_survivor():
    tradable = np.ones((60, 2), bool)
    tradable[50:, 0] = False
    note = survivorship_note(smooth(tradable=tradable))
    assert "1 of 2 assets trade" in note
    assert f"ended early: AAA ({SESSIONS[49]:%Y-%m-%d})" in note
    tradable[50] = True
    assert "ended early: none" in survivorship_note(smooth(tradable=tradable))
    tradable[:] = False
    assert "0 of 2 assets trade" in survivorship_note(smooth(tradable=tradable))
