"""The GPU backtest against the reference, on the processor: run by ``test_kernels_cuda``.

Triton decides when it is loaded whether kernels are interpreted, so this has a process of its own.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backtests.speed import bench_cuda
from tests.backtest.market_draws import Draw, draw
from trading_rlhf.backtest import run_backtest
from trading_rlhf.backtest.fused import market_table
from trading_rlhf.backtest.scan import run_scan, scan_sums
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import gbm_market


def compare(
    case: Draw, size_at="close", max_gross: float | None = 0.98, chunk=16, dtype=torch.float64,
    most=1e-10,
) -> None:  # fmt: skip
    """Assert that equity and every measure equal the reference."""
    limit = 1e9 if max_gross is None else max_gross
    expected = run_backtest(
        case.bars, case.targets, case.costs, size_at, max_gross=limit, market=case.market
    )
    at_fill = size_at == "fill"
    found = run_scan(
        market_table(case.market, case.costs, at_fill=at_fill),
        torch.tensor(case.targets, dtype=dtype),
        case.bars.bars_per_year,
        at_fill=at_fill, max_gross=max_gross, chunk=chunk, keep_equity=True,
    )  # fmt: skip
    np.testing.assert_allclose(found.equity, expected.equity, rtol=most, atol=most)
    for name, column in expected.measures.items():
        np.testing.assert_allclose(found.measures[name], column, rtol=most, atol=most, err_msg=name)


def passes(case: Draw, chunk=8) -> tuple[int, ...]:
    """Assert that equity equals the reference; return how many strategies each pass ran."""
    expected = run_backtest(case.bars, case.targets, case.costs, market=case.market)
    table, targets = market_table(case.market, case.costs), torch.tensor(case.targets)
    found = scan_sums(table, targets, chunk=chunk, keep_equity=True)
    np.testing.assert_allclose(found.equity, expected.equity, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.sums["equity"], expected.equity[:, -1], rtol=1e-10, atol=1e-10)
    return found.ran


def calm(n_bars: int, n_assets: int, targets: np.ndarray) -> Draw:
    """A market without holes, with costs of a draw."""
    bars = gbm_market(np.random.default_rng(2), n_bars, n_assets)
    costs = draw(0).costs.for_asset(0)
    empty = np.zeros((*bars.shape, 1), dtype=np.float32)
    return Draw(bars, MarketTensors.for_costs(bars, empty, costs), costs, targets)


@pytest.mark.parametrize(
    ("seed", "wild", "size_at", "max_gross", "chunk"),
    [
        (2, False, "close", 0.98, 4),
        (3, True, "close", 0.98, 2),
        (1, True, "close", None, 8),
        (2, False, "fill", 0.98, 5),
        (11, True, "fill", None, 8),
    ],
)
def test_the_scan_is_the_reference(seed, wild, size_at, max_gross, chunk):
    case = draw(seed, wild=wild, has_open=seed % 5 > 0)
    compare(replace(case, targets=case.targets[:14]), size_at, max_gross, chunk)


def test_several_blocks_are_the_reference():
    case = draw(2)
    assert len(case.targets) > 16
    compare(case)


def test_single_precision_is_near_the_reference():
    case = draw(2)
    compare(case, dtype=torch.float32, most=2e-6, chunk=8)


def weights(n_bars: int, n_assets: int, gross: float) -> np.ndarray:
    """Random weights ``[2, T, N]``, long and short, of one gross exposure."""
    drawn = np.random.default_rng(0).normal(size=(2, n_bars, n_assets))
    return drawn * gross / np.abs(drawn).sum(-1, keepdims=True)


def test_what_is_rebalanced_every_bar_runs_once():
    assert passes(calm(24, 3, weights(24, 3, 0.98))) == (2,)


def test_a_limit_that_binds_remembers_what_was_held():
    assert passes(calm(24, 3, weights(24, 3, 1.5))) != (2,)


def test_positions_held_since_an_earlier_chunk_are_found_by_further_passes():
    targets = weights(24, 3, 0.5)
    targets[1, 4:] = np.nan
    assert passes(calm(24, 3, targets)) == (2, 1, 1)


def test_a_chunk_after_missing_bars_begins_before_them():
    case = calm(30, 3, weights(30, 3, 0.7))
    fillable = case.market.fillable.clone()
    fillable[8:13, 1] = False
    market = replace(case.market, fillable=fillable)
    assert passes(replace(case, market=market), chunk=14) == (2,)


@pytest.mark.parametrize("size_at", ["close", "fill"])
def test_orders_that_never_fill_are_no_turnover(size_at):
    targets = np.full((2, 24, 2), 0.4)
    targets[1, :, 0] = 0.0
    case = calm(24, 2, targets)
    fillable = case.market.fillable.clone()
    fillable[1:, 1] = False
    case = replace(case, market=replace(case.market, fillable=fillable))
    compare(case, size_at, chunk=8)
    table = market_table(case.market, case.costs, at_fill=size_at == "fill")
    found = scan_sums(table, torch.tensor(targets), at_fill=size_at == "fill", chunk=8).sums
    assert found["turnover"][1] == 0.0
    assert found["turnover"][0] > 0.4


def test_ruin_in_one_chunk_ends_the_account_in_all_later_ones():
    targets = np.full((2, 24, 2), 0.4)
    case = calm(24, 2, targets)
    overnight = case.market.overnight.clone()
    overnight[4] = 3.0
    targets[0, 2:4] = -0.45
    case = replace(case, market=replace(case.market, overnight=overnight))
    assert passes(case) == (2,)
    compare(case, chunk=8)
    ends = run_backtest(case.bars, targets, case.costs, market=case.market).equity[:, -1]
    assert ends[0] == 0.0
    assert ends[1] > 1.0


def test_wrong_targets_are_refused():
    table = market_table((case := draw(2)).market, case.costs)
    for targets in (torch.zeros(2, 3, 4), torch.tensor(case.targets).int()):
        with pytest.raises(AccountingError, match="targets must be float64 or float32"):
            run_scan(table, targets, 252.0)
    with pytest.raises(AccountingError, match="a chunk must have bars"):
        run_scan(table, torch.tensor(case.targets), 252.0, chunk=0)


def test_the_benchmark_checks_and_times_what_it_says():
    size = bench_cuda.Size((2,), 5, 2)
    assert set(bench_cuda.check(size, "cpu")) == {"float64", "float32"}
    cases = bench_cuda.speed(size, "cpu")
    assert [case["precision"] for case in cases] == ["float64", "float32"]
    for case in cases:
        assert case["passes"] == (2,)
        rate = case["asset_bars"]
        assert rate["per_second"] * rate["seconds_median"] == pytest.approx(2 * 5 * 2)
