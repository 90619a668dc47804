"""What a position costs from close to close, and what the cost model accepts."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.errors import AccountingError

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


NUMBERS = [
    (CostModel, "commission_bps"),
    (CostModel, "half_spread_bps"),
    (CostModel, "slippage_bps"),
    (CostModel, "borrow_bps_per_year"),
    (CostModel, "margin_bps_per_year"),
    (CostModel, "cash_bps_per_year"),
    (CostModel, "short_rebate_bps_per_year"),
    (CostModel, "delisting_haircut"),
    (ShareCommission, "per_share_usd"),
    (ShareCommission, "minimum_usd"),
    (ShareCommission, "maximum_bps"),
    (ImpactModel, "coefficient"),
]


@pytest.mark.parametrize(("model", "field"), NUMBERS)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_cost_is_finite_and_not_negative(model, field, value):
    with pytest.raises(ValidationError, match=r"greater than or equal to 0|less than or equal to"):
        model(**{field: value})


@pytest.mark.parametrize("value", [(), (1.0, -1.0), (1.0, math.nan), "much", [None], {"A": 1}])
def test_rates_per_asset_are_finite_numbers(value):
    with pytest.raises(ValidationError, match="one number or a list of one per asset"):
        CostModel(commission_bps=value)


def test_rates_may_come_as_numbers_lists_or_text():
    costs = CostModel(commission_bps=[1, "2.5"], half_spread_bps="3", slippage_bps=4)
    assert costs.commission_bps == (1.0, 2.5)
    assert (costs.half_spread_bps, costs.slippage_bps) == (3.0, 4.0)
    assert CostModel(**costs.model_dump(mode="json")) == costs


@pytest.mark.parametrize("make", [np.array, torch.tensor, pd.Series])
def test_rates_may_come_as_arrays(make):
    costs = CostModel(half_spread_bps=make([1.0, 2.5]), slippage_bps=np.float64(4.0))
    assert costs == CostModel(half_spread_bps=[1.0, 2.5], slippage_bps=4.0)
    assert CostModel(**costs.model_dump(mode="json")) == costs
    for wrong in ([[1.0, 2.0]], [-1.0], [], [math.nan], [True, False]):
        with pytest.raises(ValidationError, match="one number or a list of one per asset"):
            CostModel(half_spread_bps=make(wrong))


def test_lists_must_fit_the_assets():
    costs = CostModel(borrow_bps_per_year=(1.0, 2.0))
    costs.check_assets(2)
    with pytest.raises(AccountingError) as caught:
        costs.check_assets(3)
    assert str(caught.value) == (
        "borrow_bps_per_year must be one number or 3, one for each asset; got 2 numbers. "
        "Give the rates in the order of the symbols."
    )


def test_rates_per_asset_apply_to_their_column():
    costs = CostModel(commission_bps=(1.0, 20.0), half_spread_bps=(3.0, 4.0), slippage_bps=5.0)
    change = torch.tensor([0.1, -0.1], dtype=torch.float64)
    both = costs.rate(change).tolist()
    for column in range(2):
        one = costs.for_asset(column)
        assert both[column] == float(one.rate(change[column]))
        assert one.adverse == pytest.approx((3.0 + column + 5.0) * 1e-4)
        assert one.commission == pytest.approx((1.0, 20.0)[column] * 1e-4)


def test_borrow_per_asset_is_a_fee_on_each_short():
    costs = COSTS.model_copy(update={"borrow_bps_per_year": (50.0, 900.0, 3000.0)})
    held = torch.tensor([-0.2, -0.1, 0.3], dtype=torch.float64)
    fee = float(costs.accrual(held, torch.tensor(73.0, dtype=torch.float64)))
    # Rebate 30, and 7/10 of the equity are free cash at 200.
    expected = (0.2 * (50 - 30) + 0.1 * (900 - 30) - 0.7 * 200) * 1e-4 / 5
    assert fee == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["adverse", "commission"])
def test_what_holds_for_one_asset_needs_to_know_which(name):
    with pytest.raises(AccountingError, match=r"costs\.for_asset"):
        getattr(CostModel(commission_bps=(1.0, 2.0), slippage_bps=(1.0, 2.0)), name)


def test_scaling_reaches_every_trading_cost():
    costs = CostModel(
        commission_bps=(1.0, 2.0),
        share_commission=ShareCommission(),
        impact=ImpactModel(coefficient=0.5, participation=0.1),
    ).scaled(3.0)
    assert costs.commission_bps == (3.0, 6.0)
    assert costs.share_commission == ShareCommission(
        per_share_usd=0.015, minimum_usd=3.0, maximum_bps=300.0
    )
    assert costs.impact == ImpactModel(coefficient=1.5, participation=0.1)
    assert costs.delisting_haircut == CostModel().delisting_haircut


def test_scaling_may_go_beyond_what_a_user_may_set():
    dear = CostModel(share_commission=ShareCommission(), slippage_bps=900.0).scaled(1000.0)
    assert dear.slippage_bps == 9e5
    assert dear.share_commission is not None
    assert dear.share_commission.maximum_bps == 1e5


@pytest.mark.parametrize(
    ("rule", "in_usd"),
    [
        ({}, False),
        ({"cash_account": True}, False),
        ({"whole_shares": True}, True),
        ({"impact": ImpactModel()}, True),
        ({"share_commission": ShareCommission()}, True),
    ],
)
def test_rules_in_usd_need_equity(rule, in_usd):
    assert CostModel(**rule).needs_equity is in_usd


def test_defaults_are_never_free():
    for model in (CostModel(), ShareCommission(), ImpactModel()):
        for name, value in model:
            income = name in ("cash_bps_per_year", "short_rebate_bps_per_year")
            rule = name in ("share_commission", "impact", "whole_shares", "cash_account")
            assert income or rule or value > 0, name


def test_an_unknown_cost_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        CostModel(commision_bps=1.0)
