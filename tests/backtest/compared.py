"""Arms over a year of real bars, small enough for every test of the page."""

from functools import cache

import numpy as np
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import (
    ComparedArms,
    Trials,
    arm_rows,
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
def compared_arms(placebos: int = 1, trials: int = 240) -> ComparedArms:
    """Weights drawn at random over the last 260 bars of us4; the shaped arm trades most."""
    bars = load_sample("us4").window(3000, 3260)
    draws = np.random.default_rng(3)
    targets = np.full((4, *bars.shape), np.nan)
    targets[:, 0] = 0.24
    targets[1:, ::20] = draws.dirichlet(np.ones(4), (3, 13)) * 0.9
    targets[3, ::2] = draws.dirichlet(np.ones(4), 130) * 0.9
    more = np.full((max(placebos - 1, 0), *bars.shape), np.nan)
    more[:, ::20] = np.random.default_rng(4).dirichlet(np.ones(4), (len(more), 13)) * 0.9
    names = [name for name in WHAT if placebos or name != "placebo"]
    counts = {name: placebos if name == "placebo" else 1 for name in names}
    rows = arm_rows(names, counts)
    targets = np.concatenate([targets[:3], more, targets[3:]] if placebos else targets[[0, 1, 3]])
    targets = targets.reshape(-1, *bars.shape)
    costs = CostModel()
    result = run_backtest(bars, targets, costs)
    returns = result.equity[:, 1:] / result.equity[:, :-1] - 1.0
    sharpes = [sharpe_per_bar(row) for row in returns]
    ledger = Trials(trials, np.array([*sharpes, *draws.normal(0, 0.05, trials - len(sharpes))]))
    generator = torch.Generator().manual_seed(0)
    pairs = [("shaped + filter", other) for other in names[:-1]]
    curves = {name: returns[own] for name, own in rows.items()}
    return ComparedArms(
        what={name: WHAT[name] for name in names},
        main="shaped + filter",
        result=result,
        statistics=arm_statistics(curves, ledger, 252.0, generator),
        tests=compare_arms(curves, generator, pairs=pairs, draws=200),
        costs=cost_curves(
            rows,
            lambda factor: run_backtest(bars, targets, costs.scaled(factor)).measures,
            252.0,
        ),
        overfitting="No PBO here.",
        missing={"approved only": "Nobody answered."},
        draws=counts,
    )
