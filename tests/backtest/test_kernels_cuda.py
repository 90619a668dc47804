"""The GPU backtest: interpreted on the processor, compiled for a GPU, and joined from chunks."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.backtest.market_draws import draw
from trading_rlhf.accounting import CostModel, ImpactModel
from trading_rlhf.backtest import scan
from trading_rlhf.backtest.fused import market_table
from trading_rlhf.errors import AccountingError

ROOT = Path(__file__).parents[2]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | environment,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_the_interpreted_kernel_is_the_reference():
    checks = "tests/backtest/scan_checks.py"
    run = python("-m", "pytest", "-q", "-p", "no:cacheprovider", checks, TRITON_INTERPRET="1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "passed" in run.stdout
    assert "skipped" not in run.stdout


@pytest.mark.parametrize("money", ["fp64", "fp32"])
def test_the_kernel_compiles_for_an_h100(money, tmp_path, monkeypatch):
    from triton import compile as build
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from trading_rlhf.backtest.kernels_cuda import SUMS, _scan

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    whole = {"n_rows", "n_chunks", "n_bars", "chunk", "by_row", "by_chunk"}
    fixed = {
        "ASSETS": 20, "AT_FILL": money == "fp32", "KEEP": True, "WIDTH": len(SUMS), "BLOCK": 16,
        "COLUMNS": 32,
    }  # fmt: skip
    types = dict.fromkeys(_scan.arg_names, f"*{money}") | dict.fromkeys(whole, "i32")
    types |= {"sums": "*fp64", "equities": "*fp64", "rows": "*i64", "begins": "*i32"}
    types |= dict.fromkeys(fixed, "constexpr")
    built = build(
        ASTSource(_scan, types, fixed), target=GPUTarget("cuda", 90, 32),
        options={"num_warps": 4, "enable_fp_fusion": True},
    )  # fmt: skip
    assert len(built.asm["cubin"]) > 1000


def test_triton_is_loaded_by_the_kernel_alone_and_may_be_missing():
    run = python("-c", """
import sys
import trading_rlhf.backtest, trading_rlhf.backtest.scan as scan
assert "triton" not in sys.modules
sys.modules["triton"] = None
from trading_rlhf.backtest.kernels_cuda import interpreted
assert not interpreted()
""")  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_without_triton_or_a_gpu_one_sentence_says_so(monkeypatch):
    case = draw(2)
    table, targets = market_table(case.market, case.costs), torch.tensor(case.targets)
    with pytest.raises(AccountingError, match="targets must be on a GPU"):
        scan.run_scan(table, targets, 252.0)
    monkeypatch.setattr(scan, "find_spec", lambda name: None)
    assert not scan.supports(CostModel(), "cuda")
    with pytest.raises(AccountingError, match="needs triton"):
        scan.run_scan(table, targets, 252.0)


def test_rules_in_usd_cash_or_time_are_left_to_the_reference(monkeypatch):
    monkeypatch.setattr(scan, "find_spec", lambda name: name)
    assert scan.supports(CostModel(), "cuda:0")
    assert not scan.supports(CostModel(), "cpu")
    assert not scan.supports(CostModel(), "cuda", delay=1)
    for costs in (
        CostModel(cash_account=True), CostModel(whole_shares=True), CostModel(impact=ImpactModel())
    ):  # fmt: skip
        assert not scan.supports(costs, "cuda")


def begins(fills: np.ndarray, rate: float = 1e-3, chunk: int = 16, **options) -> list[int]:
    """Where chunks begin on a market of one cost rate and 1% nights."""
    table = market_table((case := draw(2)).market, case.costs)
    assets = np.zeros((len(fills), 8, fills.shape[1]))
    assets[:, 0], assets[:, 2], assets[:, 3], assets[:, 5] = fills, 1.0, rate, 0.01
    sessions = np.zeros((len(fills), 3))
    table = table._replace(assets=assets, sessions=sessions)
    return scan.warm_starts(table, 1.0, chunk, 1e-12, **options).tolist()


def test_a_chunk_begins_where_errors_are_forgotten():
    fills = np.ones((50, 2))
    # 0.011 a session: six below 1e-10, seven below 1e-12. At the fill only costs: four.
    assert begins(fills) == [0, 9, 25, 41]
    assert begins(fills, at_fill=True) == [0, 11, 27, 43]
    # Costs that swallow most of the equity: not more than a chunk, and never before the first bar.
    assert begins(fills, rate=0.9) == [0, 0, 16, 32]


def test_only_sessions_in_which_every_asset_fills_forget():
    fills = np.ones((50, 2))
    fills[8:12, 1] = 0.0
    assert begins(fills) == [0, 5, 25, 41]
    # What was never listed before is not held by anyone.
    fills[:12, 1] = 0.0
    assert begins(fills) == [0, 9, 25, 41]


@pytest.mark.parametrize("seed", range(4))
def test_chunks_put_together_are_one_run(seed):
    generator = np.random.default_rng(seed)
    growth = np.exp(generator.normal(0.0, 0.05, (5, 30)))
    growth[1, 7], growth[1, 8:], growth[2, 29], growth[3, 10] = 0.0, 1.0, 0.0, 0.0
    growth[3, 11:] = 1.0
    cuts = [0, 10, 20, 30] if seed % 2 else [0, 7, 14, 21, 28, 30]
    whole = parts(growth, [0, 30])
    expected = scan.merge_chunks(whole)
    found = scan.merge_chunks(parts(growth, cuts))
    for name, column in expected.items():
        torch.testing.assert_close(found[name], column, rtol=1e-12, atol=1e-14, msg=name)
    curve = np.cumprod(np.c_[np.ones(5), growth], 1)
    back = torch.tensor(growth - 1.0)
    torch.testing.assert_close(found["mean"], back.mean(1))
    torch.testing.assert_close(found["spread"], back.var(1) * 29)
    fallen = (1.0 - curve / np.maximum.accumulate(curve, 1)).max(1)
    torch.testing.assert_close(found["drawdown"], torch.tensor(fallen))


def parts(growth: np.ndarray, cuts: list[int]) -> dict[str, torch.Tensor]:
    """What the kernel knows of each chunk of growth; a dead account's chunk starts afresh."""
    pieces = []
    for first, last in pairwise(cuts):
        piece = growth[:, first:last]
        curve = np.cumprod(np.c_[np.ones(len(piece)), piece], 1)
        back, peak = piece - 1.0, np.maximum.accumulate(curve, 1)
        after = np.c_[np.ones((len(piece), 1)), curve[:, 1:-1]] > 0
        pieces.append({
            "equity": curve[:, -1], "peak": curve.max(1), "low": curve.min(1),
            "drawdown": (1.0 - curve / peak).max(1), "bars": np.full(len(piece), last - first),
            "mean": back.mean(1), "spread": back.var(1) * (last - first),
            "downside": (np.minimum(back, 0.0) ** 2).sum(1),
            "turnover": after.sum(1), "paid": after.sum(1) * 0.1, "exposure": after.sum(1) * 0.5,
            "hits": (back > 0).sum(1), "exposed": after.sum(1), "largest": after.any(1) * 0.9,
        })  # fmt: skip
    return {
        name: torch.tensor(np.stack([piece[name] for piece in pieces], 1), dtype=torch.float64)
        for name in pieces[0]
    }
