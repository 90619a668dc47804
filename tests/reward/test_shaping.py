"""How the reward model enters training: as a price and as the desk."""

import pytest
import torch

from trading_rlhf.agent import ProfitReward
from trading_rlhf.reward import (
    ModelDesk,
    RewardModel,
    ShapedReward,
    ShapingConfig,
    SlicedDesk,
    SlicedReward,
)

PROFIT = ProfitReward(2.0)


def test_the_price_is_charged_on_disapproved_notional():
    reward = ShapedReward(PROFIT, ShapingConfig(price_bps=10.0, target_approval=0.7))
    growth = torch.tensor([0.01])
    change = torch.tensor([[0.2, -0.1, 0.3]])
    approval = torch.tensor([[0.5, 0.9, 0.0]])
    charge = 10e-4 * (0.2 * 0.2 + 0.3 * 0.7)
    assert float(reward(growth, change, approval)) == pytest.approx(0.01 - 1e-4 - charge, rel=1e-5)


@pytest.mark.parametrize(("price", "approval"), [(0.0, torch.zeros(1, 3)), (10.0, None)])
def test_without_price_or_desk_it_is_the_profit(price, approval):
    reward = ShapedReward(PROFIT, ShapingConfig(price_bps=price))
    growth, change = torch.tensor([0.01]), torch.ones(1, 3)
    assert torch.equal(reward(growth, change, approval), PROFIT(growth, change, approval))


class Constant:
    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, features, held, target):
        return torch.full_like(held, self.p)


def test_slices_have_desks_of_their_own():
    desk = SlicedDesk(((1, Constant(0.2)), (2, None), (1, Constant(0.9))))
    held = torch.zeros(4, 3, 5)
    p = desk(torch.zeros(3, 5, 2), held, held + 0.1)
    assert p.shape == held.shape
    assert p[:, 0, 0].tolist() == pytest.approx([0.2, 1.0, 1.0, 0.9])


def test_each_slice_sees_its_own_portfolios():
    class Echo:
        def __call__(self, features, held, target):
            return held

    desk = SlicedDesk(((2, Echo()), (1, Echo()), (2, Echo())))
    held = torch.arange(5.0).view(5, 1, 1).expand(5, 3, 4)
    assert torch.equal(desk(torch.zeros(3, 4, 2), held, held), held)


def test_the_desk_is_differentiable_in_what_is_proposed():
    """Through the gate, the gradient tells the policy what the desk would rather see."""
    source = torch.Generator().manual_seed(0)
    shapes = ((1, 3, 10), (1, 3), (1, 3, 10, 4), (1, 3, 4), (1, 3, 4))
    parts = [torch.randn(*shape, generator=source) for shape in shapes]
    desk = ModelDesk(RewardModel(*parts, torch.ones(1)), pessimism=0.5)
    target = torch.full((1, 2, 4), 0.2, requires_grad=True)
    features = torch.randn(2, 4, 2, generator=source)
    desk(features, torch.full((1, 2, 4), 0.15), target).sum().backward()
    assert target.grad.isfinite().all()
    assert (target.grad != 0).all()


def test_every_policy_is_charged_its_own_price():
    growth, change, p = torch.randn(2, 3), torch.randn(2, 3, 4), torch.rand(2, 3, 4)
    parts = tuple(
        ShapedReward(PROFIT, ShapingConfig(price_bps=price, target_approval=target))
        for price, target in ((10.0, 0.7), (50.0, 0.9))
    )
    both = SlicedReward(parts)(growth, change, p)
    for row, part in enumerate(parts):
        torch.testing.assert_close(both[row], part(growth[row], change[row], p[row]))
    free = SlicedReward(parts)(growth, change, None)
    torch.testing.assert_close(free, PROFIT(growth, change, None))
