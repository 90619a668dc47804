"""Env, backtest, walk and paper broker move money alike."""

import numpy as np
import pytest
import torch

from tests.laws.random_bars import eventful_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.agent import Policy, PolicyConfig, walk
from trading_rlhf.backtest import run_backtest
from trading_rlhf.broker import Order, PaperBroker, client_order_id
from trading_rlhf.env import GateConfig, MarketTensors, TradingEnv, VectorMarketEnv
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


RULES = CostModel(
    commission_bps=(1.0, 4.0, 2.0),
    borrow_bps_per_year=(50.0, 400.0, 100.0),
    share_commission=ShareCommission(),
    impact=ImpactModel(),
    whole_shares=True,
    cash_account=True,
)


@pytest.mark.parametrize("costs", [CostModel(cash_bps_per_year=100.0), RULES], ids=["plain", "all"])
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_the_same_actions_have_the_same_equity_everywhere(delay: int, costs: CostModel) -> None:
    """Single env, vector env and backtest: gaps, holes, delistings, review delay and every rule."""
    bars = eventful_bars(12, 60, 3)
    features = np.zeros((*bars.shape, 1), dtype=np.float32)
    # The second asset lists late; orders in it are held back until it has a price.
    targets = np.random.default_rng(4).uniform(-0.6, 0.9, (3, *bars.shape))
    targets[:, np.random.default_rng(5).random(60) < 0.4] = np.nan
    targets[:, ~np.logical_or.accumulate(bars.tradable, axis=0)] = np.nan
    result = run_backtest(bars, targets, costs, max_gross=1.2, delay=delay, equity_usd=2e6)
    settings = {
        "features": features, "first_bar": 0, "max_gross": 1.2, "long_only": False,
        "gate": GateConfig(delay=delay), "capital": 2e6,
    }  # fmt: skip
    batch = VectorMarketEnv(bars, costs, 3, **settings)
    batch.reset(seed=0, options={"start": 0})
    curves = [torch.ones(3, dtype=torch.float64)]
    for t in range(59):
        curves.append(batch.step(torch.tensor(targets[:, t]))[4]["equity"])
    np.testing.assert_allclose(torch.stack(curves, 1), result.equity, rtol=1e-12)
    assert np.abs(result.equity[:, -1] - 1.0).min() > 1e-3

    single = TradingEnv(bars, costs, **settings)
    single.reset(seed=0, options={"start": 0})
    curve = [single.step(targets[1, t])[4]["equity"] for t in range(59)]
    np.testing.assert_allclose(curve, result.equity[1, 1:], rtol=1e-12)
