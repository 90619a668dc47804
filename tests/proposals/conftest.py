from dataclasses import dataclass

import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy, PolicyConfig
from trading_rlhf.market import (
    DEFAULT_FEATURES,
    Bars,
    compute_features,
    default_registry,
    load_sample,
)
from trading_rlhf.proposals import Book, ProposalMaker

COSTS = CostModel(commission_bps=4.0, half_spread_bps=2.0, slippage_bps=3.0)


@dataclass(frozen=True)
class Desk:
    """Bars with an untrained policy that proposes trades on them."""

    bars: Bars
    features: torch.Tensor
    policy: Policy
    maker: ProposalMaker


def make_desk(bars: Bars, **changes) -> Desk:
    features = torch.tensor(compute_features(bars))
    policy = Policy(5, PolicyConfig(hidden=8), 1, torch.Generator().manual_seed(1))
    parts = {
        "market_name": "us4",
        "bars": bars,
        "features": features,
        "feature_names": DEFAULT_FEATURES,
        "registry": default_registry(),
        "policy": policy,
        "policy_id": "0123456789abcdef",
        "costs": COSTS,
        "min_trade": 0.002,
    }
    return Desk(bars, features, policy, ProposalMaker(**{**parts, **changes}))


@pytest.fixture(scope="session")
def us4() -> Bars:
    """A stretch of us4 in which all four trade; AAPL split on 2005-02-28."""
    bars = load_sample("us4")
    start = bars.dates.searchsorted("2004-09-01")
    return bars.window(start, start + 170)


@pytest.fixture(scope="session")
def desk(us4: Bars) -> Desk:
    return make_desk(us4)


@pytest.fixture(scope="session")
def make():
    """A desk on other bars or with other settings."""
    return make_desk


@pytest.fixture
def book() -> Book:
    return Book(
        torch.tensor([0.3, 0.0, 0.4, 0.05], dtype=torch.float64),
        torch.tensor([0.8, 1.0, 1.25, 1.0], dtype=torch.float64),
        50_000.0,
    )
