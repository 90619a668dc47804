"""A walk-forward of made-up orders over a year of real bars: what its chapter is drawn from."""

from functools import cache

import numpy as np
import torch

from trading_rlhf.backtest import Trials, arm_statistics, compare_arms, path_figures, run_backtest
from trading_rlhf.loop import EQUAL, HOLD, POLICY, CrossValidated, Period, WalkedForward
from trading_rlhf.loop.reporting import equal_targets, hold_targets
from trading_rlhf.market import load_sample

__all__ = ["made_up_paths", "made_up_walk"]


@cache
def made_up_walk() -> WalkedForward:
    """Two stretches over the last 260 bars of us4, 120 trials counted."""
    bars = load_sample("us4").window(3000, 3260)
    draws = np.random.default_rng(5)
    wanted = np.full(bars.shape, np.nan)
    wanted[::10] = draws.dirichlet(np.ones(4), 26) * 0.9
    result = run_backtest(bars, np.stack([wanted, equal_targets(bars), hold_targets(bars)]))
    returns = result.equity[:, 1:] / result.equity[:, :-1] - 1.0
    curves = dict(zip((POLICY, EQUAL, HOLD), returns, strict=True))
    generator = torch.Generator().manual_seed(0)
    trials = Trials(120, draws.normal(0, 0.05, 120))
    return WalkedForward(
        periods=[
            Period(range(2980), range(0), range(3000, 3130)),
            Period(range(3110), range(0), range(3130, 3259)),
        ],
        policies=["one", "other"],
        result=result,
        statistics=arm_statistics(
            {n: c[None] for n, c in curves.items()}, trials, 252.0, generator
        ),
        tests=compare_arms(
            curves, generator, pairs=[(POLICY, EQUAL), (POLICY, HOLD)], confidence=0.95, draws=200
        ),
        bars_per_year=252.0,
    )


def made_up_paths() -> CrossValidated:
    """Five paths over the same bars."""
    walked = made_up_walk()
    draws = np.random.default_rng(6).normal(5e-4, 0.01, (5, 259))
    rules = walked.result.equity[1:, 1:] / walked.result.equity[1:, :-1] - 1.0
    return CrossValidated(walked.result.dates, 15, 20, path_figures(draws), path_figures(rules))
