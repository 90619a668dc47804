"""The compiled step is the step: same money, same bars, same ends, in both precisions."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel, ShareCommission
from trading_rlhf.env import (
    Accounts,
    GateConfig,
    MarketTensors,
    ObjectiveConfig,
    Rules,
    Transition,
    VectorMarketEnv,
    transition,
)
from trading_rlhf.env.accounts import fresh_accounts
from trading_rlhf.env.fused import fused_transition, fuses, step_market

N_BARS, N_ASSETS, LENGTH = 60, 3, 7
EXACT, NEAR = 1e-12, 1e-5
COSTS = CostModel(
    commission_bps=(0.0, 3.0, 8.0),
    half_spread_bps=(1.0, 20.0, 0.0),
    slippage_bps=2.0,
    borrow_bps_per_year=(50.0, 0.0, 900.0),
    margin_bps_per_year=700.0,
    cash_bps_per_year=300.0,
    short_rebate_bps_per_year=40.0,
    delisting_haircut=0.4,
)


def market_of(seed: int, dtype=torch.float64, volatility: float = 0.03) -> MarketTensors:
    """Gaps, missing bars, delistings and costs that drift."""
    bars = random_bars(seed, N_BARS, N_ASSETS, holes=True, volatility=volatility)
    features = np.zeros((*bars.shape, 1), dtype=np.float32)
    market = MarketTensors.from_bars(bars, features)
    generator = np.random.default_rng(seed)
    gone = torch.tensor(generator.random(bars.shape) < 0.04)
    drift = torch.tensor(generator.uniform(0.2, 3.0, N_BARS))
    return replace(market, delisted=gone, cost_scale=drift).to(dtype)


def rules_of(**changes) -> Rules:
    return replace(Rules(COSTS, GateConfig(), 0.98, LENGTH, 0, N_BARS - 1 - LENGTH), **changes)


def accounts_of(seed: int, n_envs: int, dtype=torch.float64) -> Accounts:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(0, N_BARS - LENGTH, (n_envs,), generator=generator)
    stream = torch.randint(1, 2**31 - 1, (n_envs,), generator=generator)
    return fresh_accounts(start, stream, N_ASSETS, dtype)


def targets_of(seed: int, held: torch.Tensor, size: float) -> torch.Tensor:
    """Buys, sells, flips, resizes of what is held, closings and holds."""
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> torch.Tensor:
        return torch.rand(held.shape, generator=generator, dtype=held.dtype)

    kind = uniform()
    target = (uniform() * 2 - 1) * size
    target = torch.where(kind < 0.3, held * uniform() * 1.5, target)
    target = torch.where(kind < 0.15, 0.0, target)
    return torch.where(kind < 0.1, torch.nan, target)


def tensors(moved: Transition, before: Accounts) -> dict[str, torch.Tensor]:
    """All of a step, money as a fraction of the account's gross worth before it.

    Near ruin a weight divides by nearly nothing, so weights are compared as worth.
    """
    accounts = {f.name: getattr(moved.accounts, f.name) for f in fields(Accounts)}
    orders, held = vars(accounts.pop("orders")), accounts.pop("held")
    gross = 1.0 + before.held.abs().sum(-1)
    growth = moved.reward.exp() / gross
    return {
        **accounts, **orders, "growth": growth, "worth": held * growth.unsqueeze(-1),
        "executed": moved.executed / gross.unsqueeze(-1),
        "terminated": moved.terminated, "truncated": moved.truncated,
    }  # fmt: skip


def assert_same(fast: Transition, slow: Transition, before: Accounts, tolerance: float) -> None:
    got = tensors(fast, before)
    for name, expected in tensors(slow, before).items():
        least = tolerance if expected.is_floating_point() else 0.0
        value = got[name].to(expected.dtype)
        torch.testing.assert_close(value, expected, rtol=least, atol=least, msg=name)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_envs=st.sampled_from([1, 31, 33, 70]),
    size=st.sampled_from([0.3, 1.5, 6.0]),
    volatility=st.sampled_from([0.02, 0.3]),
)
def test_every_step_equals_the_reference(seed, n_envs, size, volatility):
    market, rules = market_of(seed, volatility=volatility), rules_of(max_gross=3.0)
    table, accounts = step_market(market, rules), accounts_of(seed, n_envs)
    for step in range(2 * LENGTH + 3):
        target = targets_of(seed + step, accounts.held, size)
        slow = transition(market, rules, accounts, target)
        assert_same(fused_transition(table, accounts, target), slow, accounts, EXACT)
        accounts = slow.accounts


def test_the_fuzz_meets_what_it_is_for():
    """Ruin, ends, restarts, delistings, shorts and leverage all happen in the draws above."""
    market, rules = market_of(1, volatility=0.3), rules_of(max_gross=3.0)
    accounts, seen = accounts_of(1, 70), dict.fromkeys(("ruin", "end", "again", "gone", "debt"), 0)
    for step in range(2 * LENGTH + 3):
        slow = transition(market, rules, accounts, targets_of(step, accounts.held, 6.0))
        held = (accounts.held != 0) & ~accounts.done.unsqueeze(-1)
        seen["gone"] += int((held & market.delisted[slow.accounts.t]).sum())
        seen["again"] += int(accounts.done.sum())
        seen["ruin"] += int(slow.terminated.sum())
        seen["end"] += int(slow.truncated.sum())
        seen["debt"] += int((slow.accounts.held.clamp(min=0).sum(-1) > 1).sum())
        accounts = slow.accounts
    assert min(seen.values()) > 3, seen


def test_single_precision_stays_near_over_episodes():
    market, rules = market_of(5), rules_of()
    table, single = step_market(market.to(torch.float32), rules), accounts_of(5, 40, torch.float32)
    double = accounts_of(5, 40)
    for step in range(3 * LENGTH):
        target = targets_of(step, torch.zeros_like(double.held), 0.5)
        slow = transition(market, rules, double, target)
        fast = fused_transition(table, single, target.float())
        assert fast.reward.dtype == fast.accounts.held.dtype == torch.float32
        assert_same(fast, slow, double, NEAR)
        double, single = slow.accounts, fast.accounts


def test_holding_orders_nothing_at_all():
    market, rules = market_of(3), rules_of()
    table, accounts = step_market(market, rules), accounts_of(3, 33)
    accounts = fused_transition(table, accounts, targets_of(3, accounts.held, 1.0)).accounts
    for target in (torch.full_like(accounts.held, torch.nan), accounts.held):
        assert int(fused_transition(table, accounts, target).executed.count_nonzero()) == 0


def test_a_step_changes_nothing_that_it_was_given():
    market, rules = market_of(3), rules_of()
    table, accounts = step_market(market, rules), accounts_of(3, 33)
    accounts = fused_transition(table, accounts, targets_of(3, accounts.held, 1.0)).accounts
    before = {name: value.clone() for name, value in vars(accounts).items() if name != "orders"}
    target = targets_of(4, accounts.held, 1.0)
    wanted = target.clone()
    fused_transition(table, accounts, target)
    torch.testing.assert_close(target, wanted, rtol=0, atol=0, equal_nan=True)
    for name, value in before.items():
        assert torch.equal(getattr(accounts, name), value), name


def test_other_rules_are_left_to_the_reference():
    market = market_of(2)
    assert fuses(market, rules_of())
    unknown = {
        "gate": GateConfig(delay=1),
        "desk": lambda features, held, target: target * 0 + 1,
        "objective": ObjectiveConfig(),
        "costs": CostModel(cash_account=True),
    }
    for name, value in unknown.items():
        assert not fuses(market, rules_of(**{name: value})), name
    in_usd = CostModel(share_commission=ShareCommission())
    assert not fuses(market, rules_of(costs=in_usd))
    assert not fuses(replace(market, dividends=market.overnight), rules_of())


def make_env(bars, features, dtype, observation="handle") -> VectorMarketEnv:
    env = VectorMarketEnv(
        bars, COSTS, 40, episode_length=LENGTH, features=features, long_only=False, dtype=dtype,
        observation=observation,
    )  # fmt: skip
    env.reset(seed=3)
    return env


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, NEAR)])
def test_the_environment_steps_alike_with_and_without_it(bars, features, dtype, tolerance):
    fast, slow = make_env(bars, features, dtype), make_env(bars, features, dtype, "full")
    assert fast.is_fused
    assert not slow.is_fused
    assert fast.single_action_space == slow.single_action_space
    for step in range(3 * LENGTH):
        actions = targets_of(step, torch.zeros_like(fast.accounts.held), 0.6)
        got, expected = fast.step(actions), slow.step(actions)
        torch.testing.assert_close(
            fast.gather(got[0]), expected[0], rtol=NEAR, atol=NEAR, equal_nan=True
        )
        torch.testing.assert_close(got[1], expected[1], rtol=tolerance, atol=tolerance)
        for one, other in zip(got[2:4], expected[2:4], strict=True):
            assert torch.equal(one, other)
        assert got[4].keys() == expected[4].keys()
        for name in ("t", "equity", "executed"):
            torch.testing.assert_close(
                got[4][name], expected[4][name], rtol=tolerance, atol=tolerance, msg=name
            )
    assert all(fast.observation_space["held"].contains(x) for x in (fast.accounts.held.numpy(),))


def test_gradients_take_the_slow_path(bars, features):
    env = make_env(bars, features, torch.float64)
    actions = torch.full((40, 3), 0.2, dtype=torch.float64, requires_grad=True)
    _, reward, *_ = env.step(actions)
    reward.sum().backward()
    assert actions.grad is not None
    assert bool((actions.grad != 0).any())
