"""Scores of features: right on planted edges, nothing on noise, and never from before the fill."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Bars,
    Feature,
    check_causal,
    default_registry,
    gbm_market,
    perturb_after,
    planted_market,
)
from trading_rlhf.market.feature_report import forward_returns, score_features


def given(values, name="own"):
    return Feature(name, 0, "own", "own", lambda bars: values)


@pytest.fixture(scope="module")
def planted():
    return planted_market(np.random.default_rng(11), n_bars=1500, n_assets=20)


def test_returns_run_from_the_next_fill_on(make_bars):
    bars = make_bars(30, split_at=5)
    later = forward_returns(bars, 3)
    assert later[10, 1] == bars.open[14, 1] / bars.open[11, 1] - 1.0
    assert np.isnan(later[26:]).all()
    assert np.isfinite(later[:26]).all()
    closes = forward_returns(replace(bars, open=None, high=None, low=None), 3)
    assert closes[10, 1] == bars.close[14, 1] / bars.close[11, 1] - 1.0
    assert np.isnan(forward_returns(bars, 40)).all()


@pytest.mark.parametrize("horizon", [1, 5])
def test_a_return_depends_on_nothing_up_to_the_decision(make_bars, horizon):
    bars, t = make_bars(60, split_at=5), 20
    arrays = {name: np.array(getattr(bars, name)) for name in ("open", "high", "low", "close")}
    for array in arrays.values():
        array[: t + 1] *= 3.0
    other = replace(bars, **arrays)
    np.testing.assert_array_equal(
        forward_returns(bars, horizon)[t:], forward_returns(other, horizon)[t:]
    )


def test_a_bar_that_fills_nothing_earns_nothing(make_bars):
    bars = make_bars(30, split_at=5)
    volume = np.array(bars.volume)
    volume[15, 0] = 0.0
    later = forward_returns(replace(bars, volume=volume), 4)
    assert np.isnan(later[[14, 10], 0]).all()
    assert np.isfinite(later[[13, 15], 0]).all()


def test_the_coefficient_across_assets_is_spearmans(planted):
    values = planted.features[..., 0].astype(float)
    score = score_features(planted.bars, [given(values)], [5]).scores[0]
    later = forward_returns(planted.bars, 5)
    for t in (0, 700, 1400):
        expected = spearmanr(values[t], later[t]).statistic
        assert score.by_date.iloc[t] == pytest.approx(expected, abs=1e-12)
    assert score.n_dates == 1500 - 6
    assert score.ic == pytest.approx(score.by_date.mean())


def test_the_coefficient_over_time_is_spearmans():
    bars = gbm_market(np.random.default_rng(1), 400, 1)
    values = np.random.default_rng(2).standard_normal((400, 1)).round(1)
    report = score_features(bars, [given(values)], [1])
    expected = spearmanr(values[:-2, 0], forward_returns(bars, 1)[:-2, 0]).statistic
    assert not report.across_assets
    assert report.scores[0].ic == pytest.approx(expected, abs=1e-12)


def test_a_planted_edge_is_found_and_noise_is_not(planted):
    momentum, noise = (given(planted.features[..., i].astype(float), str(i)) for i in (0, 3))
    edge, nothing = score_features(planted.bars, [momentum, noise], [5]).scores
    assert edge.t_statistic > 8.0
    assert edge.spread > 6.0 * edge.spread_error
    assert np.diff(edge.quantile_returns).min() > 0.0
    assert edge.hit_share > 0.6
    assert abs(nothing.t_statistic) < 3.0
    assert abs(nothing.spread) < 3.0 * nothing.spread_error


def test_a_feature_that_tells_the_return_scores_one(planted):
    later = np.nan_to_num(forward_returns(planted.bars, 2))
    score = score_features(planted.bars, [given(later)], [2]).scores[0]
    assert score.ic == pytest.approx(1.0)
    assert score.hit_share == 1.0


def test_on_noise_t_is_standard_normal_even_where_returns_overlap():
    bars = gbm_market(np.random.default_rng(5), 1500, 12)
    generator = np.random.default_rng(6)
    # Slow features: dates next to each other have almost the same ranks.
    slow = [
        pd.DataFrame(generator.standard_normal(bars.shape)).rolling(20).mean().to_numpy()
        for _ in range(40)
    ]
    scores = score_features(bars, [given(values) for values in slow], [20]).scores
    assert 0.7 < np.std([score.t_statistic for score in scores]) < 1.5
    assert 0.7 < np.std([score.spread / score.spread_error for score in scores]) < 1.5


def test_quantiles_split_the_assets_of_each_date(planted):
    values = planted.features[..., 3].astype(float)
    report = score_features(planted.bars, [given(values)], [1])
    later = forward_returns(planted.bars, 1)[:-2]
    order = values[:-2].argsort(axis=1)
    expected = [np.take_along_axis(later, order[:, 4 * k : 4 * k + 4], 1).mean() for k in range(5)]
    assert report.n_quantiles == 5
    assert report.scores[0].quantile_returns == pytest.approx(expected, abs=1e-12)


def test_few_assets_get_terciles_and_very_few_are_ranked_over_time():
    features = [default_registry().get("return_1")]
    for n_assets, across, n_quantiles in ((4, False, 5), (6, True, 3), (15, True, 5)):
        bars = gbm_market(np.random.default_rng(0), 200, n_assets)
        report = score_features(bars, features, [1])
        assert (report.across_assets, report.n_quantiles) == (across, n_quantiles)
        assert len(report.scores[0].quantile_returns) == n_quantiles


def test_a_feature_that_the_bars_cannot_give_is_left_out():
    bars = replace(gbm_market(np.random.default_rng(0), 200, 5), volume=None)
    features = [default_registry().get(name) for name in ("return_1", "volume_20")]
    report = score_features(bars, features, [1])
    assert report.left_out == ("volume_20",)
    assert [score.feature for score in report.scores] == ["return_1"]


def test_what_cannot_be_scored_is_refused():
    bars = gbm_market(np.random.default_rng(0), 60, 5)
    features = [default_registry().get("return_1")]
    for horizons in ([], [0], [5, -1]):
        with pytest.raises(DataError, match="a horizon must be one bar or more"):
            score_features(bars, features, horizons)
    with pytest.raises(DataError, match="scoring return_1 over 20 bars takes 40 dates; got 19"):
        score_features(bars, features, [20])
    with pytest.raises(DataError, match="takes 30 dates; got 0"):
        score_features(bars, [given(np.ones(bars.shape))], [1])


def test_the_scored_features_are_causal_and_their_outcomes_are_not():
    bars = gbm_market(np.random.default_rng(0), 200, 5)
    other = perturb_after(bars, 150, np.random.default_rng(0))
    assert isinstance(bars, Bars)
    check_causal(default_registry().get("return_1"), bars, np.random.default_rng(0))
    later, changed = forward_returns(bars, 5), forward_returns(other, 5)
    np.testing.assert_array_equal(later[:145], changed[:145])
    assert (later[146:150] != changed[146:150]).all()
