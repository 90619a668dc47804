"""A bootstrapped history keeps what lies within a bar and across assets, and uses no other bars."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    OHLCV_FEATURES,
    bootstrap_bars,
    compute_features,
    gbm_market,
    load_sample,
    trading_sessions,
)


@pytest.fixture(scope="module")
def real():
    return load_sample("us4").window(1400, 2600)


def returns(bars):
    return bars.close[1:] / bars.close[:-1] - 1.0


def rows_of(drawn, source):
    """Which row of the source each drawn bar (from the second on) is, told by its shape."""

    def shapes(bars):
        ratios = np.stack([getattr(bars, name)[:, 0] for name in ("open", "high", "low")], axis=1)
        return [tuple(row) for row in (ratios / bars.close[:, :1]).round(9)]

    keys = {shape: i for i, shape in enumerate(shapes(source))}
    assert len(keys) == len(source.dates)
    return np.array([keys[shape] for shape in shapes(drawn)[1:]])


def hourly(n_sessions=30, n_assets=3):
    days = trading_sessions(pd.Timestamp("2021-02-01"), pd.Timestamp("2022-02-01"))[:n_sessions]
    hours = [pd.Timedelta(hours=9.5 + hour) for hour in range(7)]
    times = [day + hour for day in days for hour in hours]
    dates = pd.DatetimeIndex(times).tz_localize("America/New_York").tz_convert("UTC")
    return gbm_market(
        np.random.default_rng(0), len(dates), n_assets, bars_per_year=1764.0, dates=dates
    )


def test_every_bar_is_one_of_the_source_with_all_its_assets(real):
    drawn = bootstrap_bars(real, np.random.default_rng(0), 900)
    rows = rows_of(drawn, real)
    assert drawn.shape == (900, 4)
    assert drawn.symbols == real.symbols
    np.testing.assert_allclose(returns(drawn), returns(real)[rows - 1], atol=1e-12)
    for name in ("open", "high", "low"):
        ratio, given = getattr(drawn, name) / drawn.close, getattr(real, name) / real.close
        np.testing.assert_allclose(ratio[1:], given[rows], rtol=1e-12)
    gaps = real.open[1:] / real.close[:-1]
    np.testing.assert_allclose(drawn.open[1:] / drawn.close[:-1], gaps[rows - 1], rtol=1e-12)


def test_a_drawn_bar_trades_the_usd_volume_of_its_source(real):
    drawn = bootstrap_bars(real, np.random.default_rng(0), 500)
    rows = rows_of(drawn, real)
    expected = (real.close * real.volume)[rows]
    np.testing.assert_allclose((drawn.close * drawn.volume)[1:], expected, rtol=1e-9)


@pytest.mark.parametrize("block", [5.0, 40.0])
def test_blocks_last_as_long_as_asked(real, block):
    drawn = bootstrap_bars(real, np.random.default_rng(1), 12_000, block)
    rows = rows_of(drawn, real)
    usable = len(real.dates) - 1
    goes_on = (rows[1:] - 1) == rows[:-1] % usable
    assert (~goes_on).mean() == pytest.approx(1.0 / block, rel=0.12)
    # Circular blocks draw the edges as often as the middle.
    share = np.bincount((rows - 1) * 4 // usable, minlength=4) / len(rows)
    assert share == pytest.approx([0.25] * 4, abs=0.12)


def test_moments_and_dependence_are_those_of_the_source(real):
    drawn = bootstrap_bars(real, np.random.default_rng(2), 12_000, 20.0)
    one, other = returns(drawn), returns(real)
    np.testing.assert_allclose(one.std(axis=0), other.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(one.T), np.corrcoef(other.T), atol=0.08)
    memory = [np.corrcoef(np.abs(r[1:, 0]), np.abs(r[:-1, 0]))[0, 1] for r in (one, other)]
    assert memory[0] == pytest.approx(memory[1], abs=0.1)


def test_features_within_a_block_are_those_of_the_source(real):
    drawn = bootstrap_bars(real, np.random.default_rng(3), 600, block=1e9)
    first = rows_of(drawn, real)[0]
    n = min(600, len(real.dates) - first)
    mine, theirs = compute_features(drawn, OHLCV_FEATURES), compute_features(real, OHLCV_FEATURES)
    assert n > 200
    np.testing.assert_allclose(mine[130:n], theirs[first + 129 : first + n - 1], atol=1e-5)


def test_only_the_given_bars_are_used(real):
    changed = {
        name: np.vstack([getattr(real, name)[:800], getattr(real, name)[800:] * 1.5])
        for name in ("open", "high", "low", "close", "raw_close")
    }
    other = replace(real, **changed)
    drawn = [bootstrap_bars(b.window(0, 800), np.random.default_rng(4)) for b in (real, other)]
    assert drawn[0].close.tobytes() == drawn[1].close.tobytes()
    assert len(drawn[0].dates) == 800


def test_missing_bars_stay_missing_and_prices_go_on_after_them():
    bars = load_sample("us4").window(900, 1500)
    listed = int(bars.tradable[:, 1].argmax())
    drawn = bootstrap_bars(bars, np.random.default_rng(5), 800, 30.0)
    rows = np.concatenate([[0], rows_of(drawn, bars)])
    missing = ~bars.tradable[rows[1:], 1]
    assert 0 < listed < 600
    np.testing.assert_array_equal(~drawn.tradable[1:, 1], missing)
    assert 0.0 < missing.mean() < 1.0
    price = pd.Series(drawn.close[:, 1]).ffill().pct_change().to_numpy()[1:]
    moved = np.nan_to_num(price[~missing])
    expected = np.nan_to_num(pd.Series(bars.close[:, 1]).pct_change().to_numpy())
    np.testing.assert_allclose(moved[1:], expected[rows[1:]][~missing][1:], atol=1e-12)


def test_the_return_over_a_missing_bar_is_that_of_the_source(real):
    tradable = np.array(real.tradable)
    tradable[100::7, 2] = False
    names = ("open", "high", "low", "close", "raw_close", "volume")
    gapped = replace(
        real,
        **{name: np.where(tradable, getattr(real, name), np.nan) for name in names},
        tradable=tradable,
    )
    # One block that does not come around the end.
    drawn = bootstrap_bars(gapped, np.random.default_rng(2), 200, block=1e9)
    whole = bootstrap_bars(real, np.random.default_rng(2), 200, block=1e9)
    assert (np.diff(rows_of(drawn, gapped)) == 1).all()
    there = drawn.tradable[:, 2]
    assert 20 < (~there).sum() < 40
    ratio = drawn.close[there][:, 2] / whole.close[there][:, 2]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_splits_and_dividends_are_in_the_returns():
    bars = load_sample("us4")
    drawn = bootstrap_bars(bars.window(1100, 1400), np.random.default_rng(6), 400)
    assert (bars.window(1100, 1400).split != 1.0).any()
    assert (drawn.split == 1.0).all()
    assert (drawn.dividend == 0.0).all()
    assert (drawn.raw_close == drawn.close)[drawn.tradable].all()
    assert np.nanmax(np.abs(returns(drawn))) < 0.3


def test_dates_are_sessions_from_the_first_one_on(real):
    drawn = bootstrap_bars(real, np.random.default_rng(7), 2000)
    sessions = trading_sessions(real.dates[0], pd.Timestamp("2099-12-31"))[:2000]
    assert (drawn.dates == sessions).all()


def test_bars_within_a_day_are_drawn_by_whole_sessions():
    bars = hourly()
    drawn = bootstrap_bars(bars, np.random.default_rng(8), 500, block=21.0)
    local = drawn.dates.tz_convert("America/New_York")
    rows = rows_of(drawn, bars)
    assert len(drawn.dates) == 500
    assert (local.hour == [9 + i % 7 for i in range(500)]).all()
    np.testing.assert_array_equal(rows % 7, np.arange(1, 500) % 7)
    same_session = np.arange(1, 499) % 7 != 6
    assert (np.diff(rows) == 1)[same_session].all()
    assert not (np.diff(rows) == 1).all()
    assert rows.min() >= 7


def test_the_same_seed_gives_the_same_history(real):
    first, again, other = (
        bootstrap_bars(real, np.random.default_rng(seed), 100) for seed in (1, 1, 2)
    )
    assert first.sha256 == again.sha256 != other.sha256


def test_close_only_bars_can_be_drawn(real):
    closes = replace(real, open=None, high=None, low=None, volume=None)
    drawn = bootstrap_bars(closes, np.random.default_rng(1), 100)
    assert drawn.open is None
    whole = bootstrap_bars(real, np.random.default_rng(1), 100)
    np.testing.assert_array_equal(drawn.close, whole.close)


@pytest.mark.parametrize(
    ("n_bars", "block", "sentence"),
    [
        (0, 5.0, "a bootstrap needs .*; got 1200 sessions, 0 bars to draw"),
        (10, 0.5, "blocks of one bar or more; got .* 0.5"),
        (10, float("nan"), "a bootstrap needs"),
        (10**6, 5.0, "the calendar has .* sessions from 2005-.*; got 1000000 sessions"),
    ],
)
def test_numbers_out_of_range_are_refused(real, n_bars, block, sentence):
    with pytest.raises(DataError, match=sentence):
        bootstrap_bars(real, np.random.default_rng(0), n_bars, block)


def test_one_bar_or_one_session_is_too_few(real):
    for few in (real.window(0, 1), hourly(1)):
        with pytest.raises(DataError, match="a bootstrap needs two sessions or more"):
            bootstrap_bars(few, np.random.default_rng(0), 5)
