"""Sessions open at 09:30 and close at 16:00 or early in New York, whatever the season."""

from datetime import UTC, date, datetime

import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Bars,
    bar_close,
    bar_open,
    next_session,
    session_close,
    session_open,
    trading_sessions,
)


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        (date(2020, 1, 3), (14, 30), (21, 0)),
        (date(2020, 7, 1), (13, 30), (20, 0)),
    ],
)
def test_open_and_close_follow_daylight_saving(day, opens, closes):
    for given in (day, pd.Timestamp(day)):
        assert session_open(given) == datetime(day.year, day.month, day.day, *opens, tzinfo=UTC)
        assert session_close(given) == datetime(day.year, day.month, day.day, *closes, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "hour"),
    [("2020-11-27", 18), ("2020-12-24", 18), ("2019-07-03", 17), ("1992-12-24", 19)],
)
def test_early_closes_are_known_three_hours_sooner(day, hour):
    assert session_close(pd.Timestamp(day)).hour == hour
    assert session_open(pd.Timestamp(day)).minute == 30


def bars_at(*times, zone="America/New_York"):
    dates = pd.DatetimeIndex(times)
    dates = dates if zone is None else dates.tz_localize(zone).tz_convert("UTC")
    return Bars(dates, ("AAA",), None, None, None, [[1.0]] * len(dates), None)


def test_a_daily_bar_opens_and_closes_with_its_session():
    bars = bars_at("2020-11-25", "2020-11-27", zone=None)
    assert bar_open(bars, 1) == datetime(2020, 11, 27, 14, 30, tzinfo=UTC)
    assert bar_close(bars, 1) == datetime(2020, 11, 27, 18, tzinfo=UTC)
    assert bar_close(bars, 0) == datetime(2020, 11, 25, 21, tzinfo=UTC)


def test_an_hourly_bar_is_labelled_by_its_start_and_ends_with_the_session():
    hours = ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"]
    bars = bars_at(*(f"2020-11-25 {h}" for h in hours), *(f"2020-11-27 {h}" for h in hours[:4]))
    assert bar_open(bars, 0) == datetime(2020, 11, 25, 14, 30, tzinfo=UTC)
    assert bar_close(bars, 0) == datetime(2020, 11, 25, 15, 30, tzinfo=UTC)
    assert bar_close(bars, 6) == datetime(2020, 11, 25, 21, tzinfo=UTC)
    assert bar_close(bars, 10) == datetime(2020, 11, 27, 18, tzinfo=UTC)
    for t in range(10):
        assert bar_open(bars, t) < bar_close(bars, t) <= bar_open(bars, t + 1)


def test_a_bar_ends_where_the_next_one_starts_and_after_hours_after_its_length():
    bars = bars_at("2020-01-02 14:00", "2020-01-02 15:00", "2020-01-02 15:30", "2020-01-02 17:00",
                   "2020-01-02 18:00")  # fmt: skip
    assert bar_close(bars, 1) == bar_open(bars, 2)
    assert bar_close(bars, 4) == datetime(2020, 1, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize("t", [-1, 2])
def test_only_bars_have_times(t):
    for ask in (bar_close, bar_open):
        with pytest.raises(DataError, match="t must lie in 0"):
            ask(bars_at("2020-01-02", "2020-01-03", zone=None), t)


def test_a_time_within_a_day_belongs_to_the_new_york_date():
    assert session_close(pd.Timestamp("2020-01-04 01:00", tz="UTC")).date() == date(2020, 1, 3)


@pytest.mark.parametrize(
    ("day", "following"),
    [
        ("2020-01-02", "2020-01-03"),
        ("2020-01-03", "2020-01-06"),
        ("2020-01-04", "2020-01-06"),
        ("2020-07-02", "2020-07-06"),
        ("2025-01-08", "2025-01-10"),
        ("2001-09-10", "2001-09-17"),
    ],
)
def test_the_next_session_skips_weekends_holidays_and_closures(day, following):
    assert next_session(pd.Timestamp(day)) == pd.Timestamp(following)


def test_the_calendar_says_where_it_ends():
    with pytest.raises(DataError, match="between 1970"):
        next_session(date(1969, 1, 1))
    with pytest.raises(DataError, match="2099"):
        next_session(date(2100, 1, 1))


def test_sessions_of_a_range_include_both_ends():
    sessions = trading_sessions(date(2020, 1, 2), date(2020, 1, 6))
    assert list(sessions) == list(pd.DatetimeIndex(["2020-01-02", "2020-01-03", "2020-01-06"]))
