"""Bars check themselves, stay as they are, and never tell what was not yet known."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import Bars

DATES = pd.DatetimeIndex(["2020-01-02", "2020-01-03", "2020-01-06"])

SESSIONS = ("2020-07-01", "2020-07-02", "2020-07-06")


def bars_of(**changes):
    close = np.array([[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]])
    values = {
        "dates": DATES,
        "symbols": ("AAA", "BBB"),
        "open": close - 0.5,
        "high": close + 1.0,
        "low": close - 1.0,
        "close": close,
        "volume": np.full((3, 2), 100.0),
    } | changes
    return Bars(**values)


def changed(value, name="close"):
    array = np.array(getattr(bars_of(), name))
    array[1, 1] = value
    return {name: array}


def test_defaults_stand_for_no_events_and_every_bar_tradable():
    bars = bars_of()
    assert bars.shape == (3, 2)
    assert (bars.split == 1.0).all()
    assert (bars.dividend == 0.0).all()
    assert bars.tradable.all()
    np.testing.assert_array_equal(bars.raw_close, bars.close)


def test_close_only_bars_fill_at_the_close():
    bars = bars_of(open=None, high=None, low=None, volume=None)
    assert not bars.has_open
    assert bars.fill_price is bars.close
    assert bars.fillable.all()


def test_bars_with_an_open_fill_there_unless_volume_is_zero():
    bars = bars_of(**changed(0.0, "volume"))
    assert bars.has_open
    assert bars.fill_price is bars.open
    assert not bars.fillable[1, 1]
    assert bars.fillable.sum() == 5


def test_arrays_are_read_only_copies():
    close = np.array(bars_of().close)
    bars = bars_of(close=close)
    close[0, 0] = 10.25
    assert bars.close[0, 0] == 10.0
    for name in ("open", "high", "low", "close", "volume", "raw_close", "split", "tradable"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(bars, name)[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        bars.close = close


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dates": DATES[::-1]}, "dates must ascend"),
        ({"dates": DATES[[0, 1, 1]]}, "each date may occur once; got 2020-01-03"),
        ({"dates": DATES[:2]}, r"shape \(2, 2\); got \(3, 2\)"),
        ({"dates": ["2020-01-02", "no date", "2020-01-06"]}, "dates must be dates"),
        ({"dates": DATES.tz_localize("Europe/Rome")}, "naive or UTC; got Europe/Rome"),
        ({"dates": DATES + pd.Timedelta("9h")}, "must carry a time zone"),
        ({"dates": pd.DatetimeIndex(["2020-01-02", None, "2020-01-06"])}, "must have a date"),
        ({"dates": DATES + pd.DateOffset(years=500)}, "between 1800 and 2199"),
        ({"dates": DATES[:0]}, "at least one date"),
        ({"symbols": ("AAA", "AAA")}, "each symbol may occur once; got AAA"),
        ({"symbols": "AB"}, "list of names"),
        ({"close": [["a", "b"]] * 3}, "close must hold numbers"),
        (changed(np.nan), "close must be a price wherever .* got nan for BBB on 2020-01-03"),
        (changed(0.0), "close must be positive and finite, 1e-9 to 1e12; got 0 for BBB"),
        (
            changed(-3.0, "open"),
            "open must be positive and finite, 1e-9 to 1e12; got -3 for BBB on 2020-01-03",
        ),
        (changed(np.inf), "close must be positive and finite, 1e-9 to 1e12; got inf"),
        (changed(19.0, "high"), "high must not be below low; got 19 for BBB"),
        (changed(30.0), "close must lie between low and high; got 30 for BBB"),
        (changed(30.0, "open"), "open must lie between low and high"),
        (changed(-1.0, "volume"), "volume must be zero or more; got -1"),
        (changed(np.nan, "volume"), "volume must be zero or more; got nan"),
        (changed(np.inf, "volume"), "volume must be finite"),
        (changed(-0.5, "dividend"), "dividend must be zero or more"),
        (
            changed(0.0, "split") | {"raw_close": bars_of().close},
            "split must be positive, 1e-6 to 1e6; got 0",
        ),
        (changed(2.0, "split"), "splits must come with the close as traded"),
        ({"tradable": np.ones((3, 2))}, "tradable must be true or false"),
    ],
)
def test_impossible_bars_are_refused_with_one_sentence(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        bars_of(**changes)


def test_prices_may_be_missing_only_where_not_tradable():
    tradable = np.array([[True, False], [True, True], [True, True]])
    close = np.where(tradable, bars_of().close, np.nan)
    none = {"open": None, "high": None, "low": None, "volume": None}
    assert np.isnan(bars_of(close=close, tradable=tradable, **none).close[0, 1])
    with pytest.raises(DataError, match="wherever the asset is tradable"):
        bars_of(close=close, **none)


def test_a_hair_of_rounding_between_high_and_close_is_accepted():
    bars = bars_of()
    assert bars_of(high=bars.close * (1 - 1e-12), open=bars.close - 0.1).shape == (3, 2)
    with pytest.raises(DataError, match="between low and high"):
        bars_of(high=bars.close * (1 - 1e-6), open=bars.close - 0.1)


def test_times_within_a_day_are_kept_in_utc():
    bars = bars_of(dates=(DATES + pd.Timedelta("15h")).tz_localize("UTC"))
    assert str(bars.dates.tz) == "UTC"
    assert bars.sha256 != bars_of().sha256


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume", "dividend"])
def test_the_hash_covers_every_array(name):
    bars = bars_of()
    array = np.array(getattr(bars, name))
    array[2, 0] += 0.25
    assert replace(bars, **{name: array}).sha256 != bars.sha256
    assert replace(bars).sha256 == bars.sha256


def test_the_hash_covers_names_dates_and_what_is_missing():
    bars = bars_of()
    assert bars_of(symbols=("AAA", "CCC")).sha256 != bars.sha256
    assert bars_of(dates=DATES + pd.Timedelta("1D")).sha256 != bars.sha256
    assert bars_of(open=None).sha256 != bars.sha256
    assert bars_of(dates=DATES.as_unit("ns")).sha256 == bars.sha256


def test_a_window_is_the_same_bars(make_bars):
    bars = make_bars()
    part = bars.window(50, 120)
    assert part.shape == (70, 3)
    np.testing.assert_array_equal(part.close, bars.close[50:120])
    np.testing.assert_array_equal(part.volume, bars.volume[50:120])
    for start, stop in ((5, 5), (-1, 4), (0, 201)):
        with pytest.raises(DataError, match="a window must satisfy"):
            bars.window(start, stop)


def test_a_window_counts_volume_without_later_splits(make_bars):
    bars = make_bars(split_at=40)
    np.testing.assert_array_equal(bars.window(0, 40).volume[:, 0], bars.volume[:40, 0] / 3.0)
    np.testing.assert_array_equal(bars.window(0, 40).volume[:, 1], bars.volume[:40, 1])
    early, late = bars.known_at(30, 0, 10), bars.window(0, 40).known_at(30, 0, 10)
    np.testing.assert_array_equal(early.volume, late.volume)


def test_known_at_ends_with_the_close_as_traded(make_bars):
    bars = make_bars(split_at=40)
    for t in (0, 39, 40, 41, 199):
        history = bars.known_at(t, 0, 60)
        assert history.close[-1] == bars.raw_close[t, 0]
        assert history.dates[-1] == bars.dates[t]
        assert len(history.close) == min(60, t + 1)


def test_known_at_joins_prices_over_a_split_it_knows_and_not_over_a_later_one(make_bars):
    bars = make_bars(split_at=40)
    before, after = bars.known_at(39, 0, 10), bars.known_at(45, 0, 20)
    np.testing.assert_array_equal(before.close, bars.raw_close[30:40, 0])
    jumps = np.abs(np.diff(np.log(after.close)))
    assert jumps.max() < 0.2
    np.testing.assert_allclose(after.close[:14], bars.raw_close[26:40, 0] / 3.0)
    np.testing.assert_allclose(after.high / after.close, bars.high[26:46, 0] / bars.close[26:46, 0])


def test_known_at_counts_volume_in_shares_of_t(make_bars):
    bars = make_bars(split_at=40)
    np.testing.assert_allclose(bars.known_at(39, 0, 5).volume, bars.volume[35:40, 0] / 3.0)
    np.testing.assert_allclose(bars.known_at(41, 0, 5).volume, bars.volume[37:42, 0])


def test_known_at_does_not_change_when_everything_after_t_does(make_bars):
    bars, t = make_bars(split_at=40), 60
    generator = np.random.default_rng(5)
    scale = np.where(np.arange(200)[:, None] > t, generator.uniform(0.5, 2.0, (200, 3)), 1.0)
    dividend, split = np.array(bars.dividend), np.array(bars.split)
    dividend[t + 1 :] += 1.0
    split[t + 1 :] = 1.0
    names = ("open", "high", "low", "close", "volume", "raw_close")
    arrays = {name: getattr(bars, name) * scale for name in names}
    other = replace(bars, dividend=dividend, split=split, **arrays)
    assert other.sha256 != bars.sha256
    for column in range(3):
        one, two = bars.known_at(t, column, 50), other.known_at(t, column, 50)
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(one, name).tobytes() == getattr(two, name).tobytes()


def test_known_at_is_the_same_before_and_after_a_later_split_is_worked_in(make_bars):
    """A split after t rescales the adjusted prices and volumes of the past, not what t knew."""
    bars, t = make_bars(split_at=40), 60
    past = (np.arange(200) < 100)[:, None]
    split = np.array(bars.split)
    split[100] = 2.0
    prices = {n: getattr(bars, n) * np.where(past, 0.5, 1.0) for n in ("open", "high", "low")}
    other = replace(
        bars,
        **prices,
        close=bars.close * np.where(past, 0.5, 1.0),
        volume=bars.volume * np.where(past, 2.0, 1.0),
        split=split,
    )
    one, two = bars.known_at(t, 1, 50), other.known_at(t, 1, 50)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_known_at_leaves_out_bars_without_a_price():
    tradable = np.array([[True, False], [True, True], [True, True]])
    spread = {"open": None, "high": None, "low": None, "volume": None}
    close = np.where(tradable, bars_of().close, np.nan)
    history = bars_of(close=close, tradable=tradable, **spread).known_at(2, 1, 10)
    np.testing.assert_array_equal(history.close, [21.0, 22.0])
    assert list(history.dates) == list(DATES[1:])
    assert history.open is None
    assert history.volume is None


@pytest.mark.parametrize("where", [(-1, 0, 5), (3, 0, 5), (0, 2, 5), (0, 0, 0)])
def test_known_at_refuses_a_place_outside_the_bars(where):
    with pytest.raises(DataError, match="t must lie in"):
        bars_of().known_at(*where)


def test_daily_bars_have_252_a_year_and_hourly_ones_those_of_their_sessions(make_bars):
    assert make_bars().bars_per_year == 252.0
    days = [pd.date_range(f"{day} 09:30", periods=7, freq="1h") for day in SESSIONS]
    days[1] = days[1][:4]
    times = pd.DatetimeIndex(np.concatenate(days)).tz_localize("America/New_York")
    close = np.full((len(times), 1), 10.0)
    hourly = Bars(times.tz_convert("UTC"), ("AAA",), None, None, None, close, None)
    assert hourly.bars_per_year == 252.0 * 7


def test_evening_bars_belong_to_the_session_of_new_york():
    times = pd.date_range("2020-01-02 18:00", periods=2, freq="2h", tz="America/New_York")
    close = np.full((2, 1), 10.0)
    assert Bars(times.tz_convert("UTC"), ("AAA",), *[None] * 3, close, None).bars_per_year == 504.0


def test_lifetimes_are_the_first_and_last_bar_of_each_asset():
    tradable = np.ones((3, 2), bool)
    tradable[0, 0] = tradable[2, 1] = False
    assert bars_of(tradable=tradable).lifetimes.tolist() == [[1, 2], [0, 1]]
    tradable[:, 0] = False
    assert bars_of(tradable=tradable).lifetimes.tolist() == [[0, -1], [0, 1]]
