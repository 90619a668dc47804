"""Asset-bars a second of the backtest, beside vectorbt, backtesting.py and bt in the same run.

python -m backtests.speed.bench_backtest [--json] [--tiny]

One asset-bar is one asset of one strategy in one bar. "full law" has rates per asset, borrow fees,
interest, missing bars, a delisting, costs that drift, and orders sized in shares at the close under
a limit of gross exposure; "vectorbt's rules" are targets of the equity at the fill, one cost rate
and no interest. Both are timed in turn with vectorbt, and every measure is made in both. Before
anything is timed, both must equal the reference, and the second vectorbt's equity.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch

from backtests.speed.backtest_peers import (
    LICENCES,
    backtesting_run,
    bt_run,
    peer_name,
    vectorbt_engines,
    vectorbt_run,
    vectorbt_sizes,
)
from backtests.speed.timing import Timing, machine_facts, measure_in_turn, short
from trading_rlhf.accounting import CostModel, settle
from trading_rlhf.backtest import BacktestResult, backtest_growth, market_table, run_backtest
from trading_rlhf.cli.console import print_error, print_frame, print_line
from trading_rlhf.env import MarketTensors, advance
from trading_rlhf.market import Bars, gbm_market
from trading_rlhf.types import FloatArray

__all__ = ["main"]

Runs: TypeAlias = dict[str, tuple[Callable[[], Any], float]]

N_ASSETS = 20
_FULL, _VECTORBT = "full law", "vectorbt's rules"
_FREE = CostModel(
    commission_bps=10.0, half_spread_bps=0.0, slippage_bps=5.0, borrow_bps_per_year=0.0,
    margin_bps_per_year=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much is run.

    Attributes:
        bars: bars of the market.
        batches: numbers of strategies for the figures.
        paired: numbers of strategies run in turn with vectorbt, and how often.
    """

    bars: int
    batches: tuple[int, ...]
    paired: tuple[tuple[int, int], ...]


_USUAL = Sizes(2520, (64, 512, 4096), ((64, 5), (512, 3)))
_TINY = Sizes(120, (8,), ((2, 2),))


def main(arguments: list[str] | None = None) -> int:
    """Check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help="few bars and strategies: a smoke test")
    given = parser.parse_args(arguments)
    try:
        report = run(_TINY if given.tiny else _USUAL)
    except ArithmeticError as error:
        print_error(f"Error: nothing was timed; {error}")
        return 1
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0


def run(sizes: Sizes) -> dict[str, Any]:
    """Check every path, then time.

    Raises:
        ArithmeticError: a path does not equal the reference, or vectorbt.
    """
    world, plain = make_world(sizes.bars), gbm_market(np.random.default_rng(0), sizes.bars)
    check(world, plain, min(sizes.batches[0], 8))
    cores: dict[str, float] = {}
    timings: dict[str, Timing] = {}
    for n_strategies in sizes.batches:
        targets = make_targets(n_strategies, sizes.bars)
        runs = our_runs(world, plain, targets)
        timings |= measure_in_turn(runs)
        cores |= {name: busy_cores(one) for name, (one, _) in runs.items()}
    ratios: dict[str, Any] = {}
    for n_strategies, repeats in sizes.paired:
        pair = measure_pairs(world, plain, make_targets(n_strategies, sizes.bars), repeats)
        ratios |= ratios_of(pair)
        timings |= pair
    single = measure_in_turn(single_runs(plain))
    return {
        "benchmark": "backtest", "assets": N_ASSETS, "bars": sizes.bars,
        "machine": machine_facts(), "licences": LICENCES,
        "asset_bars": {name: timing.as_dict() for name, timing in timings.items()},
        "cores_busy": cores, "share_of_read_rate": shares(timings),
        "times_vectorbt": ratios,
        "one_strategy": {name: timing.as_dict() for name, timing in single.items()},
        "times_peers": ratios_of(single), "seconds": fresh_seconds(),
    }  # fmt: skip


@dataclass(frozen=True)
class World:
    """A market with everything that the law knows."""

    bars: Bars
    market: MarketTensors
    costs: CostModel


def make_world(n_bars: int) -> World:
    """Missing bars, one delisting, drifting costs, rates per asset and every interest."""
    generator = np.random.default_rng(0)
    whole = gbm_market(generator, n_bars, N_ASSETS)
    listed = generator.random(whole.shape) > 0.002
    listed[n_bars // 2 :, 0] = False
    columns: dict[str, Any] = {
        name: np.where(listed, getattr(whole, name), np.nan)
        for name in ("open", "high", "low", "close", "volume")
    }
    bars = Bars(whole.dates, whole.symbols, **columns, tradable=listed)
    costs = CostModel(
        half_spread_bps=tuple(np.linspace(0.5, 8.0, N_ASSETS).tolist()),
        borrow_bps_per_year=tuple(np.linspace(25.0, 900.0, N_ASSETS).tolist()),
        cash_bps_per_year=300.0, short_rebate_bps_per_year=20.0,
    )  # fmt: skip
    market = MarketTensors.for_costs(bars, np.zeros((*bars.shape, 1), np.float32), costs)
    drift = torch.as_tensor(generator.uniform(0.5, 2.0, n_bars))
    return World(bars, MarketTensors(**vars(market) | {"cost_scale": drift}), costs)


def make_targets(n_strategies: int, n_bars: int, gross: float = 0.9) -> FloatArray:
    """Random long-short weights ``[B, T, N]``; beyond 512 strategies they repeat."""
    fresh = min(n_strategies, 512)
    weights = np.random.default_rng(1).standard_normal((fresh, n_bars, N_ASSETS))
    weights *= gross / np.abs(weights).sum(-1, keepdims=True)
    return weights if fresh == n_strategies else np.tile(weights, (n_strategies // fresh, 1, 1))


def backtest(world: World, targets: FloatArray, **given: Any) -> BacktestResult:
    """Run the full law; measures alone unless told otherwise."""
    how = {"keep": "measures"} | given
    return run_backtest(world.bars, targets, world.costs, market=world.market, **how)


def plain_backtest(bars: Bars, targets: FloatArray, **given: Any) -> BacktestResult:
    """Run vectorbt's rules; measures alone unless told otherwise."""
    how = {"keep": "measures"} | given
    return run_backtest(bars, targets, _FREE, "fill", **how)


def check(world: World, plain: Bars, n_strategies: int) -> None:
    """Refuse to time what is not the reference, or not what vectorbt does.

    Raises:
        ArithmeticError: a figure differs.
    """
    targets = make_targets(n_strategies, len(plain.dates))
    wild = make_targets(n_strategies, len(plain.dates), gross=1.5)
    wild[np.random.default_rng(2).random(wild.shape) < 0.1] = np.nan
    for how in (partial(backtest, world), partial(plain_backtest, plain)):
        for given in (targets, wild):
            fast, slow = (how(given, keep="equity", engine=e) for e in ("auto", "reference"))
            if not fast.engine.startswith("compiled"):
                raise ArithmeticError(f"the {fast.engine} ran.")
            compare(fast.equity, slow.equity, 1e-10, "the reference's equity")
            compare(fast.measures.to_numpy(), slow.measures.to_numpy(), 1e-10, "its measures")
    ours = plain_backtest(plain, targets).measures["total_return"].to_numpy()
    for engine in vectorbt_engines():
        theirs = vectorbt_run(plain, vectorbt_sizes(targets), _FREE, engine)()
        compare(ours, theirs, 1e-9, f"vectorbt's {engine} engine")
    check_gradient(world, wild[:2])


def check_gradient(world: World, targets: FloatArray) -> None:
    """Compare the derivative of the log growth with torch's own through the law.

    Raises:
        ArithmeticError: they differ.
    """
    ours, theirs = (torch.tensor(targets, requires_grad=True) for _ in range(2))
    backtest_growth(market_table(world.market, world.costs), ours).log().sum().backward()
    held, growths = torch.zeros_like(theirs[:, 0]), []
    for t in range(targets.shape[1] - 1):
        change = torch.where(theirs[:, t].isnan(), 0.0, theirs[:, t] - held)
        change = settle(held, change, 0.98) - held
        held, growth = advance(world.market, torch.tensor(t), held, change, world.costs)
        growths.append(growth)
    torch.stack(growths).log().sum().backward()
    if ours.grad is None or theirs.grad is None:
        raise ArithmeticError("there is no derivative.")
    compare(ours.grad.numpy(), theirs.grad.numpy(), 1e-10, "torch's derivative")


def compare(found: FloatArray, expected: FloatArray, tolerance: float, what: str) -> None:
    """Raise ArithmeticError where figures differ by more than the tolerance."""
    if not np.allclose(found, expected, rtol=tolerance, atol=tolerance):
        worst = float(np.abs(found - expected).max())
        raise ArithmeticError(f"a figure differs from {what} by {worst:.1e}.")


def our_runs(world: World, plain: Bars, targets: FloatArray) -> Runs:
    """Both rules, the gradient, and a pass that only reads the targets."""
    n_strategies, work = len(targets), float(targets.size)
    read_only = read_pass()
    runs: Runs = {
        f"read only, {n_strategies}": (partial(read_only, targets), work),
        f"{_FULL}, {n_strategies}": (partial(backtest, world, targets), work),
        f"{_VECTORBT}, {n_strategies}": (partial(plain_backtest, plain, targets), work),
    }
    if n_strategies <= 512:
        crowded = targets * 1.2
        runs[f"{_FULL}, {n_strategies}, limit binds in every bar"] = (
            partial(backtest, world, crowded), work,
        )  # fmt: skip
        runs[f"{_FULL} and gradient, {n_strategies}"] = (gradient_run(world, targets), work)
    if n_strategies <= 64:
        slow = partial(backtest, world, targets[:8], engine="reference")
        runs[f"{_FULL} in torch, {len(targets[:8])}"] = (slow, float(targets[:8].size))
    return runs


def gradient_run(world: World, targets: FloatArray) -> Callable[[], None]:
    """Log growth of every strategy and its derivative by every target."""
    table = market_table(world.market, world.costs)
    weights = torch.tensor(targets, requires_grad=True)

    def once() -> None:
        weights.grad = None
        backtest_growth(table, weights).log().sum().backward()

    return once


def read_pass() -> Callable[[FloatArray], FloatArray]:
    """Sum targets in one parallel pass: the fastest that memory can be read in this layout."""
    import numba

    @numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
    def read(targets: FloatArray) -> FloatArray:
        sums = np.zeros(len(targets))
        for b in numba.prange(len(targets)):
            row = targets[b].ravel()
            total = 0.0
            for i in range(row.size):
                total += row[i]
            sums[b] = total
        return sums

    return read  # type: ignore[no-any-return]


def busy_cores(one: Callable[[], Any]) -> float:
    """Processor seconds a second while a function runs: below 2, others had the cores."""
    begun, used = time.perf_counter(), time.process_time()
    one()
    return (time.process_time() - used) / (time.perf_counter() - begun)


def measure_pairs(
    world: World, plain: Bars, targets: FloatArray, repeats: int
) -> dict[str, Timing]:
    """Ours with the full law and with vectorbt's rules, and vectorbt's engines, in turn."""
    n, work, wanted = len(targets), float(targets.size), vectorbt_sizes(targets)
    runs: Runs = {
        f"ours, {_FULL}, {n}": (partial(backtest, world, targets), work),
        f"ours, {_VECTORBT}, {n}": (partial(plain_backtest, plain, targets), work),
    }
    for engine in vectorbt_engines():
        runs[f"vectorbt {engine}, {n}"] = (vectorbt_run(plain, wanted, _FREE, engine), work)
    return measure_in_turn(runs, repeats, lambda: (targets.sum(), wanted.sum()))


def single_runs(plain: Bars) -> Runs:
    """One strategy: ours on one asset and on all, call and tables included, and the peers."""
    targets = make_targets(1, len(plain.dates))[0]
    n_bars, n_assets = targets.shape
    one = gbm_market(np.random.default_rng(0), n_bars, 1)
    coin = np.where(np.random.default_rng(0).random((n_bars, 1)) < 0.5, 0.95, 0.0)
    runs: Runs = {"ours, 1 asset": (partial(run_backtest, one, coin, _FREE), float(n_bars))}
    if peer_name("backtesting") is not None:
        runs["backtesting.py, 1 asset"] = (backtesting_run(one, _FREE), float(n_bars))
    runs[f"ours, {n_assets} assets"] = (
        partial(run_backtest, plain, targets, _FREE), float(targets.size),
    )  # fmt: skip
    if peer_name("bt") is not None:
        runs[f"bt, {n_assets} assets"] = (bt_run(plain, targets), float(targets.size))
    return runs


def ratios_of(timings: dict[str, Timing]) -> dict[str, Any]:
    """How many times as fast each of ours is as the peers timed after it, run by run."""
    ratios: dict[str, Any] = {}
    ours, last = dict[str, Timing](), ""
    for name, timing in timings.items():
        if name.startswith("ours"):
            ours = (ours if last.startswith("ours") else {}) | {name: timing}
        for own, of_own in ours.items() if name not in ours else ():
            each = np.array(timing.seconds) / np.array(of_own.seconds)
            ratios[name if len(ours) == 1 else f"{name}: {own.split(', ')[1]}"] = {
                "median": float(np.median(each)), "min": float(each.min()),
                "max": float(each.max()), "repeats": len(each),
            }  # fmt: skip
        last = name
    return ratios


def shares(timings: dict[str, Timing]) -> dict[str, float]:
    """Rates as a share of reading the same targets."""
    found = {}
    for name, timing in timings.items():
        kind, _, size = name.partition(", ")
        read = timings.get(f"read only, {size}")
        if kind in (_FULL, _VECTORBT) and read is not None:
            found[name] = timing.rate / read.rate
    return found


_FRESH = """
import time
begun = time.perf_counter()
import numpy as np
from trading_rlhf.backtest import run_backtest
from trading_rlhf.market import gbm_market
loaded = time.perf_counter()
bars = gbm_market(np.random.default_rng(0), 2520)
targets = np.zeros((64, *bars.shape))
ready = time.perf_counter()
run_backtest(bars, targets, keep="measures")
print(loaded - begun, time.perf_counter() - ready)
"""


def fresh_seconds() -> dict[str, float]:
    """Seconds of the imports and of the first call in a fresh process, numba's cache being warm."""
    answer = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _FRESH], capture_output=True, text=True, check=True
    )
    imports, first = map(float, answer.stdout.split())
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import trading_rlhf"], check=True)
    package = time.perf_counter() - begun
    return {"import trading_rlhf, python started": package, "import trading_rlhf.backtest": imports,
            "first call after imports": first}  # fmt: skip


def show(report: dict[str, Any]) -> None:
    """Print rates, shares and ratios."""
    for title, part in (("", "asset_bars"), (", one strategy", "one_strategy")):
        rows = {
            name: {
                "per second": short(rates["per_second"]),
                "min - max": f"{short(rates['per_second_min'])} - {short(rates['per_second_max'])}",
                "runs": rates["repeats"],
            }
            for name, rates in report[part].items()
        }
        table = pd.DataFrame(rows).T.rename_axis("path, strategies")
        print_frame(f"Asset-bars a second{title}, median", table)
    for name, share in report["share_of_read_rate"].items():
        print_line(f"{name}: {share:.0%} of the rate of reading the targets")
    for name, ratio in (report["times_vectorbt"] | report["times_peers"]).items():
        print_line(f"{ratio['median']:.0f} times {name} ({ratio['min']:.0f} - {ratio['max']:.0f})")
    for name, seconds in report["seconds"].items():
        print_line(f"{name}: {seconds:.2f} s")
    machine = report["machine"]
    print_line(
        f"{machine['processor']}, {machine['cores']} cores, "
        f"OMP_WAIT_POLICY={machine['omp_wait_policy']}, load {machine['load_average']}, "
        f"commit {machine['commit']}"
    )


if __name__ == "__main__":
    sys.exit(main())
