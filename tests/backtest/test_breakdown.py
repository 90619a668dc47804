"""Years, regimes, and measures against a benchmark."""

import numpy as np
import pandas as pd
import pytest

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest
from trading_rlhf.backtest.breakdown import hold_equity, volatility_regimes
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars

FREE = CostModel(commission_bps=0.0, half_spread_bps=0.0, slippage_bps=0.0)


@pytest.fixture(scope="module")
def result():
    bars = random_bars(40, n_bars=700)
    generator = np.random.default_rng(40)
    targets = generator.uniform(-0.2, 0.5, (3, *bars.shape))
    targets[generator.random(targets.shape) < 0.5] = np.nan
    return run_backtest(bars, targets)


def test_the_further_measures_by_hand(result):
    table = result.full_measures()
    pd.testing.assert_frame_equal(table[result.measures.columns], result.measures)
    bars = result.conditions.bars
    held = (bars.close / bars.close[0]).mean(1)
    market = held[1:] / held[:-1] - 1
    for row in range(3):
        equity, found = result.equity[row], table.iloc[row]
        returns = equity[1:] / equity[:-1] - 1
        beta = np.cov(returns, market)[0, 1] / market.var(ddof=1)
        assert found["beta"] == pytest.approx(beta, rel=1e-9)
        alpha = (returns.mean() - beta * market.mean()) * 252
        assert found["alpha"] == pytest.approx(alpha, rel=1e-9)
        # 5% of 699 bars are 34.95.
        worst = np.sort(returns)
        tail = -(worst[:34].sum() + 0.95 * worst[34]) / 34.95
        assert found["cvar"] == pytest.approx(tail, rel=1e-9)
        annual = result.measures["annual_return"][row]
        assert found["calmar"] == pytest.approx(annual / result.measures["max_drawdown"][row])
        below = equity < np.maximum.accumulate(equity)
        runs = "".join("x" if b else " " for b in below).split()
        assert found["drawdown_length"] == max(len(run) for run in runs)


def test_a_benchmark_may_be_equity_or_returns(result):
    curve = result.equity[1]
    given = result.full_measures(curve * 1e6)
    assert given["beta"][1] == pytest.approx(1.0)
    assert given["alpha"][1] == pytest.approx(0.0, abs=1e-12)
    same = result.full_measures((curve[1:] / curve[:-1] - 1).tolist())
    pd.testing.assert_frame_equal(given, same, rtol=1e-12)


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        (np.ones(698), "a benchmark must be equity at 700 closes or 699 returns; got shape (698,)"),
        (np.zeros(700), "a benchmark must be finite, and positive where it is equity; got 0.0"),
        (
            np.full(699, np.nan),
            "a benchmark must be finite, and positive where it is equity",
        ),
        ("SPY", "a benchmark must be an array of numbers; got"),
    ],
)
def test_a_benchmark_that_does_not_fit_is_one_sentence(result, benchmark, message):
    with pytest.raises(AccountingError) as caught:
        result.full_measures(benchmark)
    assert str(caught.value).startswith(message)


def test_equal_weights_are_held_from_listing_to_delisting():
    close = np.full((20, 3), 10.0)
    close[:, 0] = np.linspace(10.0, 29.0, 20)
    close[:4, 1] = np.nan
    close[4:, 1] = np.linspace(5.0, 10.0, 16)
    close[6:, 2] = np.nan
    close[5, 2] = 12.0
    dates = pd.bdate_range("2001-01-01", periods=20)
    bars = Bars(dates, list("ABC"), None, None, None, close, None, tradable=np.isfinite(close))
    result = run_backtest(bars, np.zeros(bars.shape), CostModel(delisting_haircut=0.5))
    curve = hold_equity(result.conditions)
    assert curve[0] == 1.0
    assert curve[4] == pytest.approx((1.4 + 1.0 + 1.0) / 3)
    # Ten bars without a price: the last one was bar 5.
    assert curve[14] == pytest.approx((2.4 + close[14, 1] / 5.0 + 1.2) / 3)
    assert curve[19] == pytest.approx((2.9 + 2.0 + 0.6) / 3)


def test_years_join_to_the_whole(result):
    table = result.by_year()
    assert list(table.loc[0].index) == [2001, 2002, 2003]
    whole = (1.0 + table["total_return"]).groupby("strategy").prod() - 1.0
    np.testing.assert_allclose(whole, result.measures["total_return"], rtol=1e-12)
    sessions = table["bars"].groupby("strategy").sum()
    assert (sessions == 699).all()
    for name in ("turnover", "cost"):
        mean = (table[name] * table["bars"]).groupby("strategy").sum() / 699
        np.testing.assert_allclose(mean, result.measures[name], rtol=1e-12)


def test_a_single_year_is_the_measures():
    bars = random_bars(41, n_bars=200)
    result = run_backtest(bars, np.random.default_rng(1).uniform(0, 0.3, (2, *bars.shape)))
    year = result.by_year().droplevel("year")
    for name in year.columns.intersection(result.measures.columns).drop("exposure"):
        np.testing.assert_allclose(year[name], result.measures[name], rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(year["exposure"] * 199 / 200, result.measures["exposure"])


def test_a_year_of_one_bar_has_no_deviation():
    bars = random_bars(42, n_bars=262)
    table = run_backtest(bars, np.full(bars.shape, 0.2)).by_year()
    last = table.loc[(0, 2002)]
    assert last["bars"] == 1
    assert np.isnan([last["volatility"], last["sharpe"]]).all()
    assert np.isfinite(last["total_return"])


def test_labels_choose_their_bars(result):
    labels = np.where(np.arange(700) % 3 == 0, "fizz", "rest")
    table = result.by_regime(labels)
    returns = result.equity[:, 1:] / result.equity[:, :-1] - 1
    for row in range(3):
        chosen = returns[row][labels[1:] == "fizz"]
        found = table.loc[(row, "fizz")]
        assert found["bars"] == len(chosen) == 233
        assert found["total_return"] == pytest.approx(np.prod(1 + chosen) - 1)
        assert found["sharpe"] == pytest.approx(chosen.mean() / chosen.std(ddof=1) * 252**0.5)
        paid = result.costs[row, 1:][labels[1:] == "fizz"].mean() * 252
        assert found["cost"] == pytest.approx(paid)
    for strange in (labels[1:], ["calm"], np.full(700, np.nan)):
        with pytest.raises(AccountingError, match="labels must name the regime of each of 700"):
            result.by_regime(strange)


def test_regimes_are_known_at_the_close_before():
    returns = np.random.default_rng(3).normal(0, 0.01, 600)
    names = volatility_regimes(returns)
    assert len(names) == 601
    changed = returns.copy()
    changed[399:] *= 30.0
    # Return 399 is that of bar 400: what it tells is known for bar 401.
    other = volatility_regimes(changed)
    assert other[:401] == names[:401]
    assert other[401] == "turbulent" != names[401]


def test_regimes_rank_the_volatility_so_far():
    returns = np.random.default_rng(4).normal(0, 0.01, 400)
    names = volatility_regimes(returns, lookback=5, warm_up=20)
    deviation = [returns[k - 4 : k + 1].std(ddof=1) if k > 3 else np.nan for k in range(400)]
    for bar in range(401):
        so_far = np.array(deviation[4 : max(bar - 1, 4)])
        if len(so_far) < 20:
            assert names[bar] == "unknown"
            continue
        rank = (so_far <= so_far[-1]).mean()
        expected = "calm" if rank <= 1 / 3 else "normal" if rank <= 2 / 3 else "turbulent"
        assert names[bar] == expected, bar


def test_regimes_of_a_backtest_are_those_of_equal_weights(result):
    table = result.by_regime()
    held = hold_equity(result.conditions)
    labels = volatility_regimes(held[1:] / held[:-1] - 1)
    pd.testing.assert_frame_equal(table, result.by_regime(labels))
    assert set(table.loc[0].index) == {"unknown", "calm", "normal", "turbulent"}


def test_contributions_of_assets_by_hand():
    bars = random_bars(43, n_bars=30)
    targets = np.full(bars.shape, np.nan)
    targets[0] = [0.5, 0.0, 0.0]
    table = run_backtest(bars, targets, FREE).by_asset().loc[0]
    shares = 0.5 / bars.close[0, 0]
    assert table["contribution"]["S0"] == pytest.approx(
        shares * (bars.close[-1, 0] - bars.open[1, 0]), rel=1e-12
    )
    assert not table.loc[["S1", "S2"]].to_numpy().any()
    assert table["held"]["S0"] == 1.0
    assert table["contribution"]["interest and fees"] == 0.0
