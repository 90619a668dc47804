"""Tables in other layouts, with other names and time zones are read as what they are."""

from gzip import decompress
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    check_file,
    load_sample,
    read_bars,
    survivorship_note,
    trading_sessions,
)
from trading_rlhf.market.sources import read_bars_and_notes

DAYS = trading_sessions(pd.Timestamp("2020-08-24"), pd.Timestamp("2020-09-11"))
SPLIT, DIVIDEND = 5, 9


def history(auto_adjust, seed=0, zone="America/New_York"):
    """Return what ``yfinance.Ticker.history`` returns: with a 4-for-1 split and a dividend."""
    generator = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(generator.normal(0.0, 0.01, len(DAYS))))
    before = np.arange(len(DAYS)) < DIVIDEND
    factor = np.where(before, 1.0 - 2.0 / close[DIVIDEND - 1], 1.0)
    scale = factor if auto_adjust else 1.0
    frame = pd.DataFrame(
        {
            "Open": close * 0.999 * scale,
            "High": close * 1.01 * scale,
            "Low": close * 0.99 * scale,
            "Close": close * scale,
            "Adj Close": close * factor,
            "Volume": generator.integers(1000, 9000, len(DAYS)),
            "Dividends": np.where(np.arange(len(DAYS)) == DIVIDEND, 2.0, 0.0),
            "Stock Splits": np.where(np.arange(len(DAYS)) == SPLIT, 4.0, 0.0),
        },
        index=DAYS.tz_localize(zone).rename("Date"),
    )
    return frame.drop(columns="Adj Close") if auto_adjust else frame


def download(auto_adjust=True, symbols=("AAA", "BBB"), order="Price"):
    """Return what ``yfinance.download`` returns for several symbols."""
    frames = {s: history(auto_adjust, seed=i, zone=None) for i, s in enumerate(symbols)}
    frame = pd.concat(frames, axis=1, names=["Ticker", "Price"])
    return frame.swaplevel(axis=1).sort_index(axis=1) if order == "Price" else frame


def traded(seed=0):
    close = history(auto_adjust=False, seed=seed)["Close"].to_numpy()
    return close * np.where(np.arange(len(DAYS)) < SPLIT, 4.0, 1.0)


def saved(frame, path):
    frame.to_csv(path) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("auto_adjust", [True, False])
def test_a_history_of_yfinance_is_read_with_its_closes_as_traded(tmp_path, suffix, auto_adjust):
    bars, notes = read_bars_and_notes(saved(history(auto_adjust), tmp_path / f"AAA{suffix}"))
    assert bars.symbols == ("AAA",)
    assert list(bars.dates) == list(DAYS)
    np.testing.assert_allclose(bars.raw_close[:, 0], traded(), rtol=1e-12)
    expected = history(auto_adjust=True)
    for name in ("Open", "High", "Low", "Close"):
        np.testing.assert_allclose(getattr(bars, name.lower())[:, 0], expected[name], rtol=1e-12)
    assert np.flatnonzero(bars.split[:, 0] != 1.0).tolist() == [SPLIT]
    assert bars.dividend[DIVIDEND, 0] == 2.0
    np.testing.assert_array_equal(bars.volume[:, 0], expected["Volume"])
    assert any("symbol: the file's name was taken, AAA" in note for note in notes)
    assert any(("auto_adjust" if auto_adjust else "Adj Close / Close") in note for note in notes)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("order", ["Price", "Ticker"])
@pytest.mark.parametrize("named", [True, False])
def test_two_levels_of_columns_are_read_either_way_round(tmp_path, suffix, order, named):
    frame = download(order=order)
    if not named:
        frame = frame.rename_axis(columns=[None, None], index=None)
    bars = read_bars(saved(frame, tmp_path / f"frames{suffix}"))
    assert bars.symbols == ("AAA", "BBB")
    assert list(bars.dates) == list(DAYS)
    for column, seed in enumerate((0, 1)):
        np.testing.assert_allclose(bars.raw_close[:, column], traded(seed), rtol=1e-12)


def test_columns_named_by_tuples_are_read(tmp_path):
    frame = download().reset_index()
    frame.columns = [str(name) for name in frame.columns]
    bars = read_bars(saved(frame, tmp_path / "frames.parquet"))
    assert bars.sha256 == read_bars(saved(download(), tmp_path / "other.parquet")).sha256


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_symbol_that_listed_later_is_masked_and_has_no_price(tmp_path, suffix):
    frame = download()
    frame.loc[DAYS[:3], (slice(None), "BBB")] = np.nan
    bars = read_bars(saved(frame, tmp_path / f"frames{suffix}"))
    assert bars.tradable.sum(axis=0).tolist() == [len(DAYS), len(DAYS) - 3]
    assert np.isnan(bars.close[:3, 1]).all()
    assert bars.lifetimes.tolist() == [[0, len(DAYS) - 1], [3, len(DAYS) - 1]]


def test_two_levels_of_other_things_are_refused(tmp_path):
    frame = download().rename(columns={"Close": "Mood"}, level=0)
    with pytest.raises(DataError, match="must be a field and a symbol; got Mood"):
        read_bars(saved(frame, tmp_path / "frames.parquet"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_wide_table_of_closes_is_read(tmp_path, suffix):
    closes = pd.DataFrame({"C": [1.0, 2.0], "AAA": [np.nan, 5.0]}, index=DAYS[:2].rename("Date"))
    bars, notes = read_bars_and_notes(saved(closes, tmp_path / f"closes{suffix}"))
    assert bars.symbols == ("C", "AAA")
    assert bars.tradable.tolist() == [[True, False], [True, True]]
    assert bars.close[1].tolist() == [2.0, 5.0]
    assert not bars.has_open
    assert "wide table of closes" in notes[0]


def test_a_wide_table_with_words_is_refused(tmp_path):
    closes = pd.DataFrame({"AAA": [1.0, 2.0], "Sector": ["x", "y"]}, index=DAYS[:2].rename("Date"))
    with pytest.raises(DataError, match="symbols must all be in capitals or none; got Sector"):
        read_bars(saved(closes, tmp_path / "closes.csv"))
    closes.columns = ["AAA", "BBB"]
    with pytest.raises(DataError, match="each symbol's closes must be numbers; got BBB"):
        read_bars(saved(closes, tmp_path / "closes.csv"))
    closes["BBB"] = ["1.0", "y"]
    with pytest.raises(DataError, match="close must hold numbers; got 'y'"):
        read_bars(saved(closes, tmp_path / "closes.csv"))


@pytest.mark.parametrize(
    "head",
    [
        "Date,Ticker,Open,High,Low,Close,Volume",
        "datetime,tic,o,h,l,c,v",
        "timestamp,Symbol,OPEN,HIGH,LOW,CLOSE,VOL",
        "time,code,Open,High,Low,Close*,Volume",
        " date , symbol , open , high , low , close , volume ",
    ],
)
def test_columns_go_by_their_usual_names(tmp_path, head):
    path = tmp_path / "bars.csv"
    path.write_text(f"{head}\n2020-01-02,AAA,10,11,9,10.5,100\n2020-01-03,AAA,10,12,9,11,300\n")
    bars = read_bars(path)
    assert bars.symbols == ("AAA",)
    assert bars.close[:, 0].tolist() == [10.5, 11.0]
    assert bars.volume[:, 0].tolist() == [100.0, 300.0]


def long_of(dates):
    return pd.DataFrame({"date": dates, "symbol": "AAA", "close": np.arange(len(dates)) + 1.0})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "stamps",
    [
        DAYS.tz_localize("America/New_York"),
        DAYS.tz_localize("UTC"),
        DAYS.tz_localize("America/New_York").tz_convert("UTC"),
        DAYS.tz_localize("America/New_York").tz_convert("Asia/Tokyo"),
        DAYS.tz_localize("Asia/Tokyo"),
        DAYS.tz_localize("Europe/Rome"),
        (DAYS + pd.Timedelta("16h")).tz_localize("America/New_York"),
    ],
    ids=["New York", "UTC", "New York in UTC", "New York in Tokyo", "Tokyo", "Rome", "close"],
)
def test_daily_bars_keep_their_session_in_every_time_zone(tmp_path, suffix, stamps):
    path = tmp_path / f"bars{suffix}"
    long_of(stamps).to_csv(path, index=False) if suffix == ".csv" else long_of(stamps).to_parquet(
        path
    )
    bars, notes = read_bars_and_notes(path)
    assert bars.dates.tz is None
    assert list(bars.dates) == list(DAYS)
    assert any("were read as the sessions of those days" in note for note in notes)


def test_daily_bars_keep_their_session_over_the_change_of_the_clocks(tmp_path):
    days = trading_sessions(pd.Timestamp("2020-02-27"), pd.Timestamp("2020-11-10"))
    path = tmp_path / "bars.csv"
    long_of(days.tz_localize("America/New_York")).to_csv(path, index=False)
    assert "-05:00" in path.read_text()
    assert "-04:00" in path.read_text()
    assert list(read_bars(path).dates) == list(days)


def test_an_early_close_is_the_stamp_of_its_session(tmp_path):
    stamps = pd.DatetimeIndex(["2020-11-25 16:00", "2020-11-27 13:00", "2020-11-30 16:00"])
    path = tmp_path / "bars.parquet"
    long_of(stamps.tz_localize("America/New_York").tz_convert("UTC")).to_parquet(path)
    assert list(read_bars(path).dates) == list(stamps.normalize())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_bars_within_a_day_are_moved_to_utc(tmp_path, suffix):
    stamps = pd.date_range("2020-03-06 09:30", periods=7, freq="1h", tz="America/New_York")
    path = tmp_path / f"bars{suffix}"
    long_of(stamps).to_csv(path, index=False) if suffix == ".csv" else long_of(stamps).to_parquet(
        path
    )
    bars = read_bars(path)
    assert str(bars.dates.tz) == "UTC"
    assert bars.dates[0] == pd.Timestamp("2020-03-06 14:30", tz="UTC")


def two_closes(**changes):
    """Return closes as traded, with a 2-for-1 split, beside adjusted ones; no column of events."""
    raw = np.array([100.0, 102.0, 51.5, 51.0, 50.0])
    table = pd.DataFrame(
        {
            "Date": DAYS[:5],
            "Ticker": "AAA",
            "Open": raw,
            "High": raw * 1.01,
            "Low": raw * 0.99,
            "Close": raw,
            "Adj Close": raw * [0.49, 0.49, 0.98, 0.98, 0.98],
            "Volume": 1000.0,
        }
    )
    return table.assign(**changes)


def test_an_adjusted_close_adjusts_all_prices_and_shows_the_split(tmp_path):
    path = tmp_path / "bars.csv"
    two_closes().to_csv(path, index=False)
    bars, notes = read_bars_and_notes(path)
    np.testing.assert_array_equal(bars.raw_close[:, 0], two_closes()["Close"])
    np.testing.assert_allclose(bars.close[:, 0], [50.0, 51.0, 51.5, 51.0, 50.0])
    np.testing.assert_allclose(bars.high[:, 0] / bars.close[:, 0], 1.01)
    assert bars.split[:, 0].tolist() == [1.0, 1.0, 2.0, 1.0, 1.0]
    assert bars.volume[:, 0].tolist() == [2000.0, 2000.0, 1000.0, 1000.0, 1000.0]
    assert "splits were read from the steps of the ratio (1)" in notes[0]
    assert check_file(path).notes == notes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"raw_close": 1.0}, "either raw_close and close or close and adj close; got all three"),
        ({"Adj Close": 0.0}, "adj close must be a positive price wherever"),
        ({"Adj Close": [50.0, 45.0, 51.0, 51.0, 51.0]}, "factor must not fall between splits"),
        ({"Open": [49.0, 50.0, 51.5, 51.0, 50.0]}, "open must lie between low and high"),
    ],
)
def test_an_adjusted_close_that_is_ambiguous_is_one_sentence(tmp_path, changes, sentence):
    path = tmp_path / "bars.csv"
    two_closes(**changes).to_csv(path, index=False)
    with pytest.raises(DataError, match=sentence) as caught:
        read_bars(path)
    assert "\n" not in str(caught.value)


def test_a_split_too_small_to_tell_is_taken_as_yahoo_states_it(tmp_path):
    frame = history(auto_adjust=False)
    frame["Stock Splits"] = frame["Stock Splits"].replace(4.0, 1.1)
    bars = read_bars(saved(frame, tmp_path / "AAA.csv"))
    later = np.where(np.arange(len(DAYS)) < SPLIT, 1.1, 1.0)
    np.testing.assert_allclose(bars.raw_close[:, 0], frame["Close"] * later, rtol=1e-12)
    np.testing.assert_array_equal(bars.volume[:, 0], frame["Volume"])


def test_closes_that_are_adjusted_for_some_splits_only_are_refused(tmp_path):
    frame = history(auto_adjust=False)
    frame.iloc[11, frame.columns.get_loc("Stock Splits")] = 3.0
    frame.iloc[:11, :4] *= 3.0
    with pytest.raises(DataError, match="throughout; got 1 of 2 splits worked in"):
        read_bars(saved(frame, tmp_path / "AAA.csv"))


def test_yahoos_closes_that_jump_at_a_split_are_refused(tmp_path):
    frame = history(auto_adjust=True)
    before = (np.arange(len(DAYS)) < SPLIT)[:, None]
    prices = ["Open", "High", "Low", "Close"]
    frame[prices] = frame[prices] * np.where(before, 4.0, 1.0)
    path = saved(frame, tmp_path / "AAA.csv")
    with pytest.raises(DataError, match=r"must be adjusted for splits.*4-for-1 split of AAA on"):
        read_bars(path)
    assert check_file(path).counts["split_not_adjusted"] == 1


def test_an_adjusted_close_that_was_not_adjusted_is_refused(tmp_path):
    frame = history(auto_adjust=False)
    before = (np.arange(len(DAYS)) < SPLIT)[:, None]
    prices = ["Open", "High", "Low", "Close", "Adj Close"]
    frame[prices] = frame[prices] * np.where(before, 4.0, 1.0)
    with pytest.raises(DataError, match="must be adjusted for splits"):
        read_bars(saved(frame, tmp_path / "AAA.csv"))


def test_the_archive_behind_the_sample_is_read_as_the_sample_with_a_late_listing(tmp_path):
    """GOOG lists in 2004 and FB in 2012: masked before, never a price."""
    archive = files("bokeh_sampledata").joinpath("_data", "stocks.csv.gz").read_bytes()
    path = tmp_path / "stocks.csv"
    path.write_bytes(decompress(archive))
    bars, sample = read_bars(path), load_sample("us4")
    assert list(bars.dates) == list(sample.dates)
    first = {s: bars.dates[r] for s, r in zip(bars.symbols, bars.lifetimes[:, 0], strict=True)}
    assert first["GOOG"] == pd.Timestamp("2004-08-19")
    assert first["FB"] == pd.Timestamp("2012-05-18")
    masked = ~bars.tradable
    assert np.isnan(bars.close[masked]).all()
    assert np.isnan(bars.raw_close[masked]).all()
    assert masked.sum(axis=0).tolist() == bars.lifetimes[:, 0].tolist()
    order = [bars.symbols.index(symbol) for symbol in sample.symbols]
    for name in ("open", "high", "low", "close", "volume", "raw_close", "split"):
        ours = getattr(bars, name)[:, order]
        np.testing.assert_allclose(ours, getattr(sample, name), rtol=1e-12, equal_nan=True)
    np.testing.assert_allclose(bars.dividend[:, order], sample.dividend, atol=1e-12)
    note = survivorship_note(bars)
    assert "5 of 5 assets trade to the last bar" in note
    assert "GOOG (2004-08-19)" in note
    assert "FB (2012-05-18)" in note
