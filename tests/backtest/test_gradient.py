"""The derivative written by hand against torch's own through the reference."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.backtest.market_draws import Draw, draw
from trading_rlhf.accounting import settle
from trading_rlhf.backtest.fused import market_table
from trading_rlhf.backtest.gradient import backtest_growth
from trading_rlhf.env.dynamics import advance
from trading_rlhf.errors import AccountingError


def reference(case: Draw, targets: Tensor, max_gross: float | None) -> Tensor:
    held, rows = torch.zeros_like(targets[:, 0]), []
    for t in range(targets.shape[1] - 1):
        change = torch.where(targets[:, t].isnan(), 0.0, targets[:, t] - held)
        if max_gross is not None:
            change = settle(held, change, max_gross) - held
        held, growth = advance(case.market, torch.tensor(t), held, change, case.costs)
        rows.append(growth)
    return torch.stack(rows, 1)


def undivided(case: Draw, targets: Tensor, max_gross: float | None) -> Tensor:
    """The reference in equity of the close before, where a closed position is exactly zero."""
    market, costs = case.market, case.costs
    assert market.dividends is not None
    assert market.delisted is not None
    assert market.cost_scale is not None
    held, rows = torch.zeros_like(targets[:, 0]), []
    for t in range(targets.shape[1] - 1):
        now, opens, gone = t + 1, 1.0 + market.overnight[t + 1], market.delisted[t + 1]
        order = torch.where(targets[:, t].isnan(), 0.0, targets[:, t] - held)
        if max_gross is not None:
            order = settle(held, order, max_gross) - held
        order = torch.where(market.fillable[now] & ~gone, order, 0.0)
        worth = torch.where(gone, 0.0, held + order) * opens
        carry = costs.accrual(held, market.days[now])
        paid = (costs.rate(order) * order.abs() * opens).sum(-1) * market.cost_scale[now]
        lost = (held.abs() * opens * gone).sum(-1) * costs.delisting_haircut
        night = (held * (market.overnight[now] + market.dividends[now])).sum(-1) - carry
        growth = 1.0 + night + (worth * market.intraday[now]).sum(-1) - paid - lost
        held = worth * (1.0 + market.intraday[now]) / growth.unsqueeze(-1)
        rows.append(growth)
    return torch.stack(rows, 1)


def gradients(
    case: Draw,
    max_gross: float | None,
    law: Callable[[Draw, Tensor, float | None], Tensor] = reference,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Growth and torch's gradient of the law, then ours, for the same random slopes."""
    first = torch.tensor(case.targets, requires_grad=True)
    expected = law(case, first, max_gross)
    slope = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).double()
    expected.backward(slope)
    second = torch.tensor(case.targets, requires_grad=True)
    found = backtest_growth(market_table(case.market, case.costs), second, max_gross)
    found.backward(slope)
    assert first.grad is not None and second.grad is not None  # noqa: PT018
    return expected.detach(), first.grad, found.detach(), second.grad


@given(seed=st.integers(0, 10**6), max_gross=st.sampled_from([None, 0.98, 0.3]))
@settings(max_examples=30, deadline=None)
def test_the_derivative_is_torchs_own(seed, max_gross):
    case = draw(seed)
    # A position that the reference closes leaves a rounding error, on either side of the kink.
    case.targets[case.targets == 0] = 0.01
    growth, gradient, ours, found = gradients(case, max_gross)
    np.testing.assert_allclose(ours, growth, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found, gradient, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10**6), max_gross=st.sampled_from([None, 0.98, 0.3]))
@settings(max_examples=20, deadline=None)
def test_orders_and_positions_of_size_zero_take_torchs_side_of_the_kink(seed, max_gross):
    case = draw(seed)
    closings = np.random.default_rng(seed).random(case.targets.shape) < 0.5
    case.targets[closings] = 0.0
    growth, gradient, ours, found = gradients(case, max_gross, undivided)
    np.testing.assert_allclose(ours, growth, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found, gradient, rtol=1e-12, atol=1e-12)


def test_ruin_ends_the_derivative():
    case = draw(12, wild=True)
    targets = torch.tensor(case.targets * 2.0, requires_grad=True)
    growth = backtest_growth(market_table(case.market, case.costs), targets, None)
    ruined = (growth == 0).any(-1)
    assert ruined.any()
    growth.clamp(min=1e-3).log().sum().backward()
    assert targets.grad is not None
    assert targets.grad.isfinite().all()
    for row in ruined.nonzero().flatten().tolist():
        end = int((growth[row] == 0).double().argmax())
        assert (growth[row, end + 1 :] == 1).all()
        assert not targets.grad[row, end:].any()


@pytest.mark.parametrize(
    "targets", [torch.zeros(2, 3), torch.zeros(1, 4, 1), torch.zeros(1, 3, 1, dtype=torch.float32)]
)
def test_targets_that_do_not_fit_are_one_sentence(targets):
    case = draw(8)
    with pytest.raises(AccountingError, match="targets must be float64 on the processor"):
        backtest_growth(market_table(case.market, case.costs), targets)


def test_a_gradient_that_is_held_keeps_its_memory_and_one_that_is_not_lends_it():
    case = draw(3)
    table = market_table(case.market, case.costs)

    def gradient(factor: float) -> Tensor:
        targets = torch.tensor(case.targets * factor, requires_grad=True)
        backtest_growth(table, targets).log().sum().backward()
        assert targets.grad is not None
        return targets.grad

    held = gradient(1.0)
    copy, place = held.clone(), held.data_ptr()
    other = gradient(0.5)
    assert other.data_ptr() != place
    assert torch.equal(held, copy)
    place = other.data_ptr()
    del other
    again = gradient(0.5)
    assert again.data_ptr() == place
