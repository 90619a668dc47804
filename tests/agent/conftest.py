from dataclasses import dataclass

import numpy as np
import pytest
import torch

from trading_rlhf.env import MarketTensors
from trading_rlhf.market import PlantedMarket, planted_market


@dataclass(frozen=True)
class Market:
    """A planted market with its tensors."""

    planted: PlantedMarket
    tensors: MarketTensors


@pytest.fixture(scope="session")
def market() -> Market:
    """900 bars of six assets; momentum and value drive the drift."""
    planted = planted_market(np.random.default_rng(0), n_bars=900, n_assets=6)
    return Market(planted, MarketTensors.from_bars(planted.bars, planted.features))


@pytest.fixture(autouse=True)
def _own_generator_only():
    """Nothing in this room may draw from torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before)
