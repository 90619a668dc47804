"""Short positions: what they cost, what they earn, what they were sold at, how they are learned."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.agent.test_rollout import Script, entry_prices
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    start_training,
    train,
    walk,
)
from trading_rlhf.backtest import gated_backtest, run_backtest
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import Bars

NO_REST = GateConfig(cooldown=0)
FREE = CostModel(commission_bps=0, half_spread_bps=0, slippage_bps=0, borrow_bps_per_year=0)
SHORTS = PolicyConfig(hidden=8, long_only=False, tilt=2.0)
PROFIT = ProfitReward(5.0)


def bars_of(opens: list[float], closes: list[float]) -> Bars:
    columns = [np.array(prices, dtype=float)[:, None] for prices in (opens, closes)]
    dates = pd.bdate_range("2001-01-01", periods=len(closes))
    return Bars(dates, ["A"], columns[0], None, None, columns[1], None)


def go(bars: Bars, *targets: float, costs: CostModel = FREE):
    market = MarketTensors.from_bars(bars, np.zeros((*bars.shape, 5), dtype=np.float32))
    script = Script(*[(target,) for target in targets])
    return walk(script, market, torch.tensor([0]), len(targets), costs, NO_REST)


def test_a_short_earns_what_the_price_loses():
    walked = go(bars_of([10, 10, 10], [10, 9, 9]), -0.5, float("nan"))
    assert float(walked.log_growth[0].exp()) == pytest.approx(1 + 0.5 * 0.1)
    assert float(walked.held[1]) == pytest.approx(-0.45 / 1.05)


def test_a_short_pays_for_the_shares_it_borrows():
    costs = FREE.model_copy(update={"borrow_bps_per_year": 365.0})
    flat = bars_of([10] * 4, [10] * 4)
    short = go(flat, -0.5, float("nan"), float("nan"), costs=costs)
    # Sold at the open of bar 1 (Tuesday); each day until the next close costs one basis point.
    assert short.log_growth.exp().flatten().tolist() == pytest.approx([1, 1 - 5e-5, 1 - 5e-5], 1e-7)
    long = go(flat, 0.5, float("nan"), float("nan"), costs=costs)
    assert long.log_growth.flatten().tolist() == [0.0, 0.0, 0.0]


def test_the_entry_price_of_a_short_averages_sales_and_keeps_after_purchases():
    opens = [10, 11, 12, 14, 15, 16]
    closes = [10, 12, 13, 14, 16, 15]
    entries = entry_prices(opens, closes, -0.1, -0.3, -0.2, 0.0)
    # 0.01 shares sold at 11; equity at the next close is 1 - 0.01 (12 - 11).
    equity = 1 - 0.01 * (12 - 11)
    more = (0.3 - 0.01 * 12 / equity) * equity / 12
    assert entries[0] == pytest.approx(11)
    assert entries[1] == pytest.approx((0.01 * 11 + more * 12) / (0.01 + more), rel=1e-6)
    assert entries[2] == pytest.approx(entries[1], rel=1e-6)
    assert entries[3] == pytest.approx(16)


def test_an_order_through_zero_has_the_entry_price_of_the_new_side():
    opens, closes = [10, 11, 12, 14], [10, 12, 13, 14]
    assert entry_prices(opens, closes, 0.2, -0.2, 0.3) == pytest.approx([11, 12, 14])


def policy(seed: int = 0) -> Policy:
    return Policy(5, SHORTS, 1, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def learned(market) -> Policy:
    made = policy()
    config = TrainConfig(iterations=60, horizon=8, batch=24, learning_rate=1e-2)
    training = start_training(made, config, torch.Generator().manual_seed(1))
    train(training, market.tensors, range(600), CostModel(), config, PROFIT)
    return made


def test_it_learns_to_sell_what_will_fall(learned, market):
    """Out of sample, longs and shorts both, and more than before the training."""

    def reward(made: Policy) -> float:
        walked = walk(made, market.tensors, torch.tensor([620]), 270, CostModel(), GateConfig())
        return float(PROFIT(walked.log_growth, walked.executed, None).mean()) * 1e4

    assert reward(learned) - reward(policy()) > 1.0
    walked = walk(learned, market.tensors, torch.tensor([620]), 270, CostModel(), GateConfig())
    assert 0.1 < float((walked.held < -0.01).double().mean()) < 0.9
    assert (walked.held.abs().sum(-1) < 1.2).all()


def test_dear_loans_make_it_sell_less_short(market):
    """Training goes through the borrow fee."""
    shorts = []
    for fee in (0.0, 20_000.0):
        made, costs = policy(), CostModel(borrow_bps_per_year=fee)
        config = TrainConfig(iterations=40, horizon=8, batch=16, learning_rate=1e-2)
        training = start_training(made, config, torch.Generator().manual_seed(1))
        train(training, market.tensors, range(600), costs, config, PROFIT)
        walked = walk(made, market.tensors, torch.tensor([0]), 600, costs, GateConfig())
        shorts.append(float((-walked.held).clamp(min=0).sum(-1).mean()))
    assert shorts[1] < 0.5 * shorts[0]


def test_a_refused_short_rests_while_the_other_side_does_not(market):
    class SellsRefused:
        def __call__(self, features, held, target):
            return (target > held).float()

    walked = walk(
        policy(), market.tensors, torch.tensor([100]), 60, CostModel(), GateConfig(cooldown=5),
        decider=SellsRefused(),
    )  # fmt: skip
    assert walked.shown.any()
    assert (walked.executed >= 0).all()
    sold = walked.shown & (walked.target < walked.held)
    # Once refused, an asset's sale is not shown again for five bars.
    for bar in range(1, 60):
        again = sold[bar] & sold[max(0, bar - 5) : bar].any(0)
        assert not again.any()


def test_a_walk_with_shorts_is_the_backtest_of_its_orders(learned, market):
    """One law: the same targets through the engine give the same equity."""
    costs = CostModel(borrow_bps_per_year=500.0)
    gate = GateConfig(cooldown=0, min_trade=0.0)
    walked = walk(learned, market.tensors, torch.tensor([100]), 200, costs, gate)
    targets = np.full((200 + 1, 6), np.nan)
    targets[:200] = walked.target[:, 0, 0]
    bars = market.planted.bars.window(100, 301)
    result = run_backtest(bars, targets, costs, max_gross=SHORTS.max_gross)
    expected = walked.log_growth[:, 0, 0].cumsum(0).exp()
    np.testing.assert_allclose(np.asarray(result.equity).ravel()[1:], expected, rtol=1e-9)


def test_the_gated_backtest_walks_what_its_compiled_loop_does_not_know(learned, market):
    start = torch.tensor([100])
    result = gated_backtest(
        market.tensors, learned, CostModel(), GateConfig(), start=start, length=50
    )
    walked = walk(learned, market.tensors, start, 50, CostModel(), GateConfig())
    assert result.engine == "torch walk on cpu"
    growth = walked.log_growth.sum(0).exp()
    torch.testing.assert_close(result.equity[..., -1], growth)
