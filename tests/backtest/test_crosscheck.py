"""vectorbt, an independent engine, comes to the same equity."""

import numpy as np
import pytest

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest, vectorbt_equity
from trading_rlhf.market import Bars, load_sample

COSTS = CostModel(
    commission_bps=10.0,
    half_spread_bps=2.0,
    slippage_bps=3.0,
    borrow_bps_per_year=0.0,
    margin_bps_per_year=0.0,
)

MARKETS = ("us4 2005", "us4 2009", "synthetic", "synthetic, 8 assets")


def market(name: str) -> Bars:
    """Bars of which every asset trades on every day."""
    if name == "synthetic":
        return random_bars(21, n_bars=200, n_assets=5)
    if name == "synthetic, 8 assets":
        return random_bars(22, n_bars=150, n_assets=8)
    us4 = load_sample("us4")
    first = us4.dates.searchsorted(name[-4:])
    return us4.window(first, first + 250)


def weights(seed: int, bars: Bars, short: bool) -> np.ndarray:
    """Targets that need no cash clipping; some days hold, some assets hold."""
    generator = np.random.default_rng(seed)
    raw = generator.uniform(-1.0 if short else 0.0, 1.0, bars.shape)
    target = 0.9 * raw / np.abs(raw).sum(1, keepdims=True)
    target[generator.random(len(target)) < 0.3] = np.nan
    return target


@pytest.fixture(scope="module")
def equities() -> dict[tuple[str, bool, int], tuple[np.ndarray, np.ndarray]]:
    """(ours, vectorbt's) by market, side and seed: importing vectorbt and its compiler is slow."""
    pytest.importorskip("vectorbt", reason="bench extra")
    found = {}
    for name in MARKETS:
        bars = market(name)
        for short in (False, True):
            for seed in range(3):
                target = weights(seed, bars, short)
                ours = run_backtest(bars, target, COSTS, size_at="fill")
                found[name, short, seed] = ours.equity[0], vectorbt_equity(bars, target, COSTS)
    return found


@pytest.mark.parametrize("short", [False, True], ids=["long", "long and short"])
@pytest.mark.parametrize("name", MARKETS)
def test_equity_equals_vectorbts(equities, name, short):
    for seed in range(3):
        ours, theirs = equities[name, short, seed]
        assert ours[0] == theirs[0] == 1.0
        assert abs(ours - 1.0).max() > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


CASH = COSTS.model_copy(
    update={"cash_account": True, "half_spread_bps": (2.0, 9.0, 0.0, 30.0, 5.0)}
)


@pytest.fixture(scope="module")
def clipped() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(ours, vectorbt's, ours without clipping) for targets that spend all cash, costs on top."""
    pytest.importorskip("vectorbt", reason="bench extra")
    bars, found = market("synthetic"), []
    for seed in range(4):
        generator = np.random.default_rng(seed)
        target = generator.dirichlet(np.full(5, 0.5), len(bars.dates))
        target[:, 0] -= (0.4 if seed % 2 else 0.0) * (generator.random(len(target)) < 0.3)
        target[generator.random(len(target)) < 0.3] = np.nan
        levered = CASH.model_copy(update={"cash_account": False})
        found.append(
            (
                run_backtest(bars, target, CASH, size_at="fill").equity[0],
                vectorbt_equity(bars, target, CASH),
                run_backtest(bars, target, levered, size_at="fill").equity[0],
            )
        )
    return found


def test_a_cash_account_clips_buys_as_vectorbt_does(clipped):
    for ours, theirs, unclipped in clipped:
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        assert abs(unclipped / theirs - 1.0).max() > 1e-6


def test_the_comparison_would_show_a_tenth_of_a_basis_point_of_cost(equities):
    bars = market("synthetic")
    dearer = COSTS.model_copy(update={"slippage_bps": 3.1})
    ours = run_backtest(bars, weights(0, bars, False), dearer, size_at="fill").equity[0]
    theirs = equities["synthetic", False, 0][1]
    assert abs(ours / theirs - 1.0).max() > 1e-5
