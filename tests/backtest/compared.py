"""Arms over a year of real bars, small enough for every test of the page."""

from functools import cache

import numpy as np
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import (
    ComparedArms,
    Trials,
    arm_statistics,
    compare_arms,
    cost_curves,
    run_backtest,
    sharpe_per_bar,
)
from trading_rlhf.market import load_sample

__all__ = ["compared_arms"]

WHAT = {
    "buy and hold": "Bought once.",
    "model filter": "What the model approves.",
    "placebo": "Shuffled answers.",
    "shaped + filter": "Trained under the model.",
}


@cache
def compared_arms(placebo: bool = True, trials: int = 240) -> ComparedArms:
    """Weights drawn at random over the last 260 bars of us4; the shaped arm trades most."""
    bars = load_sample("us4").window(3000, 3260)
    draws = np.random.default_rng(3)
    targets = np.full((4, *bars.shape), np.nan)
    targets[:, 0] = 0.24
    targets[1:, ::20] = draws.dirichlet(np.ones(4), (3, 13)) * 0.9
    targets[3, ::2] = draws.dirichlet(np.ones(4), 130) * 0.9
    names = [name for name in WHAT if placebo or name != "placebo"]
    rows = [list(WHAT).index(name) for name in names]
    costs = CostModel()
    result = run_backtest(bars, targets[rows], costs)
    returns = result.equity[:, 1:] / result.equity[:, :-1] - 1.0
    sharpes = [sharpe_per_bar(row) for row in returns]
    ledger = Trials(trials, np.array([*sharpes, *draws.normal(0, 0.05, trials - len(sharpes))]))
    generator = torch.Generator().manual_seed(0)
    pairs = [("shaped + filter", other) for other in names[:-1]]
    return ComparedArms(
        what={name: WHAT[name] for name in names},
        main="shaped + filter",
        result=result,
        statistics=arm_statistics(result.equity, ledger, 252.0, generator),
        tests=compare_arms(
            dict(zip(names, returns, strict=True)), generator, pairs=pairs, draws=200
        ),
        costs=cost_curves(
            names,
            lambda factor: run_backtest(bars, targets[rows], costs.scaled(factor)).measures,
            252.0,
        ),
        overfitting="No PBO here.",
        missing=("Only what people approved: no arm.",),
    )
