"""Sessions open at 09:30 and close at 16:00 in New York, whatever the season."""

from datetime import UTC, date, datetime

import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import next_session, session_close, session_open, trading_sessions


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
