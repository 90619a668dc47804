"""Env, backtest, walk and paper broker move money alike."""

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy, PolicyConfig, walk
from trading_rlhf.backtest import run_backtest
from trading_rlhf.broker import Order, PaperBroker, client_order_id
from trading_rlhf.env import GateConfig, MarketTensors, VectorMarketEnv
from trading_rlhf.market import Bars, compute_features, load_sample, session_close, session_open

FIRST, LAST = 1300, 1380


@pytest.fixture(scope="module")
def bars() -> Bars:
    """A stretch of us4 over the split of 2005-02-28 in which all four trade."""
    return load_sample("us4").window(FIRST - 200, LAST)


@pytest.fixture(scope="module")
def traded(bars: Bars):
    """Changes that a random policy orders, and the equity that the walk reports."""
    market = MarketTensors.from_bars(bars, compute_features(bars))
    policy = Policy(5, PolicyConfig(), 1, torch.Generator().manual_seed(4))
    start = torch.tensor([150])
    length = bars.shape[0] - 151
    return walk(policy, market, start, length, CostModel(), GateConfig(cooldown=0))


def test_walk_equals_backtest(bars: Bars, traded) -> None:
    targets = np.full(bars.shape, np.nan)
    wanted = (traded.held + traded.executed)[:, 0, 0].numpy()
    ordered = traded.executed[:, 0, 0].numpy() != 0
    targets[150:-1] = np.where(ordered, wanted, np.nan)
    equity = run_backtest(bars, targets, CostModel()).equity[0]
    expected = np.exp(np.cumsum(traded.log_growth[:, 0, 0].numpy()))
    np.testing.assert_allclose(equity[151:], expected, rtol=1e-12)


def test_env_equals_backtest(bars: Bars, traded) -> None:
    env = VectorMarketEnv(bars, CostModel(), 1, features=compute_features(bars), first_bar=150)
    env.reset(seed=0, options={"start": 150})
    curve = []
    for row in range(traded.held.shape[0]):
        target = traded.held[row, 0] + traded.executed[row, 0]
        still = traded.executed[row, 0] == 0
        _, _, _, _, info = env.step(torch.where(still, torch.nan, target))
        curve.append(float(info["equity"][0]))
    expected = np.exp(np.cumsum(traded.log_growth[:, 0, 0].numpy()))
    np.testing.assert_allclose(curve, expected, rtol=1e-12)


def test_paper_broker_equals_backtest(bars: Bars, traded) -> None:
    broker = PaperBroker(CostModel(), 1e6)
    broker.advance(bars, 150)
    curve = []
    for row in range(traded.held.shape[0]):
        t = 150 + row
        for column, symbol in enumerate(bars.symbols):
            change = float(traded.executed[row, 0, 0, column])
            if change:
                broker.submit(_order(bars, t, symbol, change * broker.account().equity))
        broker.advance(bars, t + 1)
        curve.append(broker.account().equity / 1e6)
    expected = np.exp(np.cumsum(traded.log_growth[:, 0, 0].numpy()))
    np.testing.assert_allclose(curve, expected, rtol=1e-12)


def _order(bars: Bars, t: int, symbol: str, dollars: float) -> Order:
    price = float(bars.raw_close[t, bars.symbols.index(symbol)])
    decided = session_close(bars.dates[t])
    return Order(
        client_order_id=client_order_id("paper", "law", decided, symbol, 0),
        symbol=symbol,
        side="buy" if dollars > 0 else "sell",
        shares=abs(dollars) / price,
        price=price,
        known_at=decided,
        valid_until=session_open(bars.dates[t + 1]),
        proposal_id=f"{symbol}-{t}",
    )
