"""Fill, mark and sizing at the fill: by hand, in batches and in gradients."""

import pytest
import torch

from trading_rlhf.accounting import CostModel, fill, mark, size_at_fill

COSTS = CostModel(commission_bps=10.0, half_spread_bps=5.0, slippage_bps=5.0)
BUY, SELL = 1e-3 + 1e-3 * 1.001, 1e-3 + 1e-3 * 0.999


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_fill_costs_its_rate_times_what_is_traded():
    cost = fill(row(0.2, 0.5, -0.1), row(0.5, 0.1, -0.1), COSTS)
    assert float(cost) == pytest.approx(0.3 * BUY + 0.4 * SELL, rel=1e-12)


def test_a_mark_moves_money_and_lets_weights_drift():
    weights, growth = mark(row(0.5, -0.2), row(0.001)[0], row(0.10, -0.05))
    assert float(growth) == pytest.approx(1.0 + 0.05 + 0.01 - 0.001, rel=1e-14)
    assert weights.tolist() == pytest.approx([0.55 / float(growth), -0.19 / float(growth)])


def test_ruin_is_zero_and_its_gradient_is_finite():
    held = torch.tensor([[-2.0], [0.5]], dtype=torch.float64, requires_grad=True)
    weights, growth = mark(held, 0.0, torch.tensor([[0.6], [0.6]], dtype=torch.float64))
    assert growth.tolist() == [0.0, 1.3]
    assert weights[0].tolist() == [0.0]
    (growth.sum() + weights.sum()).backward()
    assert held.grad is not None
    assert held.grad.isfinite().all()


def test_a_growth_of_exactly_zero_is_ruin():
    weights, growth = mark(row(-1.0), 0.0, row(1.0))
    assert (float(growth), weights.tolist()) == (0.0, [0.0])


def test_an_order_sized_at_the_close_is_a_number_of_shares():
    """100 USD of equity, 30 of it in a 10 USD asset; buy 2 shares, fill at 11 USD."""
    held, relative = row(0.30), row(1.1)
    at_fill, growth = mark(held, 0.0, relative - 1.0)
    wanted = size_at_fill(row(0.20), at_fill, relative, growth)
    assert float(growth) == pytest.approx(1.03)
    assert float(wanted) == pytest.approx(5 * 11 / 103, rel=1e-14)


def test_nothing_is_sized_for_a_ruined_account():
    wanted = size_at_fill(row(0.2), row(0.0), row(1.5), torch.tensor(0.0, dtype=torch.float64))
    assert wanted.tolist() == [0.0]


def test_batches_are_rows():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.4

    held, target, moves = draw(2, 3, 4), draw(2, 3, 4), 0.1 * draw(3, 4)
    cost = fill(held, target, COSTS)
    weights, growth = mark(target, cost, moves)
    assert (cost.shape, growth.shape) == ((2, 3), (2, 3))
    for i in range(2):
        for j in range(3):
            one = fill(held[i, j], target[i, j], COSTS)
            single, grown = mark(target[i, j], one, moves[j])
            assert torch.equal(one, cost[i, j])
            assert torch.equal(grown, growth[i, j])
            assert torch.equal(single, weights[i, j])


def test_the_law_is_differentiable():
    """Derivatives of growth after a trade, against finite differences."""
    held, moves = row(0.3, 0.2, -0.1), row(0.02, -0.03, 0.01)

    def growth(target: torch.Tensor) -> torch.Tensor:
        after, grown = mark(target, fill(held, target, COSTS), moves)
        return grown + after.square().sum()

    target = row(0.5, 0.1, -0.2).requires_grad_(True)
    assert torch.autograd.gradcheck(growth, (target,))
