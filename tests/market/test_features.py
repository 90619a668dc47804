"""Features say what they claim to say, and are zero where they cannot."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    DEFAULT_FEATURES,
    OHLCV_FEATURES,
    Bars,
    Feature,
    FeatureRegistry,
    compute_features,
    default_registry,
    load_sample,
    warmup,
)
from trading_rlhf.market import features as features_module


def by_name(bars, name):
    return compute_features(bars, (name,))[..., 0]


def test_shape_type_and_bounds(make_bars):
    bars = make_bars(300)
    features = compute_features(bars, OHLCV_FEATURES)
    assert features.shape == (300, 3, 7)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 3.0
    assert np.abs(features[..., OHLCV_FEATURES.index("range_20")]).max() <= 1.0


@pytest.mark.parametrize("name", OHLCV_FEATURES)
def test_a_feature_starts_exactly_after_its_lookback(make_bars, name):
    lookback = default_registry().get(name).lookback
    values = by_name(make_bars(300), name)
    assert (values[:lookback] == 0.0).all()
    assert (values[lookback] != 0.0).all()


def test_warmup_is_the_longest_lookback():
    assert warmup(DEFAULT_FEATURES) == 120
    assert warmup(("reversal_5", "range_20")) == 20
    assert warmup(()) == 0


def test_formulas_agree_with_pandas_rolling_windows(make_bars):
    bars = make_bars(300)
    r = pd.DataFrame(np.log(bars.close)).diff()
    sd20 = (r * r).rolling(20).mean() ** 0.5 + 1e-4
    sd60 = (r * r).rolling(60).mean() ** 0.5 + 1e-4
    log_volume = np.log(pd.DataFrame(bars.volume))
    mean, sd = log_volume.rolling(20).mean(), log_volume.rolling(20).std(ddof=0)
    highest = pd.DataFrame(bars.high).rolling(20).max()
    lowest = pd.DataFrame(bars.low).rolling(20).min()
    expected = [
        r.rolling(60).sum() / sd60 / 60**0.5,
        r.rolling(5).sum() / sd20 / 5**0.5,
        np.log(sd20 / 0.015) / 0.45,
        r.rolling(120).sum() / sd60 / 120**0.5,
        r / sd20,
        (log_volume - mean) / (sd + 1e-4),
        2 * (pd.DataFrame(bars.close) - lowest) / (highest - lowest) - 1,
    ]
    features = compute_features(bars, OHLCV_FEATURES)
    for i, frame in enumerate(expected):
        values = np.nan_to_num(np.clip(frame.to_numpy(), -3, 3))
        np.testing.assert_allclose(features[120:, :, i], values[120:], atol=2e-5)


@pytest.mark.parametrize("name", OHLCV_FEATURES)
def test_features_do_not_depend_on_the_level_of_prices(make_bars, name):
    bars = make_bars(200)
    names = ("open", "high", "low", "close", "raw_close")
    scaled = replace(bars, **{n: getattr(bars, n) * 8.0 for n in names}, volume=bars.volume / 8.0)
    np.testing.assert_allclose(by_name(bars, name), by_name(scaled, name), atol=1e-5)


@pytest.mark.parametrize("name", OHLCV_FEATURES)
def test_a_value_does_not_depend_on_where_the_data_begins(make_bars, name):
    bars = make_bars(300)
    late = by_name(bars.window(100, 300), name)
    start = default_registry().get(name).lookback
    np.testing.assert_array_equal(by_name(bars, name)[100 + start :], late[start:])


def test_a_flat_market_gives_finite_values():
    flat = np.full((200, 2), 10.0)
    dates = pd.bdate_range("2020-01-01", periods=200)
    bars = Bars(dates, ("A", "B"), flat, flat, flat, flat, np.zeros((200, 2)))
    features = compute_features(bars, OHLCV_FEATURES)
    assert np.isfinite(features).all()
    assert (features[..., OHLCV_FEATURES.index("range_20")] == 0.0).all()
    assert (features[..., OHLCV_FEATURES.index("volume_20")] == 0.0).all()


def test_an_asset_listed_late_is_zero_until_its_own_lookback():
    bars = load_sample("us4")
    first = int(bars.tradable[:, 1].argmax())
    features = compute_features(bars, OHLCV_FEATURES)
    assert (features[:first, 1] == 0.0).all()
    for i, name in enumerate(OHLCV_FEATURES):
        lookback = default_registry().get(name).lookback
        assert (features[:first, 0, i][200:] != 0.0).mean() > 0.9
        assert features[first + lookback - 1, 1, i] == 0.0
        assert features[first + lookback, 1, i] != 0.0


def test_a_missing_bar_is_zero_itself_and_does_not_blind_what_follows(make_bars):
    bars, gap = make_bars(300), 200
    tradable = np.array(bars.tradable)
    tradable[gap, 1] = False
    names = ("open", "high", "low", "close", "volume")
    gapped = replace(
        bars, **{n: np.where(tradable, getattr(bars, n), np.nan) for n in names}, tradable=tradable
    )
    features, whole = compute_features(gapped), compute_features(bars)
    assert (features[gap, 1] == 0.0).all()
    assert (features[gap + 1 :, 1] != 0.0).all()
    np.testing.assert_array_equal(features[:, 0], whole[:, 0])
    trend = DEFAULT_FEATURES.index("trend_60")
    np.testing.assert_allclose(features[gap + 1, 1, trend], whole[gap + 1, 1, trend], rtol=0.2)


def test_close_only_bars_have_the_default_features_and_refuse_the_others(make_bars):
    bars = replace(make_bars(200), open=None, high=None, low=None, volume=None)
    assert compute_features(bars).shape == (200, 3, 5)
    with pytest.raises(DataError, match="volume_20 needs volume"):
        compute_features(bars, ("volume_20",))
    with pytest.raises(DataError, match="range_20 needs high and low"):
        compute_features(bars, ("range_20",))


def test_fewer_bars_than_a_lookback_give_zeros(make_bars):
    assert (compute_features(make_bars(60, split_at=5))[..., 3] == 0.0).all()


def test_a_registry_takes_new_features_and_refuses_taken_names(make_bars):
    registry = default_registry()
    level = Feature("level", 0, "level", "log close", lambda bars: np.log(bars.close))
    registry.register(level)
    assert registry.names()[-1] == "level"
    assert compute_features(make_bars(), ("level",), registry).shape == (200, 3, 1)
    assert "level" not in default_registry().names()
    with pytest.raises(DataError, match="name must be new; got level"):
        registry.register(level)
    with pytest.raises(DataError, match=r"must be one of trend_60, .*; got trend_61"):
        registry.get("trend_61")
    with pytest.raises(DataError, match="lookback must be zero or more"):
        FeatureRegistry([replace(level, lookback=-1)])


@pytest.mark.parametrize("days", [1, 2, 20, 60, 61, 200])
@pytest.mark.parametrize("combine", [np.add, np.maximum])
def test_windows_done_in_blocks_equal_windows_done_at_once(monkeypatch, days, combine):
    values = np.random.default_rng(0).standard_normal((61, 7))
    values[10, 3] = np.nan
    expected = np.full_like(values, np.nan)
    for t in range(days - 1, 61):
        expected[t] = combine.reduce(values[t - days + 1 : t + 1], axis=0)
    for cells in (1, 7 * 9, 10**6):
        monkeypatch.setattr(features_module, "_CELLS_IN_CACHE", cells)
        found = features_module._rolling(combine, values, days)
        assert found.tobytes() == expected.tobytes()


def test_a_bar_without_trade_repeats_the_volume_before_it(make_bars):
    bars, halt = make_bars(200), 120
    volume = np.array(bars.volume)
    volume[halt, 1] = 0.0
    values = by_name(replace(bars, volume=volume), "volume_20")
    repeated = np.array(bars.volume)
    repeated[halt, 1] = repeated[halt - 1, 1]
    np.testing.assert_array_equal(values, by_name(replace(bars, volume=repeated), "volume_20"))
    gapped = np.where(np.arange(200)[:, None] == halt, np.nan, volume)
    tradable = np.array(bars.tradable)
    tradable[halt] = False
    values = by_name(replace(bars, volume=gapped, tradable=tradable), "volume_20")
    assert (values[halt] == 0.0).all()
    assert (values[halt + 1 :] != 0.0).all()


def test_what_a_users_function_raises_is_one_sentence(make_bars):
    def fails(bars):
        raise KeyError("sector")

    registry = FeatureRegistry([Feature("bad", 0, "bad", "none", fails)])
    with pytest.raises(DataError, match="feature bad must return numbers for these bars; got Key"):
        compute_features(make_bars(), ("bad",), registry)


@pytest.mark.parametrize(
    ("compute", "sentence"),
    [
        (lambda bars: bars.close[1:], r"got shape \(199, 3\)"),
        (lambda bars: bars.close / 0.0, "got an infinite value"),
    ],
)
def test_a_feature_that_returns_nonsense_is_refused(make_bars, compute, sentence):
    registry = FeatureRegistry([Feature("bad", 0, "bad", "none", compute)])
    with pytest.raises(DataError, match=sentence), np.errstate(divide="ignore"):
        compute_features(make_bars(), ("bad",), registry)
