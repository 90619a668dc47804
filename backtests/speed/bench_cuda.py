"""The backtest on a GPU: equal to the reference first, then how fast.

python -m backtests.speed.bench_cuda [--json]

4,096 and 65,536 strategies of 20 assets over 2,520 bars with all measures, in double and single
precision; beside it a copy of as much memory, as the limit of any program that reads the targets.
"""

import argparse
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backtests.speed.timing import machine_facts, measure_in_turn, short
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest
from trading_rlhf.backtest.fused import market_table
from trading_rlhf.backtest.scan import has_triton, run_scan, scan_sums
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.market import Bars, gbm_market

__all__ = ["Size", "check", "main", "speed"]

MOST_APART = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Distance from the reference, of one and the measure together."""

_CHECKED = 64
_AT_ONCE = 4096
_GROSS = 0.9


@dataclass(frozen=True)
class Size:
    """How much is run: strategies of each case, bars and assets."""

    strategies: tuple[int, ...] = (4096, 65_536)
    bars: int = 2520
    assets: int = 20


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Check, measure, print and return the figures."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    missing = _missing()
    report: dict[str, Any] = {"benchmark": "backtest on a GPU", "cuda": None}
    if missing:
        report["missing"] = missing
    else:
        size = Size()
        report["machine"] = machine_facts("cuda")
        report["apart"] = check(size, "cuda")
        report["cuda"] = speed(size, "cuda")
    print(json.dumps(report, indent=2) if given.json else missing or _text(report))
    return report


def _missing() -> str:
    if not torch.cuda.is_available():
        return "This machine has no CUDA GPU, so there is nothing to measure."
    if not has_triton():
        return "Triton is not installed, so there is nothing to measure."
    return ""


def check(size: Size, device: str) -> dict[str, float]:
    """Largest distance from the reference over all measures, by precision.

    Raises:
        SystemExit: it is too large.
    """
    bars, table = _market(size)
    targets = _targets(size, min(_CHECKED, *size.strategies), torch.float64, device)
    expected = run_backtest(bars, targets.cpu().numpy()).measures
    apart = {}
    for dtype, most in MOST_APART.items():
        found = run_scan(table, targets.to(dtype), bars.bars_per_year).measures
        name = _name(dtype)
        apart[name] = max(
            float(np.abs((found[k] - v) / (1.0 + np.abs(v))).max()) for k, v in expected.items()
        )
        if not apart[name] <= most:
            raise SystemExit(f"{name} is {apart[name]:.1e} away from the reference, over {most}.")
    return apart


def speed(size: Size, device: str) -> list[dict[str, Any]]:
    """Time every case beside a copy of its targets."""
    _, table = _market(size)
    cases = []
    for dtype in MOST_APART:
        for strategies in size.strategies:
            targets = _targets(size, strategies, dtype, device)
            cases.append(_case(table, targets))
            del targets
    return cases


def _case(table: Any, targets: torch.Tensor) -> dict[str, Any]:
    # A part is copied so that two of the largest targets need not fit into memory.
    part = targets[: min(len(targets), _AT_ONCE)]
    copied = torch.empty_like(part)

    def finish() -> None:
        if targets.device.type == "cuda":
            torch.cuda.synchronize()

    def copy() -> None:
        copied.copy_(part)
        finish()

    def scan() -> None:
        scan_sums(table, targets)
        finish()

    size = targets.element_size()
    timings = measure_in_turn(
        {"scan": (scan, targets.numel()), "copy": (copy, 2.0 * part.numel() * size)}
    )
    reads, limit = timings["scan"].rate * size, timings["copy"].rate
    return {
        "strategies": len(targets),
        "precision": _name(targets.dtype),
        "asset_bars": timings["scan"].as_dict(),
        "passes": scan_sums(table, targets).ran,
        "copy_bytes_per_second": limit,
        "share_of_bandwidth": reads / limit,
    }


def _market(size: Size) -> tuple[Bars, Any]:
    bars: Bars = gbm_market(np.random.default_rng(0), size.bars, size.assets)
    costs = CostModel()
    market = MarketTensors.for_costs(bars, np.zeros((*bars.shape, 1), dtype=np.float32), costs)
    return bars, market_table(market, costs)


def _targets(size: Size, strategies: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Random weights, long and short, 0.9 of equity together; another one every bar."""
    generator = torch.Generator(device).manual_seed(1)
    targets = torch.empty(strategies, size.bars, size.assets, dtype=dtype, device=device)
    for part in targets.split(_AT_ONCE):
        part.normal_(generator=generator)
        part *= _GROSS / part.abs().sum(-1, keepdim=True)
    return targets


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _text(report: dict[str, Any]) -> str:
    lines = [report["machine"]["device"]]
    lines += [f"{name}: {apart:.1e} from the reference" for name, apart in report["apart"].items()]
    for case in report["cuda"]:
        rate = case["asset_bars"]
        spread = f"{short(rate['per_second_min'])} - {short(rate['per_second_max'])}"
        lines.append(
            f"{case['strategies']} strategies in {case['precision']}: "
            f"{short(rate['per_second'])} asset-bars/s ({spread}), "
            f"{case['share_of_bandwidth']:.0%} of the bandwidth of a copy"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
