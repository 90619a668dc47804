"""Random markets, costs and targets with everything that the law knows."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.market import Bars

__all__ = ["Draw", "draw"]


@dataclass
class Draw:
    """A market with its costs, and targets ``[B, T, N]`` for it."""

    bars: Bars
    market: MarketTensors
    costs: CostModel
    targets: np.ndarray


def draw(seed: int, *, wild: bool = False, has_open: bool = True) -> Draw:
    """Missing bars, holds, closings, shorts, rates per asset, dear sessions and delistings.

    ``wild`` prices and weights ruin some of the accounts.
    """
    generator = np.random.default_rng(seed)
    n_assets, n_bars = int(generator.integers(1, 7)), int(generator.integers(3, 40))
    bars = random_bars(
        seed, n_bars, n_assets, holes=True, has_open=has_open, volatility=0.25 if wild else 0.02
    )

    def rates(highest: float) -> tuple[float, ...]:
        return tuple(generator.uniform(0.0, highest, n_assets))

    costs = CostModel(
        commission_bps=rates(30), half_spread_bps=rates(30), slippage_bps=rates(30),
        borrow_bps_per_year=rates(900), cash_bps_per_year=300.0, short_rebate_bps_per_year=100.0,
    )  # fmt: skip
    empty = np.zeros((*bars.shape, 1), dtype=np.float32)
    gone = np.maximum.accumulate(generator.random(bars.shape) < 0.01, axis=0)
    market = replace(
        MarketTensors.for_costs(bars, empty, costs),
        cost_scale=torch.tensor(generator.uniform(0.5, 3.0, n_bars)),
        dividends=torch.tensor(generator.uniform(0.0, 0.002, bars.shape)),
        delisted=torch.tensor(gone),
    )
    targets = generator.normal(0.0, 1.5 if wild else 0.5, (generator.integers(1, 40), *bars.shape))
    targets[generator.random(targets.shape) < 0.2] = np.nan
    targets[generator.random(targets.shape) < 0.1] = 0.0
    return Draw(bars, market, costs, targets)
