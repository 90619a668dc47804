"""When orders fill, at bars that exist and beyond the last one."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.market import Bars
from trading_rlhf.proposals.times import fill_time


def bars(dates, has_open: bool = True) -> Bars:
    close = np.full((len(dates), 1), 100.0)
    return Bars(dates, ["A"], close if has_open else None, None, None, close, None)


DAILY = pd.DatetimeIndex(["2024-11-26", "2024-11-27"])
HOURLY = pd.date_range("2024-11-27 14:30", periods=7, freq="h", tz="UTC")


@pytest.mark.parametrize(
    ("ahead", "has_open", "expected"),
    [
        (0, True, datetime(2024, 11, 27, 14, 30, tzinfo=UTC)),
        (0, False, datetime(2024, 11, 27, 21, 0, tzinfo=UTC)),
        # Thanksgiving is no session, and the day after it closes at 13:00 in New York.
        (1, True, datetime(2024, 11, 29, 14, 30, tzinfo=UTC)),
        (1, False, datetime(2024, 11, 29, 18, 0, tzinfo=UTC)),
        (2, True, datetime(2024, 12, 2, 14, 30, tzinfo=UTC)),
    ],
)
def test_daily_bars_follow_the_exchange(ahead, has_open, expected):
    assert fill_time(bars(DAILY, has_open), 1 + ahead) == expected


@pytest.mark.parametrize(
    ("t", "has_open", "expected"),
    [
        (3, True, datetime(2024, 11, 27, 17, 30, tzinfo=UTC)),
        (3, False, datetime(2024, 11, 27, 18, 30, tzinfo=UTC)),
        # The last bar of the day starts at 15:30 in New York and ends with the session.
        (6, False, datetime(2024, 11, 27, 21, 0, tzinfo=UTC)),
        (7, True, datetime(2024, 11, 29, 14, 30, tzinfo=UTC)),
        (7, False, datetime(2024, 11, 29, 15, 30, tzinfo=UTC)),
        (11, True, datetime(2024, 12, 2, 14, 30, tzinfo=UTC)),
    ],
)
def test_bars_within_a_day_follow_each_other_and_then_the_exchange(t, has_open, expected):
    assert fill_time(bars(HOURLY, has_open), t) == expected


def test_a_review_of_two_bars_moves_the_fill_by_two(make, us4, book):
    now, late = make(us4), make(us4, delay=2)
    t = us4.shape[0] - 2
    (one, *_), (other, *_) = now.maker.at(t, book, "live"), late.maker.at(t, book, "live")
    assert one.known_at == other.known_at
    assert one.earliest_fill_at == fill_time(us4, t + 1)
    assert other.earliest_fill_at == fill_time(us4, t + 3) > one.earliest_fill_at
