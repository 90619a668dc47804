"""Nothing after t changes a feature at t, and a feature that looks ahead is caught."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.market import (
    Feature,
    check_causal,
    check_feature,
    compute_features,
    default_registry,
    load_sample,
    perturb_after,
)
from trading_rlhf.market.bars import ARRAY_NAMES
from trading_rlhf.market.causality import check_scale_invariant


def feature_of(compute, lookback=1):
    return Feature("own", lookback, "own", "own", compute)


def shifted(values, by):
    return np.roll(values, by, axis=0)


@pytest.mark.parametrize("name", default_registry().names())
def test_every_registered_feature_is_causal(make_bars, name):
    check_causal(default_registry().get(name), make_bars(300), np.random.default_rng(3), cuts=20)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(t=st.integers(0, 298), seed=st.integers(0, 2**32 - 1))
def test_features_up_to_t_are_the_same_bit_for_bit(make_bars, t, seed):
    bars, names = make_bars(300), default_registry().names()
    other = perturb_after(bars, t, np.random.default_rng(seed))
    before, after = compute_features(bars, names), compute_features(other, names)
    assert before[: t + 1].tobytes() == after[: t + 1].tobytes()


def test_a_user_feature_that_looks_back_passes(make_bars):
    yesterday = feature_of(lambda bars: bars.close / shifted(bars.close, 1) - 1.0)
    # Rolling brings the last bar to the front: a leak in bar 0, which a NaN there removes.
    with pytest.raises(LookAheadError, match="bar 0 of S0 changed"):
        check_causal(yesterday, make_bars(), np.random.default_rng(0))

    def gain(bars):
        values = bars.close / shifted(bars.close, 1) - 1.0
        values[0] = np.nan
        return values

    check_causal(feature_of(gain), make_bars(), np.random.default_rng(0))


@pytest.mark.parametrize(
    "leak",
    [
        lambda bars: shifted(bars.close, -1) / bars.close,
        lambda bars: bars.close / bars.close.mean(axis=0),
        lambda bars: bars.close - bars.close.max(axis=0),
        lambda bars: shifted(bars.split, -1) * np.ones(bars.shape),
        lambda bars: shifted(bars.dividend, -1) + bars.close,
        lambda bars: shifted(bars.volume, -3),
        lambda bars: np.where(shifted(bars.tradable, -1), bars.close, 0.0),
        lambda bars: np.where(np.arange(len(bars.dates))[:, None] % 7 == 0, bars.close[-1], 1.0),
    ],
    ids=["next", "mean", "maximum", "split", "dividend", "volume", "halt", "weekly"],
)
def test_a_feature_that_looks_ahead_is_caught(make_bars, leak):
    with pytest.raises(LookAheadError, match="feature own must depend on no later bar"):
        check_causal(feature_of(leak), make_bars(), np.random.default_rng(0), cuts=30)


def test_bars_too_short_to_tell_are_refused(make_bars):
    with pytest.raises(DataError, match="checking trend_120 takes 122 bars; got 121"):
        check_causal(default_registry().get("trend_120"), make_bars(121), np.random.default_rng(0))


@pytest.mark.parametrize("t", [0, 60, 197, 198, 199])
def test_perturbed_bars_are_equal_up_to_t_and_different_after(make_bars, t):
    bars = make_bars()
    other = perturb_after(bars, t, np.random.default_rng(1))
    for name in ARRAY_NAMES:
        one, two = getattr(bars, name), getattr(other, name)
        assert one[: t + 1].tobytes() == two[: t + 1].tobytes()
        if t < 180:
            assert one[t + 1 :].tobytes() != two[t + 1 :].tobytes()
    if t < 199:
        assert (bars.close[t + 1 :] != other.close[t + 1 :]).all()


@pytest.mark.parametrize("t", [30, 60, 150])
def test_known_at_does_not_see_the_perturbation(make_bars, t):
    bars = make_bars()
    other = perturb_after(bars, t, np.random.default_rng(1))
    for column in range(3):
        one, two = bars.known_at(t, column, 50), other.known_at(t, column, 50)
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(one, name).tobytes() == getattr(two, name).tobytes()


def test_t_must_lie_within_the_bars(make_bars):
    with pytest.raises(DataError, match=r"t must lie in 0\.\.199; got 200"):
        perturb_after(make_bars(), 200, np.random.default_rng(0))


@pytest.mark.parametrize("name", default_registry().names())
def test_every_registered_feature_passes_all_checks_on_real_bars(name):
    bars = load_sample("us4").window(900, 1400)  # an asset lists within
    check_feature(default_registry().get(name), bars, np.random.default_rng(1))


@pytest.mark.parametrize(
    "compute",
    [
        lambda bars: np.log(bars.close),
        lambda bars: bars.close.argsort(axis=1).argsort(axis=1) * 1.0,
        lambda bars: np.log(bars.volume),
        lambda bars: bars.close / bars.raw_close.mean(),
        lambda bars: np.diff(bars.close, axis=0, prepend=np.nan),
    ],
    ids=["level", "rank of levels", "volume", "one level for all", "change in USD"],
)
def test_a_feature_of_levels_is_caught(make_bars, compute):
    with pytest.raises(DataError, match="feature own must not depend on the level of prices; got"):
        check_scale_invariant(feature_of(compute), make_bars(), np.random.default_rng(0))


def test_volume_in_usd_is_no_level(make_bars):
    turnover = feature_of(lambda bars: np.log(bars.close * bars.volume))
    check_feature(turnover, make_bars(), np.random.default_rng(0))


def test_both_faults_are_found_by_the_one_check(make_bars):
    for compute, error in (
        (lambda bars: shifted(bars.close, -1) / bars.close, LookAheadError),
        (lambda bars: bars.close, DataError),
    ):
        with pytest.raises(error):
            check_feature(feature_of(compute), make_bars(), np.random.default_rng(0))
