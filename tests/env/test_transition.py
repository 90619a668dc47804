"""The step as a pure function: it never waits for its device, compiles whole, draws its starts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel, ImpactModel
from trading_rlhf.env import (
    Accounts,
    ConstraintConfig,
    GateConfig,
    MarketTensors,
    ObjectiveConfig,
    Orders,
    Rules,
    Transition,
    transition,
)
from trading_rlhf.env.accounts import fresh_accounts, next_starts

N_BARS, N_ENVS = 30, 4


def moods(features, held, target):
    """A desk of many minds."""
    return (31.7 * target + 17.3 * held).sin() * 0.5 + 0.5


RULES = {
    "plain": {},
    "desk": {"desk": moods},
    "slow desk": {"desk": moods, "gate": GateConfig(delay=2, answer_rate=0.7, resize_steps=3)},
    "soft desk": {"desk": moods, "gate": GateConfig(delay=1), "soft_gate": True},
    "objective": {"objective": ObjectiveConfig(variance=5.0), "limits": ConstraintConfig()},
    "impact": {"costs": CostModel(impact=ImpactModel())},
}


def rules_of(settings: dict) -> Rules:
    base = Rules(CostModel(), GateConfig(), 0.98, 6, 0, N_BARS - 7)
    return replace(base, **settings)


def market_of(rules: Rules, device: str = "cpu") -> MarketTensors:
    bars = random_bars(4, N_BARS, holes=True)
    features = np.zeros((*bars.shape, 2), dtype=np.float32)
    market = MarketTensors.for_costs(bars, features, rules.costs, device)
    if device == "meta":
        # Whether anything is delisted is asked once, when the environment is made.
        market.__dict__["delists"] = True
    return market


def accounts_of(device: str = "cpu") -> Accounts:
    start = torch.tensor([0, 5, 9, 20], device=device)
    return fresh_accounts(start, start + 77, 3, torch.float64)


def tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Accounts | Orders | Transition):
        return [x for part in vars(value).values() for x in tensors(part)]
    return []


@pytest.mark.parametrize("name", RULES)
def test_a_step_neither_waits_for_its_device_nor_leaves_it(name):
    """On a device without data a number cannot be looked at, nor one from elsewhere mixed in."""
    rules = rules_of(RULES[name])
    accounts = accounts_of("meta")
    target = torch.empty(N_ENVS, 3, dtype=torch.float64, device="meta")
    answered = torch.empty(N_ENVS, 3, dtype=torch.bool, device="meta")
    moved = transition(market_of(rules, "meta"), rules, accounts, target, answered)
    assert {x.device.type for x in tensors(moved)} == {"meta"}
    before, after = tensors(accounts), tensors(moved.accounts)
    assert [(x.shape, x.dtype) for x in after] == [(x.shape, x.dtype) for x in before]


def test_the_compiled_step_is_the_step():
    """Whole, without a break: what a device runs in one go."""
    rules = rules_of(RULES["slow desk"])
    market = market_of(rules)
    assert market.delists in (True, False)
    compiled = torch.compile(transition, fullgraph=True, backend="aot_eager")
    one = other = accounts_of()
    generator, held = torch.Generator().manual_seed(0), 0.0
    for _ in range(8):
        target = torch.rand(N_ENVS, 3, generator=generator, dtype=torch.float64)
        answered = torch.rand(N_ENVS, 3, generator=generator) < 0.7
        moved = transition(market, rules, one, target, answered)
        same = compiled(market, rules, other, target, answered)
        for a, b in zip(tensors(moved), tensors(same), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-14)
        one, other = moved.accounts, same.accounts
        held += float(one.held.sum())
    assert held > 0


def test_starts_are_spread_evenly_and_accounts_draw_their_own():
    stream = torch.randint(1, 2**31 - 1, (5000,), generator=torch.Generator().manual_seed(3))
    seen = []
    for _ in range(4):
        start, stream = next_starts(stream, 10, 19)
        seen.append(start)
    counts = torch.stack(seen).flatten().bincount(minlength=20)
    assert not counts[:10].any()
    assert len(counts) == 20
    # 20000 draws over 10 bars: five standard deviations around 2000.
    assert (counts[10:] - 2000).abs().max() < 5 * (2000 * 0.9) ** 0.5
    pairs = (seen[0] - 10) * 10 + (seen[1] - 10)
    assert (pairs.bincount(minlength=100) - 50).abs().max() < 5 * 50**0.5
    alike = (seen[0][:-1] == seen[0][1:]).float().mean()
    assert float(alike) == pytest.approx(0.1, abs=0.03)


def test_the_last_bar_of_a_range_and_a_range_of_one_bar_can_be_drawn():
    top = torch.tensor([2**31 - 2, 1, 5])
    assert next_starts(top, 7, 7)[0].tolist() == [7, 7, 7]
    # The states that lead to the smallest and the largest number.
    least = torch.tensor([pow(48271, -1, 2**31 - 1), (2**31 - 2) * pow(48271, -1, 2**31 - 1)])
    assert next_starts(least % (2**31 - 1), 0, 9)[0].tolist() == [0, 9]


def test_only_finished_accounts_restart():
    rules = rules_of({"gate": GateConfig(delay=5), "desk": moods})
    market, accounts = market_of(rules), accounts_of()
    target = torch.full((N_ENVS, 3), 0.3, dtype=torch.float64)
    accounts = transition(market, rules, accounts, target).accounts
    assert accounts.orders.pending.all(-1).any()
    done = torch.tensor([True, False, True, False])
    accounts = replace(accounts, done=done)
    moved = transition(market, rules, accounts, target)
    after = moved.accounts
    for name in ("held", "cooldown"):
        assert not getattr(after, name)[done].any()
    assert not after.orders.pending[done].any()
    assert after.orders.pending[~done].any()
    assert (after.stream != accounts.stream).tolist() == done.tolist()
    assert after.t[done].tolist() == after.start[done].tolist()
    assert (after.t - accounts.t)[~done].tolist() == [1, 1]
    assert not after.done.any()
    assert not moved.reward[done].any()


def test_equity_in_dollars_scales_what_impact_costs():
    """The same weights cost more in a large account."""
    growths = []
    for capital in (1e4, 1e6, 1e8):
        rules = rules_of({**RULES["impact"], "capital": capital})
        target = torch.full((N_ENVS, 3), 0.05, dtype=torch.float64)
        moved = transition(market_of(rules), rules, accounts_of(), target)
        growths.append(float(moved.accounts.equity[-1]))
    # The largest account is held back by the participation cap.
    assert growths[0] > growths[1]
    assert len({*growths, 1.0}) == 4
