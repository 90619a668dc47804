"""Steps a second of the environments, with the full law, beside gym-trading-env in the same run.

python -m backtests.speed.bench_env [--json] [--tiny] [--device cuda]

One env-step moves one account by one bar in all assets: orders are settled, filled with the costs
of each asset, marked overnight and to the close, with missing bars, a delisting, borrow fees,
interest, ruin and restarts. Before it is timed, every path must equal the reference.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from backtests.speed.timing import Timing, machine_facts, measure, measure_in_turn, short
from trading_rlhf.accounting import CostModel
from trading_rlhf.cli.console import print_error, print_frame, print_line
from trading_rlhf.env import (
    Accounts,
    MarketTensors,
    TradingEnv,
    Transition,
    VectorMarketEnv,
    transition,
)
from trading_rlhf.market import Bars, gbm_market

__all__ = ["main"]

_PEER = "gym-trading-env 0.3.5, 1 env, 1 asset"
_STEPS = {"device": 40_000_000, "batch": 4_000_000, "torch": 400_000, "single": 500, "peer": 20_000}
"""Env-steps of one timed run."""
_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
_COMPARED = ("t", "start", "held", "equity", "peak", "done", "stream")
_N_ASSETS, _N_CHECKED = 20, 12

Step: TypeAlias = Callable[[Accounts, Tensor], Transition]


def main(arguments: list[str] | None = None) -> int:
    """Check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help="few steps of few envs: a smoke test")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the compiled torch step")
    given = parser.parse_args(arguments)
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print_error("Error: --device cuda needs a CUDA device; this machine has none.")
        return 1
    share, sizes = (0.002, (64,)) if given.tiny else (1.0, (4096, 65_536))
    world = make_world(300 if given.tiny else 2520)
    try:
        report = run(world, sizes, given.device, share)
    except ArithmeticError as error:
        print_error(f"Error: nothing was timed; {error}")
        return 1
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0


def run(
    world: tuple[Bars, MarketTensors], sizes: tuple[int, ...], device: str, share: float = 1.0
) -> dict[str, Any]:
    """Check every path, then time all of them in turn.

    Args:
        world: bars and the market made of them.
        sizes: numbers of envs.
        device: torch device.
        share: share of the usual number of steps.

    Raises:
        ArithmeticError: a path does not equal the reference.
    """
    on_cpu = device == "cpu"
    runs: dict[str, tuple[Callable[[], Any], float]] = {}
    compile_seconds: dict[str, float] = {}
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        for size in sizes:
            env = make_env(world, size, dtype, device)
            step = fast_step(env) if on_cpu else compiled_step(env)
            begun = time.perf_counter()
            check(env, step, _TOLERANCE[dtype])
            compile_seconds[f"{name}, {size} envs"] = round(time.perf_counter() - begun, 2)
            for path, (one, many) in walks(env, step).items():
                n_steps = max(int(many * share) // size, 2)
                work = repeat(one, n_steps, device), n_steps * size
                runs[f"{path}, {name}, {size} envs"] = work
    if on_cpu:
        runs |= single_runs(world, share)
    timings = measure_in_turn(runs)
    return summary(timings, compile_seconds, sizes, device)


def walks(env: VectorMarketEnv, step: Step) -> dict[str, tuple[Callable[[], Any], int]]:
    """One step of each path by name, and the env-steps of a timed run."""
    if env.torch_device.type != "cpu":
        return {"compiled": (walk(env, step), _STEPS["device"])}
    return {
        "env.step": (walk_env(env), _STEPS["batch"]),
        "compiled": (walk(env, step), _STEPS["batch"]),
        "torch": (walk(env, reference_step(env)), _STEPS["torch"]),
    }


def summary(
    timings: dict[str, Timing],
    compile_seconds: dict[str, float],
    sizes: tuple[int, ...],
    device: str,
) -> dict[str, Any]:
    """Figures, ratio to the peer, and share of the memory's copying rate."""
    report: dict[str, Any] = {
        "benchmark": "env", "assets": _N_ASSETS, "machine": machine_facts(device),
        "threads": threading_layer() if device == "cpu" else {},
        "first_step_seconds": compile_seconds,
        "steps": {name: timing.as_dict() for name, timing in timings.items()},
    }  # fmt: skip
    if _PEER in timings:
        ours = timings[f"env.step, float32, {sizes[0]} envs"]
        report["ratio_to_gym_trading_env"] = ours.rate / timings[_PEER].rate
    if device != "cpu":
        report["memory"] = memory_figures(timings, device)
    return report


def memory_figures(timings: dict[str, Timing], device: str) -> dict[str, Any]:
    """Bytes that a step must move at least, and the share of the copying rate that it reaches."""
    source = torch.empty(2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = measure(repeat(lambda: target.copy_(source), 20, device), 20.0 * 2 * source.numel())
    shares = {}
    for name, timing in timings.items():
        size = 8 if "float64" in name else 4
        # Held and target are read, held and orders written; market rows stay in the cache.
        shares[name] = timing.rate * (4 * _N_ASSETS * size + 4 * size + 4 * 8) / copy.rate
    return {"copy_bytes_per_second": copy.rate, "share_of_copy": shares}


def threading_layer() -> dict[str, Any]:
    """Which of numba's layers ran the compiled step, on how many threads."""
    import numba

    return {"numba_layer": numba.threading_layer(), "numba_threads": numba.get_num_threads()}


def make_world(n_bars: int) -> tuple[Bars, MarketTensors]:
    """A market with gaps, missing bars, one delisting and drifting costs."""
    generator = np.random.default_rng(0)
    whole = gbm_market(generator, n_bars, _N_ASSETS)
    listed = generator.random(whole.shape) > 0.02
    listed[n_bars // 2 :, 0] = False
    columns: dict[str, Any] = {
        name: np.where(listed, getattr(whole, name), np.nan)
        for name in ("open", "high", "low", "close", "volume")
    }
    bars = Bars(whole.dates, whole.symbols, **columns, tradable=listed)
    features = np.zeros((*bars.shape, 1), dtype=np.float32)
    market = MarketTensors.from_bars(bars, features)
    drift = torch.as_tensor(generator.uniform(0.5, 2.0, n_bars))
    return bars, replace(market, cost_scale=drift)


def make_costs() -> CostModel:
    """Rates of each asset's own, and every interest."""
    spread = tuple(np.linspace(0.5, 8.0, _N_ASSETS).tolist())
    borrow = tuple(np.linspace(25.0, 900.0, _N_ASSETS).tolist())
    return CostModel(
        half_spread_bps=spread, borrow_bps_per_year=borrow, cash_bps_per_year=300.0,
        short_rebate_bps_per_year=20.0,
    )  # fmt: skip


def make_env(
    world: tuple[Bars, MarketTensors], size: int, dtype: torch.dtype, device: str
) -> VectorMarketEnv:
    """Episodes of random starts that are as long as half the market, at most a year."""
    bars, market = world
    places: dict[str, Any] = {
        name: x.to(device) for name, x in vars(market).items() if isinstance(x, Tensor)
    }
    env = VectorMarketEnv(
        bars, make_costs(), size, episode_length=min(252, len(bars.dates) // 4), long_only=False,
        device=device, dtype=dtype, observation="handle", market=replace(market, **places),
    )  # fmt: skip
    env.reset(seed=0)
    return env


def targets(env: VectorMarketEnv, seed: int) -> Tensor:
    """Random targets ``[B, N]``, a tenth of them holds, some beyond the limit of exposure."""
    generator = torch.Generator().manual_seed(seed)
    shape = env.accounts.held.shape
    wanted = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * 0.12
    holds = torch.rand(shape, generator=generator) < 0.1
    return wanted.masked_fill(holds, torch.nan).to(env.torch_device, env.dtype)


def reference_step(env: VectorMarketEnv) -> Step:
    """The law in torch."""
    return partial(transition, env.market, env.rules)


def compiled_step(env: VectorMarketEnv) -> Step:
    """The law in torch, compiled for a device."""
    return partial(torch.compile(transition, fullgraph=True), env.market, env.rules)


def fast_step(env: VectorMarketEnv) -> Step:
    """The compiled step behind the environment's own."""
    from trading_rlhf.env.fused import fused_transition, step_market

    return partial(fused_transition, step_market(env.market, env.rules))


def check(env: VectorMarketEnv, step: Step, tolerance: float) -> None:
    """Refuse to time a step that is not the reference's.

    Raises:
        ArithmeticError: a figure differs by more than the tolerance.
    """
    if env.torch_device.type == "cpu" and not env.is_fused:
        raise ArithmeticError("the environment does not use the compiled step.")
    reference, accounts = reference_step(env), env.accounts
    for number in range(_N_CHECKED):
        # Some end early, so that restarts are compared as well.
        accounts = replace(accounts, done=accounts.done | (accounts.stream % 7 == number % 7))
        target = targets(env, number)
        slow = reference(accounts, target)
        fast = step(accounts, target)
        pairs = [(getattr(fast.accounts, n), getattr(slow.accounts, n)) for n in _COMPARED]
        pairs += [(fast.reward, slow.reward), (fast.executed, slow.executed)]
        for got, expected in pairs:
            if not torch.allclose(got, expected, rtol=tolerance, atol=tolerance):
                worst = float((got - expected).abs().max())
                raise ArithmeticError(f"a step differs from the reference by {worst:.1e}.")
        accounts = slow.accounts


def walk_env(env: VectorMarketEnv) -> Callable[[], Any]:
    """One step of the environment as its users call it."""
    target = targets(env, 1)
    return lambda: env.step(target)


def walk(env: VectorMarketEnv, step: Step) -> Callable[[], None]:
    """One step without the environment around it."""
    accounts, target = env.accounts, targets(env, 1)

    def once() -> None:
        nonlocal accounts
        accounts = step(accounts, target).accounts

    return once


def repeat(one: Callable[[], Any], n_steps: int, device: str = "cpu") -> Callable[[], None]:
    """Many steps in a row; a device is waited for once, at the end."""

    def many() -> None:
        with torch.no_grad():
            for _ in range(n_steps):
                one()
        if device != "cpu":
            torch.cuda.synchronize(device)

    return many


def single_runs(
    world: tuple[Bars, MarketTensors], share: float
) -> dict[str, tuple[Callable[[], Any], float]]:
    """One environment at a time: ours, and the peer's where it is installed."""
    bars, market = world
    ours = TradingEnv(bars, make_costs(), market=market, long_only=False)
    n_steps, n_peer = (max(int(_STEPS[kind] * share), 20) for kind in ("single", "peer"))
    action = np.full(_N_ASSETS, 0.04, dtype=np.float32)
    runs = {f"TradingEnv, 1 env, {_N_ASSETS} assets": (episodes(ours, action, n_steps), n_steps)}
    if find_spec("gym_trading_env") is not None:
        peer = make_peer(len(bars.dates))
        runs[_PEER] = (episodes(peer, None, n_peer), n_peer)
    return runs  # type: ignore[return-value]


def episodes(env: Any, action: Any, n_steps: int) -> Callable[[], None]:
    """Steps of one environment that restarts when an episode is over; None draws actions."""
    drawn = np.random.default_rng(0).integers(0, 3, n_steps).tolist()

    def many() -> None:
        env.reset(seed=0)
        for choice in drawn:
            _, _, over, cut, _ = env.step(choice if action is None else action)
            if over or cut:
                env.reset()

    return many


def make_peer(n_bars: int) -> Any:
    """gym-trading-env (MIT) on one asset, with fees and interest, without a window."""
    generator = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(generator.normal(0.0, 0.01, n_bars)))
    dates = pd.date_range("2001-01-01", periods=n_bars, freq="D")
    prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    frame = pd.DataFrame(prices | {"volume": 1.0, "feature_close": close}, index=dates)
    # Importing it turns every warning of the process into an error.
    with warnings.catch_warnings():
        import gym_trading_env  # noqa: F401

        env = gymnasium.make(
            "TradingEnv", df=frame, positions=[-1, 0, 1], trading_fees=1e-3,
            borrow_interest_rate=1e-5, verbose=0,
        )  # fmt: skip
    return env.unwrapped


def show(report: dict[str, Any]) -> None:
    """Print a table of rates and the ratio."""
    rows = {
        name: {
            "per second": short(rates["per_second"]),
            "min - max": f"{short(rates['per_second_min'])} - {short(rates['per_second_max'])}",
        }
        for name, rates in report["steps"].items()
    }
    print_frame("Env-steps a second, median of 5", pd.DataFrame(rows).T.rename_axis("path"))
    if "ratio_to_gym_trading_env" in report:
        print_line(
            f"env.step in float32 is {report['ratio_to_gym_trading_env']:.0f} times the peer"
        )
    for name, seconds in report["first_step_seconds"].items():
        print_line(f"first step and check, {name}: {seconds:.1f} s, not in the rates")
    for name, share in report.get("memory", {}).get("share_of_copy", {}).items():
        print_line(f"{name}: {share:.0%} of the copying rate")
    machine = report["machine"]
    print_line(
        f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, "
        f"OMP_WAIT_POLICY={machine['omp_wait_policy']}, load {machine['load_average']}, "
        f"commit {machine['commit']}"
    )


if __name__ == "__main__":
    sys.exit(main())
