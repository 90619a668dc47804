"""Time until a policy is trained, beside Stable-Baselines3's PPO in the same run.

python -m backtests.speed.bench_training [--json] [--tiny]

One asset with a known edge, then twenty; scores are shares of what a rule that knows the edge
earns on a path that nobody trained on. Only training counts, evaluation does not. Settings were
chosen on other paths. Last, env-steps a second beside what the machine could multiply.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, TypeAlias

import pandas as pd
import torch

from backtests import planted_ar as ar
from backtests import planted_many as many
from backtests.speed.timing import machine_facts, short
from backtests.speed.training_clock import Clock
from backtests.speed.training_rates import rates
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    PpoConfig,
    ProfitReward,
    TrainConfig,
    orthogonal_start,
    start_training,
    train,
)
from trading_rlhf.cli.console import print_frame, print_line
from trading_rlhf.env import MarketTensors

__all__ = ["main"]

_HAS_PEER = find_spec("stable_baselines3") is not None
_PEER, _PEER_WHOLE = "Stable-Baselines3 PPO", "Stable-Baselines3 PPO, whole batches"

_AR_POLICY = PolicyConfig(hidden=64, tilt=4.0, max_gross=1.0, long_only=False)
_AR_CONFIGS = {
    "apg": TrainConfig(
        iterations=200, horizon=4, batch=512, learning_rate=1e-2, weight_decay=0.0
    ),
    "ppo": TrainConfig(
        method="ppo", iterations=200, horizon=8, batch=256, weight_decay=0.0,
        ppo=PpoConfig(learning_rate=2e-3, minibatch=2048, gamma=0.0, initial_std=1.5),
    ),
}  # fmt: skip
_AR_PEERS = {
    name: {"n_steps": 256, "batch_size": size, "gamma": 0.0, "learning_rate": 1e-3}
    for name, size in ((_PEER, 256), (_PEER_WHOLE, 2048))
}
"""Eight environments, so that 2048 is all that an epoch has."""

_AR_LEVELS, _AR_CHECK = (0.9,), 2048

_MANY_CONFIGS = {
    "apg": (
        PolicyConfig(hidden=32, tilt=10.0, max_gross=many.MAX_GROSS),
        TrainConfig(
            iterations=300, horizon=4, batch=64, learning_rate=1e-2, weight_decay=0.0
        ),
    ),
    "ppo": (
        PolicyConfig(hidden=32, tilt=4.0, max_gross=many.MAX_GROSS),
        TrainConfig(
            method="ppo", iterations=1000, horizon=8, batch=256, weight_decay=0.0,
            ppo=PpoConfig(learning_rate=3e-3, epochs=4, minibatch=2048),
        ),
    ),
}  # fmt: skip
_MANY_PEER = {"n_steps": 32, "batch_size": 2048, "gamma": 0.5, "learning_rate": 1e-3}
_MANY_PEER_TILT = 4.0
_MANY_LEVELS, _MANY_CHECK = (0.5, 0.9, 0.95), 4096

Method: TypeAlias = Callable[[int, Clock], None]
"""Trains from a seed until the clock is over."""


@dataclass(frozen=True)
class Ours:
    """One of our trainers on a task, run as the product runs it.

    Attributes:
        shape: of the policy.
        config: of the training.
        market: what is trained on.
        bars: decision bars of it.
        costs: what trades cost.
        reward: what is maximised.
        share: score of a policy as a share of the reference.
    """

    shape: PolicyConfig
    config: TrainConfig
    market: MarketTensors
    bars: range
    costs: CostModel
    reward: ProfitReward
    share: Callable[[Policy], float]

    def __call__(self, seed: int, clock: Clock) -> None:
        """Train from a seed until the clock is over or all iterations are done."""
        generator = torch.Generator().manual_seed(seed)
        policy = Policy(self.market.features.shape[2], self.shape, 1, generator)
        if self.config.method == "ppo":
            orthogonal_start(policy, generator)
        training = start_training(policy, self.config, generator)
        steps = self.config.horizon * self.config.batch
        while training.iteration < self.config.iterations and not clock.over:
            until = training.iteration + math.ceil(clock.check_steps / steps)
            clock.start()
            train(
                training, self.market, self.bars, self.costs, self.config, self.reward,
                until=until,
            )  # fmt: skip
            clock.stop()
            clock.note(self.share(policy), training.iteration * steps)


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Attributes:
        seeds: of weights and exploration.
        n_bars: of each path.
        limit: seconds after which a training ends without having reached its level.
        threads: numbers of torch threads tried on the one asset.
        paths: seeds of the paths that are trained on and judged by.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    n_bars: int = 20_000
    limit: float = 40.0
    threads: tuple[int, ...] = (1, 2)
    paths: tuple[int, int] = (123, 777)


_TINY = Plan((0,), 600, 0.1, (1,))


def main(arguments: list[str] | None = None) -> int:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help="moments of each: a smoke test")
    given = parser.parse_args(arguments)
    report = run(_TINY if given.tiny else Plan())
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0


def run(plan: Plan) -> dict[str, Any]:
    """All parts of the benchmark; the number of torch threads is put back."""
    before = torch.get_num_threads()
    try:
        return {
            "benchmark": "training",
            "machine": machine_facts(),
            "one_asset": one_asset(plan),
            "twenty_assets": twenty_assets(plan),
            "rates": rates(tiny=plan.limit < 1.0),
        }
    finally:
        torch.set_num_threads(before)


def one_asset(plan: Plan) -> dict[str, Any]:
    """Time to nine tenths of the reference, by method and number of threads."""
    returns, unseen = (ar.make_returns(plan.n_bars, seed) for seed in plan.paths)
    market, reference = ar.make_market(returns), ar.reference_score(unseen)

    def share(rule: Any) -> float:
        return ar.score_rule(rule, unseen) / reference

    methods: dict[str, Method] = {
        name: Ours(
            _AR_POLICY, config, market, range(ar.LAGS - 1, plan.n_bars), ar.COSTS,
            ProfitReward(0.0), lambda policy: share(ar.policy_rule(policy)),
        )
        for name, config in _AR_CONFIGS.items()
    }  # fmt: skip
    if _HAS_PEER:
        from backtests.speed.training_peers import Peer, ar_envs, ar_rule

        for name, settings in _AR_PEERS.items():
            methods[name] = Peer(
                lambda seed: ar_envs(returns, seed), settings, lambda model: share(ar_rule(model))
            )
    runs = {
        threads: _train_in_turn(methods, plan, threads, _AR_LEVELS, _AR_CHECK)
        for threads in plan.threads
    }
    quickest = {
        name: min(plan.threads, key=lambda threads: _middle(runs[threads][name], _AR_LEVELS[0]))
        for name in methods
    }
    best = {name: runs[threads][name] for name, threads in quickest.items()}
    return {
        "reference_percent_a_bar": reference,
        "quickest_threads": quickest,
        "runs": {f"{threads} threads": each for threads, each in runs.items()},
        "times_as_fast": _ratios(best, _AR_LEVELS[0]),
    }


def twenty_assets(plan: Plan) -> dict[str, Any]:
    """Time to shares of what the best rule earns that knows the edges."""
    trained = many.Many(plan.paths[0], plan.n_bars)
    judged = many.Many(plan.paths[1], min(plan.n_bars, 2000))
    reference = judged.oracle_score()

    def share(policy: Any) -> float:
        return judged.scores(policy)[0] / reference

    methods: dict[str, Method] = {
        name: Ours(
            shape, config, trained.market, range(1, plan.n_bars), many.COSTS,
            ProfitReward(many.RISK_AVERSION), share,
        )
        for name, (shape, config) in _MANY_CONFIGS.items()
    }  # fmt: skip
    if _HAS_PEER:
        from backtests.speed.training_peers import Peer, PeerPolicy, market_envs

        methods[_PEER] = Peer(
            lambda seed: market_envs(trained, seed, _MANY_PEER_TILT),
            _MANY_PEER,
            lambda model: share(PeerPolicy(model, _MANY_PEER_TILT, many.MAX_GROSS)),
        )
    threads = plan.threads[0]
    few = replace(plan, seeds=plan.seeds[:3])
    runs = _train_in_turn(methods, few, threads, _MANY_LEVELS, _MANY_CHECK)
    return {"reference_bp_a_bar": reference, "threads": threads, "runs": runs}


def _train_in_turn(
    methods: dict[str, Method], plan: Plan, threads: int, levels: tuple[float, ...], check: int
) -> dict[str, list[dict[str, Any]]]:
    """Every method from every seed, in turn, so that noise of the machine meets all alike."""
    torch.set_num_threads(threads)
    for method in methods.values():
        # What a first step loads and compiles is no training.
        method(0, Clock(levels, 0.0, check))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for seed in plan.seeds:
        for name, method in methods.items():
            clock = Clock(levels, plan.limit, check)
            method(seed, clock)
            runs[name].append(clock.as_dict())
    return runs


def _seconds(run: dict[str, Any], level: float) -> float:
    """Seconds to a level; without end where it was not reached."""
    reached = run["reached"].get(f"{level:.0%}")
    return float("inf") if reached is None else float(reached["seconds"])


def _middle(runs: list[dict[str, Any]], level: float) -> float:
    return statistics.median(_seconds(each, level) for each in runs)


def _ratios(best: dict[str, list[dict[str, Any]]], level: float) -> dict[str, dict[str, Any]]:
    """How many times as fast ours were as each peer, seed by seed; None where one never arrived."""
    found: dict[str, dict[str, Any]] = {}
    for peer in (_PEER, _PEER_WHOLE):
        for ours in ("apg", "ppo"):
            if peer not in best:
                continue
            pairs = zip(best[peer], best[ours], strict=True)
            times = [_seconds(a, level) / _seconds(b, level) for a, b in pairs]
            whole = all(0.0 < each < float("inf") for each in times)
            found[f"{ours} against {peer}"] = {
                "median": statistics.median(times) if whole else None,
                "by_seed": times if whole else None,
            }
    return found


def show(report: dict[str, Any]) -> None:
    """Print tables of times, ratios and rates."""
    one, twenty = report["one_asset"], report["twenty_assets"]
    rows = {}
    for threads, runs in one["runs"].items():
        for name, each in runs.items():
            rows[f"{name}, {threads}"] = _row(each, _AR_LEVELS)
    print_frame("One asset, held-out path", pd.DataFrame(rows).T.rename_axis("method"))
    for name, ratio in one["times_as_fast"].items():
        middle = ratio["median"]
        said = "one of them never arrived" if middle is None else f"{middle:.1f} times as fast"
        print_line(f"{name}: {said}")
    rows = {name: _row(each, _MANY_LEVELS) for name, each in twenty["runs"].items()}
    title = f"Twenty assets, another market, {twenty['threads']} threads"
    print_frame(title, pd.DataFrame(rows).T.rename_axis("method"))
    rows = {
        name: {
            "env-steps/s": short(each["per_second"]),
            "of the limit": f"{each['share_of_limit']:.0%}",
        }
        for name, each in report["rates"]["rates"].items()
    }
    print_frame("Twenty assets, work a second", pd.DataFrame(rows).T.rename_axis("what"))
    machine = report["machine"]
    print_line(
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{report['rates']['multiplied_flops_per_second'] / 1e9:.0f} GFLOP/s in float32, "
        f"load {machine['load_average']}, commit {machine['commit']}"
    )


def _row(runs: list[dict[str, Any]], levels: tuple[float, ...]) -> dict[str, str]:
    """Seconds to each level, middle and range over seeds, and the middle of the best shares."""
    row = {}
    for level in levels:
        times = sorted(_seconds(each, level) for each in runs)
        middle = statistics.median(times)
        spread = f"{middle:.2f} ({times[0]:.2f} - {times[-1]:.2f})"
        row[f"s to {level:.0%}"] = "never" if times[0] == float("inf") else spread
    checked = [each["best_share"] for each in runs if each["best_share"] is not None]
    return row | {"best": f"{statistics.median(checked):.0%}" if checked else "not checked"}


if __name__ == "__main__":
    sys.exit(main())
