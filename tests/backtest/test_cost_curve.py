"""The break-even of a result over multiples of its costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_rlhf.backtest import COST_FACTORS, cost_curve
from trading_rlhf.errors import AccountingError


def line(at_zero: float, slope: float):
    return lambda factor: {"annual_return": at_zero - slope * factor, "factor": factor}


def test_the_break_even_of_a_line():
    found = cost_curve(line(0.1, 0.04), bps=7.0)
    assert found.break_even == pytest.approx(2.5)
    assert found.break_even_bps == pytest.approx(17.5)
    assert found.sentence == "Breaks even at 17.5 bps of what is traded, 2.50 times the costs."
    assert found.words == "17.5 bps"
    assert found.table.index.tolist() == list(COST_FACTORS)
    assert found.table["factor"].tolist() == list(COST_FACTORS)


@given(st.floats(0.001, 1.0), st.floats(0.0, 4.0), st.floats(0.1, 50.0))
@settings(max_examples=40, deadline=None)
def test_every_line_is_found_where_it_crosses(at_zero, crossing, bps):
    slope = at_zero / max(crossing, 0.01)
    found = cost_curve(line(at_zero, slope), bps)
    if found.break_even is None:
        assert crossing == pytest.approx(4.0, abs=1e-9)
        return
    assert found.break_even == pytest.approx(max(crossing, 0.01), rel=1e-6)
    assert found.break_even_bps == pytest.approx(found.break_even * bps)


def test_a_result_that_survives_has_none():
    found = cost_curve(line(0.1, 0.01), bps=7.0)
    assert (found.break_even, found.break_even_bps) == (None, None)
    assert found.words == "over 28 bps"
    assert found.sentence == (
        "Still gains at 4 times the costs, 28 bps of what is traded: the break-even lies above."
    )


def test_a_result_that_its_costs_eat_is_called_a_loss():
    found = cost_curve(line(0.02, 0.04), bps=10.0)
    assert found.sentence == (
        "Breaks even at 5.0 bps of what is traded, 0.50 times the costs. At the costs themselves "
        "it loses."
    )


@pytest.mark.parametrize("at_zero", [0.0, -0.1])
def test_a_result_that_loses_without_costs_has_none(at_zero):
    found = cost_curve(line(at_zero, 0.04), bps=7.0)
    assert found.break_even is None
    assert found.words == "none: no gain without costs"
    assert found.sentence == "Gains nothing even without costs, so there is no break-even."


def test_the_first_of_several_crossings_counts():
    values = {0.0: 0.2, 1.0: -0.2, 2.0: 0.1, 3.0: -0.1}
    found = cost_curve(lambda f: {"growth": values[f]}, 10.0, "growth", (0.0, 1.0, 2.0, 3.0))
    assert found.break_even == pytest.approx(0.5)


def test_a_zero_on_a_factor_is_that_factor():
    assert cost_curve(line(0.1, 0.05), 10.0).break_even == pytest.approx(2.0)
    assert cost_curve(line(0.1, 0.025), 10.0).break_even == pytest.approx(4.0)


@pytest.mark.parametrize("factors", [(), (1.0,), (0.0, 0.0), (0.0, 2.0, 1.0)])
def test_factors_must_increase(factors):
    with pytest.raises(AccountingError, match="must increase"):
        cost_curve(line(0.1, 0.01), 7.0, factors=factors)


def test_the_figure_must_be_measured():
    with pytest.raises(AccountingError, match="must hold growth"):
        cost_curve(line(0.1, 0.01), 7.0, "growth")
