"""Orders under review, against a ledger that keeps each as a number of shares."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.env import (
    MarketTensors,
    Orders,
    advance,
    carry,
    is_due,
    is_new,
    no_orders,
    place,
    remove,
    wanted_order,
)

N_BARS = 25


def orders(pending: list[float], wait: float = 2.0) -> Orders:
    amount = torch.tensor(pending, dtype=torch.float64)
    waits = torch.where(amount != 0, wait, 0.0)
    return Orders(amount, waits, torch.where(amount != 0, 1.0, 0.0))


def put(now: Orders, target: list[float], min_trade: float = 0.0, delay: int = 3) -> Orders:
    """One close of accounts that hold 0.2 of everything."""
    wanted = torch.tensor(target, dtype=torch.float64)
    wanted = wanted_order(now, torch.full_like(wanted, 0.2), wanted)
    return place(now, wanted, is_new(now, wanted, min_trade), 1.0, delay, min_trade)


class Ledger:
    """One account by hand: prices, shares, and a dictionary of orders."""

    def __init__(self, close: np.ndarray, delay: int, min_trade: float, expiry: int) -> None:
        self.close, self.delay, self.min_trade, self.expiry = close, delay, min_trade, expiry
        self.waiting: dict[int, tuple[float, int]] = {}

    def decide(self, t: int, held, equity: float, target, answers) -> dict[int, float]:
        """Weights to trade at the open of t+1, by asset."""
        for asset, goal in enumerate(target):
            if np.isnan(goal):
                continue
            price = self.close[t, asset]
            wish = (goal - held[asset]) * equity / price
            size = abs(wish) * price / equity
            shares, since = self.waiting.get(asset, (0.0, t))
            if abs(wish - shares) * price / equity < self.min_trade:
                continue
            if shares * wish > 0 and size >= self.min_trade:
                smaller = min(abs(shares), abs(wish))
                self.waiting[asset] = (np.copysign(smaller, shares), since)
                continue
            self.waiting.pop(asset, None)
            if size >= self.min_trade and wish != 0 and shares * wish <= 0:
                self.waiting[asset] = (wish, t)
        out = {}
        for asset, (shares, since) in list(self.waiting.items()):
            if t - since >= self.delay and answers[asset]:
                out[asset] = shares * self.close[t, asset] / equity
                del self.waiting[asset]
            elif t - since >= self.expiry:
                del self.waiting[asset]
        return out


@given(
    seed=st.integers(0, 10_000),
    delay=st.integers(0, 4),
    min_trade=st.sampled_from([0.0, 0.01, 0.05]),
    late=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_orders_are_those_of_a_ledger_in_shares(seed, delay, min_trade, late):
    generator = np.random.default_rng(seed)
    bars = random_bars(seed, N_BARS)
    market = MarketTensors.from_bars(bars, np.zeros((*bars.shape, 1), dtype=np.float32))
    ledger = Ledger(bars.close, delay, min_trade, expiry=delay + 1)
    held, equity = torch.zeros(1, 3, dtype=torch.float64), 1.0
    now, target = no_orders(held), torch.zeros(3, dtype=torch.float64)
    for t in range(N_BARS - 1):
        moved = torch.as_tensor(generator.random(3) < 0.4)
        target = torch.where(moved, torch.as_tensor(generator.uniform(-0.3, 0.4, 3)), target)
        asked = torch.where(torch.as_tensor(generator.random(3) < 0.1), torch.nan, target)
        answers = generator.random(3) < 0.5 if late else np.ones(3, dtype=bool)
        expected = ledger.decide(t, held[0].numpy(), equity, asked.numpy(), answers)
        wanted = wanted_order(now, held, asked)
        now = place(now, wanted, is_new(now, wanted, min_trade), 1.0, delay, min_trade)
        due = is_due(now, torch.as_tensor(answers))
        change = torch.where(due, now.pending, 0.0)
        assert due[0].nonzero().flatten().tolist() == sorted(expected)
        for asset, weight in expected.items():
            assert float(change[0, asset]) == pytest.approx(weight, rel=1e-11)
        held, growth = advance(market, torch.tensor([t]), held, change, CostModel())
        now = carry(remove(now, due), market, torch.tensor([t]), growth, oldest=-1)
        equity *= float(growth)


def test_the_newest_target_shrinks_withdraws_or_supersedes():
    now = orders([0.1, 0.1, 0.1, 0.1, -0.1, 0.0])
    later = put(now, [0.25, 0.2, 0.15, 0.1, 0.18, 0.4], min_trade=0.01)
    assert later.pending.tolist() == pytest.approx([0.05, 0.0, -0.05, -0.1, -0.02, 0.2])
    # Only orders that begin wait from the beginning.
    assert later.wait[[0, 2, 3, 4, 5]].tolist() == [2, 3, 3, 2, 3]


def test_a_wish_for_more_waits_for_the_answer():
    """Otherwise targets that move every bar would begin their review every bar, and never fill."""
    now = orders([0.1, -0.1])
    later = put(now, [0.5, -0.3])
    assert later.pending.tolist() == [0.1, -0.1]
    assert later.wait.tolist() == [2, 2]


def test_nan_and_less_than_the_smallest_trade_leave_an_order_as_it_is():
    now = orders([0.1, 0.1, 0.1])
    later = put(now, [float("nan"), 0.2951, 0.3049], min_trade=0.005)
    assert torch.equal(later.pending, now.pending)
    assert put(now, [float("nan"), 0.2949, 0.3051], 0.005).pending.tolist() == pytest.approx(
        [0.1, 0.0949, 0.1]
    )


def test_targets_that_move_every_bar_still_fill():
    held, now, filled = torch.zeros(1, dtype=torch.float64), orders([0.0]), []
    for t in range(9):
        wanted = wanted_order(now, held, torch.tensor([0.1 + 0.01 * t], dtype=torch.float64))
        now = place(now, wanted, is_new(now, wanted), 1.0, 2)
        due = is_due(now)
        filled.append(float(torch.where(due, now.pending, 0.0)))
        held = held + filled[-1]
        now = remove(now, due)
        now = Orders(now.pending, now.wait - 1, now.share)
    assert filled == pytest.approx([0, 0, 0.1, 0, 0, 0.03, 0, 0, 0.03])


def test_ruin_cancels_what_waits():
    bars = random_bars(1, 5)
    market = MarketTensors.from_bars(bars, np.zeros((5, 3, 1), dtype=np.float32))
    now = carry(orders([0.1, 0.2, 0.3]), market, torch.tensor(0), torch.tensor(0.0))
    assert not now.pending.any()
    assert not now.wait.any()


def test_gradients_reach_the_decision_through_the_wait():
    bars = random_bars(1, 5)
    market = MarketTensors.from_bars(bars, np.zeros((5, 3, 1), dtype=np.float32))
    target = torch.tensor([0.3, 0.2, 0.1], dtype=torch.float64, requires_grad=True)
    held = torch.zeros(3, dtype=torch.float64)
    now = no_orders(held)
    wanted = wanted_order(now, held, target)
    now = place(now, wanted, is_new(now, wanted), 1.0, 1)
    now = carry(now, market, torch.tensor(0), torch.tensor(1.01, dtype=torch.float64))
    now.pending.sum().backward()
    moved = bars.close[1] / bars.close[0] / 1.01
    assert target.grad.tolist() == pytest.approx(moved.tolist())
