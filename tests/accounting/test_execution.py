"""Volume, cash, whole shares and fees at the fill: by hand, and their gradients."""

import pytest
import torch

from trading_rlhf.accounting import (
    CostModel,
    FillBar,
    ImpactModel,
    ShareCommission,
    fill,
    limit_orders,
    order_costs,
    whole_orders,
)
from trading_rlhf.errors import AccountingError

FREE = CostModel(commission_bps=0.0, half_spread_bps=0.0, slippage_bps=0.0)


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def bar(equity: float = 1e5, **changes: tuple[float, ...]) -> FillBar:
    """Two assets at 50 and 10 USD that trade 1 and 2 million USD a day."""
    known = {
        "price": (50.0, 10.0),
        "volume": (1e6, 2e6),
        "daily_volume": (1e6, 4e6),
        "volatility": (0.02, 0.03),
    }
    return FillBar(row(equity)[0], **{k: row(*v) for k, v in (known | changes).items()})


def costs_of(costs: CostModel, *change: float, **changes: tuple[float, ...]) -> list[float]:
    """USD that orders cost on an equity of 100 000."""
    return [1e5 * x for x in order_costs(row(*change), costs, bar(**changes)).tolist()]


def test_commission_by_the_share_by_hand():
    costs = FREE.model_copy(update={"share_commission": ShareCommission()})
    # 20 000 USD are 400 shares of 50; 30 000 USD are 3000 of 10.
    assert costs_of(costs, 0.2, -0.3) == pytest.approx([2.0, 15.0])
    # 5000 USD are 100 shares, below the minimum; of 60 USD one percent is less than that.
    assert costs_of(costs, 0.05, 0.0006) == pytest.approx([1.0, 0.6])
    assert costs_of(costs, 0.0, 0.0) == [0.0, 0.0]


def test_commission_by_the_share_replaces_basis_points_and_follows_the_slipped_price():
    fees = ShareCommission(per_share_usd=0.0, minimum_usd=1e3, maximum_bps=100.0)
    costs = CostModel(
        commission_bps=500.0, half_spread_bps=100.0, slippage_bps=0.0, share_commission=fees
    )
    # Half a spread of 1%, and 1% of what is paid at the worse price.
    assert costs_of(costs, 0.1, -0.1) == pytest.approx([100 + 101, 100 + 99])


def test_impact_is_a_square_root():
    costs = FREE.model_copy(update={"impact": ImpactModel(coefficient=0.5, participation=1.0)})
    found = costs_of(costs, 0.1, -0.4)
    expected = [
        1e4 * 0.5 * 0.02 * (1e4 / 1e6) ** 0.5,
        4e4 * 0.5 * 0.03 * (4e4 / 4e6) ** 0.5,
    ]
    assert found == pytest.approx(expected, rel=1e-12)


def test_impact_makes_the_commission_of_a_buy_dearer():
    impact = ImpactModel(coefficient=1.0, participation=1.0)
    costs = FREE.model_copy(update={"impact": impact, "commission_bps": 100.0})
    move = 0.02 * (1e4 / 1e6) ** 0.5
    buy, sell = costs_of(costs, 0.1, 0.0)[0], costs_of(costs, -0.1, 0.0)[0]
    assert buy == pytest.approx(1e4 * (move + 0.01 * (1 + move)), rel=1e-12)
    assert sell == pytest.approx(1e4 * (move + 0.01 * (1 - move)), rel=1e-12)


def test_an_order_takes_its_share_of_the_volume_and_the_rest_expires():
    costs = FREE.model_copy(update={"impact": ImpactModel(participation=0.05)})
    held = row(0.6, 0.0)
    # 5% of 1 000 000 USD are half of 100 000; 5% of 2 000 000 all of it.
    reached = limit_orders(held, row(-0.1, 0.7), costs, bar(), row(0.4)[0])
    assert reached.tolist() == pytest.approx([0.1, 0.7])


@pytest.mark.parametrize("unknown", ["volume", "daily_volume"])
def test_nothing_fills_where_there_is_no_volume_or_none_is_known(unknown):
    costs = FREE.model_copy(update={"impact": ImpactModel()})
    reached = limit_orders(
        row(0.1, 0.0), row(0.2, 0.1), costs, bar(**{unknown: (0.0, 4e6)}), row(0.9)[0]
    )
    assert reached.tolist() == [0.1, 0.1]


def test_a_cash_account_sells_first_and_buys_the_smallest_first():
    costs = CostModel(
        commission_bps=100.0, half_spread_bps=0.0, slippage_bps=0.0, cash_account=True
    )
    held, target = row(0.5, 0.3, 0.0, 0.0), row(0.2, 0.5, 0.1, 0.4)
    reached = limit_orders(held, target, costs, None, row(0.2)[0]).tolist()
    # .2 of cash and .297 of the sale buy .1 and .2 with 1% on top; .194 are left for the last.
    assert reached[:3] == pytest.approx([0.2, 0.5, 0.1])
    assert reached[3] == pytest.approx((0.2 + 0.297 - 0.303) / 1.01)


def test_a_cash_account_reserves_what_trades_cost_in_that_session():
    costs = CostModel(
        commission_bps=0.0, half_spread_bps=50.0, slippage_bps=50.0, cash_account=True
    )
    held = row(0.5, 0.0)
    scale = torch.tensor([1.0, 3.0], dtype=torch.float64)
    reached = limit_orders(
        held.expand(2, 2), row(0.2, 0.9).expand(2, 2), costs, None, row(0.1, 0.1), scale
    )
    # 1% of costs, or 3%: the sale brings less, and each buy takes more.
    expected = [(0.1 + 0.3 * (1 - 0.01 * k)) / (1 + 0.01 * k) for k in (1, 3)]
    assert reached[:, 1].tolist() == pytest.approx(expected, rel=1e-12)


def test_a_cash_account_without_cash_buys_nothing():
    costs = CostModel(cash_account=True)
    held, target = row(0.8, 0.5), row(0.9, 0.6)
    assert limit_orders(held, target, costs, None, row(-0.3)[0]).tolist() == held.tolist()


@pytest.mark.parametrize("cash", [0.0, 0.0005, 0.01, 0.03, 0.0504])
def test_what_a_cash_account_buys_is_paid_by_the_cash(cash):
    """With a fee by the share, its minimum and its maximum, each of which may decide."""
    fees = ShareCommission(per_share_usd=0.05, minimum_usd=40.0, maximum_bps=200.0)
    costs = CostModel(cash_account=True, share_commission=fees)
    held = row(0.0, 0.0)
    reached = limit_orders(held, row(0.05, 0.0), costs, bar(), row(cash)[0])
    spent = float(reached.sum() + fill(held, reached, costs, bar()))
    full = 0.05 + float(fill(held, row(0.05, 0.0), costs, bar()))
    # A fee that starts at its maximum or minimum may leave a little of the cash.
    assert spent <= min(cash, full) + 1e-15
    assert spent == pytest.approx(min(cash, full), rel=1e-12)


def test_whole_shares_round_toward_zero_and_a_closing_order_sells_all():
    held, price = row(0.2, 0.10345, 0.5), row(300.0, 100.0, 70.0)
    change = row(0.0195, -0.10345, -0.3)
    found = whole_orders(change, held, row(1e5)[0], price)
    # 1950 USD are 6 shares of 300; 30 000 USD are 428 of 70.
    assert (found * 1e5).tolist() == pytest.approx([1800.0, -10345.0, -428 * 70.0])


def test_an_order_of_whole_shares_keeps_them_all():
    """Rounded once more, nothing is lost."""
    generator = torch.Generator().manual_seed(1)
    price = torch.rand(500, generator=generator).double() * 400 + 1
    equity = row(123_456.789)[0]
    change = torch.randint(1, 900, (500,), generator=generator).double() * price / equity
    again = whole_orders(change, change * 3.0, equity, price)
    torch.testing.assert_close(again, change, rtol=1e-13, atol=0)


def test_volume_and_cash_leave_whole_shares():
    costs = FREE.model_copy(
        update={"impact": ImpactModel(participation=0.05), "whole_shares": True,
                "cash_account": True}
    )  # fmt: skip
    known = bar(price=(301.0, 7.0), volume=(1e6, 4e5))
    reached = limit_orders(row(0.0, 0.0), row(0.9, 0.3), costs, known, row(1.0)[0]) * 1e5
    assert reached.tolist() == pytest.approx([166 * 301.0, 2857 * 7.0])
    poor = limit_orders(row(0.0, 0.0), row(0.4, 0.0), costs, known, row(0.1)[0]) * 1e5
    assert poor[0] == pytest.approx(33 * 301.0)


def test_rules_in_usd_need_the_bar():
    for rule in ({"share_commission": ShareCommission()}, {"impact": ImpactModel()}):
        costs = CostModel(**rule)
        with pytest.raises(AccountingError, match="need the bar of the fill; got none"):
            fill(row(0.1), row(0.2), costs)


def test_a_ruined_account_trades_nothing_and_its_gradient_is_finite():
    costs = CostModel(
        impact=ImpactModel(), share_commission=ShareCommission(), cash_account=True,
        whole_shares=True,
    )  # fmt: skip
    held = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    broke = bar(equity=0.0)
    reached = limit_orders(held, held * 1.0, costs, broke, row(1.0)[0])
    cost = fill(held, reached, costs, broke)
    assert (reached.tolist(), cost.item()) == ([0.0, 0.0], 0.0)
    (reached.sum() + cost).backward()
    assert held.grad is not None
    assert held.grad.isfinite().all()


def test_clipping_impact_and_fees_are_differentiable():
    costs = CostModel(
        impact=ImpactModel(participation=0.05), share_commission=ShareCommission(),
        cash_account=True,
    )  # fmt: skip
    held = row(0.1, 0.0)

    def spent(target: torch.Tensor, equity: torch.Tensor) -> torch.Tensor:
        known = FillBar(equity, row(50, 10), row(1e6, 2e6), row(1e6, 4e6), row(0.02, 0.03))
        reached = limit_orders(held, target, costs, known, row(0.5)[0])
        return reached.square().sum() + 100 * fill(held, reached, costs, known)

    for target in ((0.3, 0.1), (0.9, 0.1), (0.3, 0.6), (0.02, 0.6)):
        inputs = (row(*target).requires_grad_(True), row(1e5)[0].requires_grad_(True))
        assert torch.autograd.gradcheck(spent, inputs)


def test_rounding_passes_the_gradient_through():
    change = row(0.0195, -0.1).requires_grad_(True)
    whole_orders(change, row(0.2, 0.2), row(1e5)[0], row(300.0, 70.0)).sum().backward()
    assert change.grad is not None
    assert change.grad.tolist() == [1.0, 1.0]


def test_no_order_has_a_gradient_of_finite_size():
    costs = CostModel(impact=ImpactModel(), share_commission=ShareCommission())
    target = row(0.1, 0.0).requires_grad_(True)
    fill(row(0.1, 0.0), target, costs, bar()).backward()
    assert target.grad is not None
    assert target.grad.isfinite().all()


def test_batches_are_rows():
    generator = torch.Generator().manual_seed(1)
    costs = CostModel(
        commission_bps=(1.0, 9.0), impact=ImpactModel(), cash_account=True, whole_shares=True
    )
    held, target = (torch.rand(2, 3, 2, generator=generator).double() for _ in range(2))
    equity, cash = torch.rand(2, 3, generator=generator).double() * 1e6, held[..., 0]
    known = bar()
    many = FillBar(equity, known.price, known.volume, known.daily_volume, known.volatility)
    reached = limit_orders(held, target, costs, many, cash)
    cost = fill(held, reached, costs, many)
    assert (reached.shape, cost.shape) == ((2, 3, 2), (2, 3))
    for i in range(2):
        for j in range(3):
            one = FillBar(
                equity[i, j], known.price, known.volume, known.daily_volume, known.volatility
            )
            alone = limit_orders(held[i, j], target[i, j], costs, one, cash[i, j])
            assert torch.equal(alone, reached[i, j])
            assert torch.equal(fill(held[i, j], alone, costs, one), cost[i, j])
