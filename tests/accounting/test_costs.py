"""What a position costs from close to close, and what the cost model accepts."""

import pytest
import torch
from pydantic import ValidationError

from trading_rlhf.accounting import CostModel

COSTS = CostModel(
    borrow_bps_per_year=50.0,
    margin_bps_per_year=600.0,
    cash_bps_per_year=200.0,
    short_rebate_bps_per_year=30.0,
)


def accrual(*weights: float, days: float = 3.0) -> float:
    held = torch.tensor(weights, dtype=torch.float64)
    return float(COSTS.accrual(held, torch.tensor(days, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("weights", "yearly"),
    [
        ((0.6, 0.2), -0.2 * 0.02),
        ((0.9, 0.6), 0.5 * 0.06),
        # Short proceeds earn the rebate only: cash is what longs leave of the equity.
        ((0.6, -0.3), 0.3 * (0.005 - 0.003) - 0.4 * 0.02),
        ((1.2, -0.3), 0.3 * (0.005 - 0.003) + 0.2 * 0.06),
        ((0.0, 0.0), -0.02),
    ],
)
def test_interest_and_borrow_fees_for_a_weekend(weights, yearly):
    assert accrual(*weights) == pytest.approx(yearly * 3 / 365, rel=1e-12)


def test_no_day_no_interest():
    assert accrual(1.5, -0.5, days=0.0) == 0.0


def test_the_rate_is_worse_for_buys_and_never_free():
    costs = CostModel(commission_bps=100.0, half_spread_bps=50.0, slippage_bps=50.0)
    buy, sell = costs.rate(torch.tensor([0.1, -0.1], dtype=torch.float64)).tolist()
    assert buy == pytest.approx(0.01 + 0.01 * 1.01, rel=1e-12)
    assert sell == pytest.approx(0.01 + 0.01 * 0.99, rel=1e-12)


def test_scaling_multiplies_trading_costs_and_leaves_carry():
    scaled = COSTS.scaled(4.0)
    assert (scaled.commission_bps, scaled.half_spread_bps, scaled.slippage_bps) == (4.0, 4.0, 4.0)
    assert (
        scaled.model_copy(
            update={"commission_bps": 1.0, "half_spread_bps": 1.0, "slippage_bps": 1.0}
        )
        == COSTS
    )


@pytest.mark.parametrize("field", sorted(CostModel.model_fields))
def test_negative_costs_are_refused(field):
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        CostModel(**{field: -1.0})


def test_an_unknown_cost_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        CostModel(commision_bps=1.0)
