"""The compiled backtest against the reference, bar by bar and measure by measure."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backtest.market_draws import Draw, draw
from trading_rlhf.accounting import CostModel, ImpactModel
from trading_rlhf.backtest import BacktestResult, run_backtest
from trading_rlhf.backtest.fused import FusedPaths, fuses, market_table, run_fused

LIMITS = [None, 0.98]


def reference(case: Draw, size_at: str, max_gross: float | None) -> BacktestResult:
    limit = 1e9 if max_gross is None else max_gross
    return run_backtest(
        case.bars, case.targets, case.costs, size_at, max_gross=limit, market=case.market,
        engine="reference",
    )  # fmt: skip


def fused(case: Draw, size_at: str, max_gross: float | None, targets=None, **keep) -> FusedPaths:
    at_fill = size_at == "fill"
    return run_fused(
        market_table(case.market, case.costs, at_fill=at_fill),
        case.targets if targets is None else targets,
        case.bars.bars_per_year,
        at_fill=at_fill,
        max_gross=max_gross,
        **({"keep_equity": True, "keep_paths": True} | keep),
    )


@given(
    seed=st.integers(0, 10**6), wild=st.booleans(), size_at=st.sampled_from(["close", "fill"]),
    max_gross=st.sampled_from(LIMITS),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_compiled_backtest_is_the_reference(seed, wild, size_at, max_gross):
    case = draw(seed, wild=wild, has_open=seed % 5 > 0)
    expected, found = reference(case, size_at, max_gross), fused(case, size_at, max_gross)
    for name in ("equity", "weights", "traded", "costs"):
        # Weights of nearly ruined accounts are as large as their rounding errors are.
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-10, err_msg=name
        )
    for name, column in expected.measures.items():
        np.testing.assert_allclose(
            found.measures[name], column, rtol=1e-10, atol=1e-10, err_msg=name
        )


def test_wild_draws_ruin_accounts_and_others_survive():
    equity = np.concatenate([fused(draw(seed, wild=True), "close", 0.98).equity[:, -1]
                             for seed in range(6)])  # fmt: skip
    assert 0.02 < (equity == 0).mean() < 0.8
    assert np.isfinite(equity).all()
    assert (equity >= 0).all()


@pytest.mark.parametrize("size_at", ["close", "fill"])
def test_a_strategy_does_not_depend_on_those_beside_it(size_at):
    case = draw(3)
    case.targets = np.concatenate([case.targets, -0.5 * case.targets])[:50]
    many = fused(case, size_at, 0.98)
    for row in (0, 31, 32, 49):
        alone = fused(case, size_at, 0.98, case.targets[row : row + 1])
        np.testing.assert_array_equal(alone.equity[0], many.equity[row])
        np.testing.assert_array_equal(alone.traded[0], many.traded[row])
        for name, column in many.measures.items():
            assert alone.measures[name][0] == column[row], name


def test_what_is_kept_changes_no_measure():
    case = draw(4)
    everything = fused(case, "close", 0.98)
    measures = fused(case, "close", 0.98, keep_equity=False, keep_paths=False)
    assert measures.equity.size == measures.weights.size == measures.traded.size == 0
    for name, column in everything.measures.items():
        np.testing.assert_array_equal(measures.measures[name], column, err_msg=name)


def test_targets_in_single_precision_are_read_as_they_are():
    case = draw(5)
    single = case.targets.astype(np.float32)
    one, two = (fused(case, "close", 0.98, x) for x in (single, single.astype(np.float64)))
    np.testing.assert_array_equal(one.equity, two.equity)


def test_infinite_targets_show_in_the_largest_gross():
    case = draw(6)
    case.targets[0, 1, 0] = np.inf
    found = fused(case, "close", 0.98).measures["largest_gross"]
    assert np.isinf(found[0])
    assert np.isfinite(found[1:]).all()


def test_rules_in_usd_cash_or_time_are_left_to_the_reference():
    case = draw(1)
    assert fuses(case.market, case.costs)
    assert not fuses(case.market, case.costs, delay=1)
    for costs in (
        CostModel(cash_account=True), CostModel(whole_shares=True), CostModel(impact=ImpactModel())
    ):  # fmt: skip
        assert not fuses(case.market, costs)
    assert not fuses(case.market.__class__(**{
        **case.market.__dict__, "overnight": torch.empty(1, device="meta"),
    }), case.costs)  # fmt: skip
