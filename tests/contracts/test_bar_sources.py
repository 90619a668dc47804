"""What every source of bars promises, whatever it is made of."""

from dataclasses import replace
from datetime import UTC, datetime
from gzip import decompress
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.market import (
    DEFAULT_FEATURES,
    OHLCV_FEATURES,
    Origin,
    compute_features,
    fetch_bars,
    load_bars,
    load_sample,
    planted_market,
    read_bars,
    store_bars,
    write_bars,
)
from trading_rlhf.market.bars import ARRAY_NAMES, PRICE_NAMES


def us4(folder, monkeypatch):
    return load_sample("us4")


def sp20(folder, monkeypatch):
    return load_sample("sp20")


def planted(folder, monkeypatch):
    return planted_market(np.random.default_rng(4), n_bars=400, n_assets=6).bars


def csv_file(folder, monkeypatch):
    write_bars(load_sample("us4").window(900, 1300), folder / "bars.csv")
    return read_bars(folder / "bars.csv")


def parquet_file(folder, monkeypatch):
    write_bars(load_sample("sp20").window(0, 300), folder / "bars.parquet")
    return read_bars(folder / "bars.parquet")


def yahoo(folder, monkeypatch):
    """Fetch through a client that answers like yfinance, with a split and a dividend."""
    index = pd.bdate_range("2020-01-02", periods=200, tz="America/New_York", name="Date")
    close = 100.0 + 10.0 * np.sin(np.arange(200) / 9.0)
    frame = pd.DataFrame(
        {
            "Open": close * 0.999,
            "High": close * 1.01,
            "Low": close * 0.99,
            "Close": close,
            "Adj Close": close * np.where(np.arange(200) < 150, 1.0 - 1.5 / close[149], 1.0),
            "Volume": np.arange(200) + 1000,
            "Dividends": np.where(np.arange(200) == 150, 1.5, 0.0),
            "Stock Splits": np.where(np.arange(200) == 80, 3.0, 0.0),
        },
        index=index,
    )
    monkeypatch.setattr("yfinance.Ticker.history", lambda self, **options: frame)
    start, end = (pd.Timestamp(day).date() for day in ("2020-01-02", "2020-12-31"))
    return fetch_bars(["AAA", "BBB"], start, end).bars


def cached(folder, monkeypatch):
    origin = Origin("test", "1", "1d", {}, "USD")
    bars = load_sample("us4").window(1000, 1400)
    entry = store_bars(folder, bars, origin, lambda: datetime(2026, 1, 5, tzinfo=UTC)).entry
    return load_bars(f"cache:{entry.content[:8]}", folder)


def two_closes(folder, monkeypatch):
    """An archive with closes as traded beside adjusted ones, and no column of events."""
    archive = files("bokeh_sampledata").joinpath("_data", "stocks.csv.gz").read_bytes()
    (folder / "stocks.csv").write_bytes(decompress(archive))
    return read_bars(folder / "stocks.csv")


SOURCES = [us4, sp20, planted, csv_file, parquet_file, yahoo, cached, two_closes]


@pytest.fixture(params=SOURCES, ids=lambda source: source.__name__)
def bars(request, tmp_path, monkeypatch):
    return request.param(tmp_path, monkeypatch)


def test_dates_ascend_and_symbols_are_unique(bars):
    assert bars.dates.is_monotonic_increasing
    assert bars.dates.is_unique
    assert bars.dates.tz is None
    assert (bars.dates == bars.dates.normalize()).all()
    assert len(set(bars.symbols)) == len(bars.symbols) == bars.shape[1]


def test_arrays_are_float64_of_one_shape_and_read_only(bars):
    for name in ARRAY_NAMES:
        array = getattr(bars, name)
        if array is not None:
            assert array.shape == bars.shape
            assert array.dtype == (bool if name == "tradable" else np.float64)
            assert not array.flags.writeable


def test_prices_are_positive_and_ordered_where_there_is_a_bar(bars):
    here = bars.tradable
    assert here.any(axis=0).all()
    for name in (*PRICE_NAMES, "raw_close"):
        if (prices := getattr(bars, name)) is not None:
            assert (prices[here] > 0.0).all()
    if bars.high is not None:
        for prices in (bars.open, bars.close):
            assert (prices[here] <= bars.high[here] * (1.0 + 1e-9)).all()
            assert (prices[here] >= bars.low[here] * (1.0 - 1e-9)).all()


def test_without_an_open_orders_fill_at_the_close(bars):
    assert bars.has_open == (bars.open is not None)
    assert bars.fill_price is (bars.open if bars.has_open else bars.close)


def test_traded_and_adjusted_returns_differ_by_splits_and_dividends_only(bars):
    adjusted = bars.close[1:] / bars.close[:-1]
    paid = bars.dividend[1:] / bars.raw_close[1:]
    traded = bars.raw_close[1:] / bars.raw_close[:-1] * bars.split[1:] * (1.0 + paid)
    both = np.isfinite(adjusted) & np.isfinite(traded)
    assert both.any()
    # Yahoo works dividends in by its own formula, which differs by the square of the yield.
    np.testing.assert_allclose(adjusted[both], traded[both], rtol=1e-3)


def test_the_last_known_price_is_the_traded_one(bars):
    for t in (0, len(bars.dates) // 2, len(bars.dates) - 1):
        for column in np.flatnonzero(bars.tradable[t]):
            history = bars.known_at(t, int(column), 30)
            assert history.close[-1] == bars.raw_close[t, column]
            assert history.dates[-1] == bars.dates[t]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_writing_and_reading_changes_nothing(bars, tmp_path, suffix):
    part = bars.window(0, min(400, len(bars.dates)))
    write_bars(part, tmp_path / f"copy{suffix}")
    copy = read_bars(tmp_path / f"copy{suffix}")
    assert copy.sha256 == part.sha256
    assert copy.symbols == part.symbols


def test_the_hash_is_of_the_content(bars):
    assert replace(bars).sha256 == bars.sha256
    close, raw_close = np.array(bars.close), np.array(bars.raw_close)
    raw_close[-1, 0] *= 1.5
    assert replace(bars, close=close, raw_close=raw_close).sha256 != bars.sha256


def test_features_are_finite(bars):
    names = DEFAULT_FEATURES if bars.high is None else OHLCV_FEATURES
    features = compute_features(bars, names)
    assert features.shape == (*bars.shape, len(names))
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 3.0
    assert (features[-1] != 0.0).any()
