"""The walk under the hard gate: what is shown, what executes, what is remembered, what it cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Decision, Policy, PolicyConfig, Position, start_position, walk
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import Bars

COSTS = CostModel()
NO_REST = GateConfig(cooldown=0)


class Script(torch.nn.Module):
    """A policy that wants given weights, whatever it sees (S = 1)."""

    config = PolicyConfig()
    members = 1

    def __init__(self, *targets: tuple[float, ...]) -> None:
        super().__init__()
        self.targets, self.asked = torch.tensor(targets), 0

    def encode_bars(self, features, t):
        return features[t].unsqueeze(0)

    def decide(self, encoded, held, noise=None):
        row = self.targets[min(self.asked, len(self.targets) - 1)]
        self.asked += 1
        target = torch.where(row.isnan(), held, row.expand(held.shape))
        ones, zeros = torch.ones_like(target), torch.zeros_like(target)
        return Decision(target, target, ones, zeros, torch.zeros(*target.shape, 2))


class Desk:
    """Given probabilities per asset."""

    def __init__(self, *p: float) -> None:
        self.p = torch.tensor(p)

    def __call__(self, features, held, target):
        return self.p.expand(held.shape)


def tensors(bars: Bars) -> MarketTensors:
    return MarketTensors.from_bars(bars, np.zeros((*bars.shape, 5), dtype=np.float32))


@pytest.fixture(scope="module")
def small() -> MarketTensors:
    return tensors(random_bars(4, n_bars=30))


def go(policy, market, length=3, gate=NO_REST, **settings):
    return walk(policy, market, torch.tensor([2]), length, COSTS, gate, **settings)


def flags(column: torch.Tensor) -> list:
    return column[:, 0, 0].tolist()


def test_changes_smaller_than_the_smallest_trade_are_not_shown(small):
    gate = GateConfig(min_trade=0.05)
    walked = go(Script((0.049, 0.051, 0.0)), small, length=1, gate=gate)
    assert flags(walked.shown) == [[False, True, False]]
    assert flags(walked.executed)[0] == pytest.approx([0.0, 0.051, 0.0])


def test_the_filter_shows_what_scores_above_its_threshold(small):
    script = Script((0.2, 0.2, 0.2))
    walked = go(script, small, length=1, model=Desk(0.49, 0.5, 0.51))
    assert flags(walked.shown) == [[False, False, True]]
    walked = go(script, small, length=1, model=Desk(0.1, 0.3, 0.6), thresholds=torch.tensor([0.2]))
    assert flags(walked.shown) == [[False, True, True]]


def test_what_is_not_shown_was_not_refused(small):
    walked = go(Script((0.2, 0.2, 0.2)), small, gate=GateConfig(), model=Desk(0.0, 0.0, 0.0))
    assert not walked.end.cooldown.any()
    assert not walked.shown.any()


def test_the_decider_executes_above_one_half_and_refusals_rest(small):
    gate = GateConfig(cooldown=2)
    walked = go(Script((0.2, 0.2, 0.2)), small, 4, gate, decider=Desk(0.9, 0.5, 0.1))
    assert flags(walked.executed)[0] == pytest.approx([0.2, 0.0, 0.0])
    assert flags(walked.approval)[0] == pytest.approx([0.9, 0.5, 0.1])
    refused = [row[1:] for row in flags(walked.shown)]
    assert refused == [[True, True], [False, False], [False, False], [True, True]]


def test_without_a_decider_everything_shown_executes_and_nothing_is_scored(small):
    walked = go(Script((0.2, 0.2, 0.2)), small, length=1)
    assert flags(walked.executed)[0] == pytest.approx([0.2, 0.2, 0.2])
    assert walked.approval.isnan().all()


def test_purchases_are_scaled_to_the_cash_that_approved_sales_leave(small):
    script = Script((0.9, 0.0, 0.0), (0.0, 0.9, 0.0))
    walked = go(script, small, 2, decider=Desk(1.0, 1.0, 1.0))
    assert (walked.held[1] + walked.executed[1]).sum() <= 0.98
    keeps = go(
        Script((0.0, 0.9, 0.0)), small, 1, position=walked_to(0.9), decider=Desk(0.0, 1.0, 1.0)
    )
    assert flags(keeps.executed)[0] == pytest.approx([0.0, 0.08, 0.0], abs=1e-6)


def walked_to(weight: float) -> Position:
    """An account that holds the first asset."""
    flat = start_position(1, 1, 3, torch.float64)
    held = flat.held.clone()
    held[..., 0] = weight
    return replace(flat, held=held)


def test_a_trade_without_a_price_now_is_not_shown():
    bars = random_bars(4, n_bars=12)
    volume = bars.volume.copy()
    volume[2, 1] = 0.0
    bars = Bars(bars.dates, bars.symbols, bars.open, None, None, bars.close, volume)
    walked = go(Script((0.2, 0.2, 0.2)), tensors(bars), length=2)
    assert [row[1] for row in flags(walked.shown)] == [False, True]


def test_two_halves_are_the_whole(market):
    policy = Policy(5, PolicyConfig(hidden=8), 2, torch.Generator().manual_seed(0))
    start, gate = torch.tensor([100, 300, 500]), GateConfig()
    desk = Desk(*[0.3, 0.7] * 3)
    whole = walk(policy, market.tensors, start, 20, COSTS, gate, decider=desk)
    one = walk(policy, market.tensors, start, 8, COSTS, gate, decider=desk)
    two = walk(policy, market.tensors, start + 8, 12, COSTS, gate, decider=desk, position=one.end)
    for name in ("t", "held", "target", "shown", "executed", "approval", "log_growth"):
        joined = torch.cat([getattr(one, name), getattr(two, name)])
        assert torch.equal(joined, getattr(whole, name))
    for name in ("held", "cooldown", "entry"):
        assert torch.equal(getattr(two.end, name), getattr(whole.end, name))


def test_episodes_do_not_touch_each_other(market):
    policy = Policy(5, PolicyConfig(hidden=8), 1, torch.Generator().manual_seed(0))
    both = walk(policy, market.tensors, torch.tensor([100, 400]), 15, COSTS, GateConfig())
    alone = walk(policy, market.tensors, torch.tensor([400]), 15, COSTS, GateConfig())
    torch.testing.assert_close(both.log_growth[:, :, 1], alone.log_growth[:, :, 0])


def test_thresholds_belong_to_policies(market):
    policy = Policy(5, PolicyConfig(hidden=8), 1, torch.Generator().manual_seed(0)).select([0, 0])
    walked = walk(
        policy, market.tensors, torch.tensor([100]), 5, COSTS, GateConfig(),
        model=Desk(*[0.5] * 6), thresholds=torch.tensor([0.4, 0.6]),
    )  # fmt: skip
    assert walked.shown[:, 0].any()
    assert not walked.shown[:, 1].any()


def entry_prices(opens, closes, *targets, volume=None) -> list[float]:
    """Average entry price of one asset after each bar, from a walk that starts at bar 0 or 1."""
    n_bars = len(closes)
    bars = Bars(
        random_bars(1, n_bars=n_bars).dates, ["A"],
        np.array(opens, dtype=float)[:, None], None, None, np.array(closes, dtype=float)[:, None],
        None if volume is None else np.array(volume, dtype=float)[:, None],
    )  # fmt: skip
    script = Script(*[(target,) for target in targets])
    found, position = [], None
    for t in range(len(targets)):
        start = torch.tensor([t])
        free = CostModel(commission_bps=0, half_spread_bps=0, slippage_bps=0)
        walked = walk(script, tensors(bars), start, 1, free, NO_REST, position=position)
        position = walked.end
        found.append(float(position.entry) * closes[t + 1])
    return found


def test_the_entry_price_averages_purchases_and_keeps_after_sales():
    opens = [10, 11, 12, 14, 15, 16]
    closes = [10, 12, 13, 14, 16, 15]
    nan = float("nan")
    # Flat; buys at 11 for 10% of 1.00 at 10 each: 0.01 shares.
    assert entry_prices(opens, closes, 0.1, nan)[:2] == pytest.approx([11, 11])
    entries = entry_prices(opens, closes, 0.1, 0.3, 0.2, 0.0)
    equity = 1 + 0.01 * (12 - 11)
    more = (0.3 - 0.01 * 12 / equity) * equity / 12
    assert entries[1] == pytest.approx((0.01 * 11 + more * 12) / (0.01 + more), rel=1e-6)
    assert entries[2] == pytest.approx(entries[1], rel=1e-6)
    # Sold out: nothing is held, so the entry is the price itself.
    assert entries[3] == pytest.approx(16)


def test_a_sale_that_does_not_fill_keeps_its_entry_price():
    opens, closes = [10, 11, 12, 13], [10, 12, 12.5, 13]
    entries = entry_prices(opens, closes, 0.5, 0.0, volume=[1, 1, 0, 1])
    assert entries == pytest.approx([11, 11])


def test_progress_is_told(small):
    seen = []
    go(Script((0.2, 0.2, 0.2)), small, length=3, on_step=seen.append)
    assert seen == [1, 2, 3]
