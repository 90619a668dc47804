"""Backtests under a desk: how much slower than without, and how much faster than walking.

python -m backtests.speed.bench_gated [--json] [--device cuda]

Policies of 32 units that see what they hold, over 2,520 bars of 20 assets, read by a reward model
of 5 members with 16 tanh units each: as the filter, as the desk that answers and remembers, and
without it. On a CUDA device the torch walk runs.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from backtests.speed.timing import Timing, machine_facts, measure_in_turn, short
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy, PolicyConfig, walk
from trading_rlhf.backtest.gated import GatedBacktest, gated_backtest
from trading_rlhf.cli.console import print_error, print_frame, print_line
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import gbm_market
from trading_rlhf.reward import ModelDesk, RewardModel

__all__ = ["main"]

_FEATURES, _ASSETS, _MEMBERS, _UNITS = 10, 20, 5, 16
_CHECKED, _WALKED = 20, 20
"""Bars that are compared, and bars of a timed walk."""
_MOST_APART = 1e-5
"""Distance of equity from the walk's: nets of both are in float32."""


@dataclass(frozen=True)
class World:
    """A market, stacked policies and a reward model of it."""

    market: MarketTensors
    policy: Policy
    desk: ModelDesk

    def run(self, roles: tuple[str, ...], length: int | None = None) -> GatedBacktest:
        """Backtest with the desk in some roles: "model" filters, "decider" answers."""
        desks: dict[str, Any] = dict.fromkeys(roles, self.desk)
        return gated_backtest(
            self.market, self.policy, CostModel(), GateConfig(), length=length, **desks
        )

    def walk(self, roles: tuple[str, ...], length: int) -> Tensor:
        """Equity ``[S, B]`` after a walk in torch with the same roles."""
        desks: dict[str, Any] = {}
        if roles:
            every = RewardModel.stack([self.desk.model] * self.policy.members)
            desks = dict.fromkeys(roles, ModelDesk(every))
        start = torch.zeros(1, dtype=torch.long, device=self.market.overnight.device)
        walked = walk(self.policy, self.market, start, length, CostModel(), GateConfig(), **desks)
        return walked.log_growth.sum(0).exp()


ROLES: dict[str, tuple[str, ...]] = {
    "ungated": (),
    "filter": ("model",),
    "desk": ("decider",),
    "filter and desk": ("model", "decider"),
}


def main(arguments: list[str] | None = None) -> int:
    """Check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help="few bars: a smoke test")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the torch walk")
    given = parser.parse_args(arguments)
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print_error("Error: --device cuda needs a CUDA device; this machine has none.")
        return 1
    n_bars, sizes = (40, (8,)) if given.tiny else (2520, (64, 512))
    try:
        report = run(n_bars, sizes, given.device)
    except ArithmeticError as error:
        print_error(f"Error: nothing was timed; {error}")
        return 1
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0


def run(n_bars: int, sizes: tuple[int, ...], device: str) -> dict[str, Any]:
    """Check every role, then time all of them in turn.

    Args:
        n_bars: T.
        sizes: numbers of strategies.
        device: torch device.

    Raises:
        ArithmeticError: the loop does not equal the walk.
    """
    runs: dict[str, tuple[Callable[[], Any], float]] = {}
    begun = time.perf_counter()
    worlds = {size: make_world(n_bars, size, device) for size in sizes}
    for role in ROLES.values():
        check(worlds[sizes[0]], role)
    first_call = time.perf_counter() - begun
    for size, world in worlds.items():
        for name, role in ROLES.items():
            work = (n_bars - 1) * size * _ASSETS
            runs[f"{name}, {size} strategies"] = (waited(partial(world.run, role), device), work)
        for name in ("ungated", "filter"):
            walked = waited(partial(world.walk, ROLES[name], _WALKED), device)
            runs[f"walk, {name}, {size} strategies"] = (walked, _WALKED * size * _ASSETS)
    timings = measure_in_turn(runs)
    return {
        "benchmark": "gated", "bars": n_bars, "assets": _ASSETS, "members": _MEMBERS,
        "machine": machine_facts(device), "first_check_seconds": round(first_call, 2),
        "asset_bars": {name: timing.as_dict() for name, timing in timings.items()},
        "times_ungated": times_ungated(timings, sizes),
        "times_faster_than_walk": {
            size: timings[f"filter, {size} strategies"].rate
            / timings[f"walk, filter, {size} strategies"].rate
            for size in sizes
        },
    }  # fmt: skip


def times_ungated(timings: dict[str, Timing], sizes: tuple[int, ...]) -> dict[str, float]:
    """Time with the desk over time without it."""
    return {
        f"{name}, {size} strategies": timings[f"{name}, {size} strategies"].median
        / timings[f"ungated, {size} strategies"].median
        for size in sizes
        for name in list(ROLES)[1:]
    }


def waited(run: Callable[[], Any], device: str) -> Callable[[], None]:
    """The run, and on a device its end."""

    def once() -> None:
        run()
        if device != "cpu":
            torch.cuda.synchronize(device)

    return once


def make_world(n_bars: int, size: int, device: str) -> World:
    """Random prices, features, policies and reward model; the model refuses about half."""
    numbers, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    bars = gbm_market(numbers, n_bars, _ASSETS)
    features = numbers.normal(size=(*bars.shape, _FEATURES)).astype(np.float32)
    market = MarketTensors.from_bars(bars, features, device)
    inputs = 2 * _FEATURES + 6

    def draws(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * 0.3).to(device)

    model = RewardModel(
        draws(1, _MEMBERS, inputs), draws(1, _MEMBERS), draws(1, _MEMBERS, inputs, _UNITS),
        draws(1, _MEMBERS, _UNITS), draws(1, _MEMBERS, _UNITS), torch.ones(1, device=device),
    )  # fmt: skip
    policy = Policy(_FEATURES, PolicyConfig(), size, generator).to(device)
    return World(market, policy, ModelDesk(model))


def check(world: World, roles: tuple[str, ...]) -> None:
    """Refuse to time a loop that is not the walk, over few bars and all strategies.

    Raises:
        ArithmeticError: equity differs by more than rounding of nets in most strategies.
    """
    length = min(_CHECKED, world.market.shape[0] - 1)
    found = world.run(roles, length)
    away = (found.equity[..., -1] - world.walk(roles, length)).abs()
    # A decision at the threshold may round the other way, in a few strategies.
    worst = float(away.flatten().quantile(0.9))
    if worst > _MOST_APART:
        raise ArithmeticError(f"the loop differs from the walk by {worst:.1e}.")


def show(report: dict[str, Any]) -> None:
    """Print a table of rates and the ratios."""
    rows = {
        name: {
            "per second": short(rates["per_second"]),
            "min - max": f"{short(rates['per_second_min'])} - {short(rates['per_second_max'])}",
        }
        for name, rates in report["asset_bars"].items()
    }
    print_frame("Asset-bars a second, median of 5", pd.DataFrame(rows).T.rename_axis("path"))
    for name, ratio in report["times_ungated"].items():
        print_line(f"{name}: {ratio:.1f} times the time without a desk")
    for size, ratio in report["times_faster_than_walk"].items():
        print_line(f"filter, {size} strategies: {ratio:.0f} times as fast as the walk")
    machine = report["machine"]
    print_line(
        f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, "
        f"OMP_WAIT_POLICY={machine['omp_wait_policy']}, load {machine['load_average']}, "
        f"commit {machine['commit']}"
    )


if __name__ == "__main__":
    sys.exit(main())
