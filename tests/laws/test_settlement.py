"""Settlement: what cash and gross exposure allow, for any portfolio and any batch of trades."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trading_rlhf.accounting import settle

N_ASSETS = 4
FEW = settings(max_examples=60, deadline=None)

weights = hnp.arrays(np.float64, N_ASSETS, elements=st.floats(-1.5, 1.5)).map(torch.tensor)
limits = st.floats(0.1, 2.0)


def gross(w: torch.Tensor) -> float:
    return float(w.abs().sum())


@FEW
@given(held=weights, change=weights, limit=limits)
def test_gross_stays_within_the_limit_unless_held_already_exceeds_it(held, change, limit):
    assert gross(settle(held, change, limit)) <= max(limit, gross(held)) + 1e-12


@FEW
@given(held=weights, change=weights, limit=limits)
def test_each_weight_ends_between_held_and_wanted(held, change, limit):
    after, wanted = settle(held, change, limit), held + change
    assert (after >= torch.minimum(held, wanted) - 1e-12).all()
    assert (after <= torch.maximum(held, wanted) + 1e-12).all()


@FEW
@given(held=weights, change=weights, limit=limits)
def test_trades_towards_zero_settle_in_full(held, change, limit):
    after = settle(held, change, limit)
    reduces = (held * change < 0) & (change.abs() <= held.abs())
    torch.testing.assert_close(after[reduces], (held + change)[reduces], rtol=0, atol=1e-12)
    # A trade through zero closes the position before it opens the other side.
    crosses = (held * change < 0) & (change.abs() > held.abs())
    assert (after[crosses] * held[crosses] <= 1e-12).all()


@FEW
@given(held=weights, change=weights, limit=limits)
def test_openings_share_what_is_left_in_proportion(held, change, limit):
    change = torch.where(held == 0, change, change.abs() * held.sign())
    done = settle(held, change, limit) - held
    share = done.abs().sum() / change.abs().sum().clamp(min=1e-9)
    torch.testing.assert_close(done, change * share, rtol=0, atol=1e-9)


@FEW
@given(held=weights, change=weights, limit=limits, nudge=weights, size=st.floats(1e-9, 1e-3))
def test_it_is_continuous(held, change, limit, nudge, size):
    """A little more wanted moves the settlement by a little: no jump where a limit binds."""
    one = settle(held, change, limit)
    other = settle(held, change + size * nudge, limit)
    assert gross(other - one) <= 4.0 * size * gross(nudge) + 1e-12
    other = settle(held + size * nudge, change, limit)
    assert gross(other - one) <= 6.0 * size * gross(nudge) + 1e-12


@FEW
@given(held=weights, change=weights, limit=limits)
def test_settling_the_settled_changes_nothing(held, change, limit):
    after = settle(held, change, limit)
    torch.testing.assert_close(settle(held, after - held, limit), after, rtol=0, atol=1e-9)


def test_the_sale_pays_for_the_purchase():
    held = torch.tensor([0.5, 0.4, 0.0], dtype=torch.float64)
    change = torch.tensor([-0.5, 0.0, 0.7], dtype=torch.float64)
    # .98 less the .4 that stays leaves .58 of the .7.
    assert settle(held, change, 0.98).tolist() == pytest.approx([0.0, 0.4, 0.58])


def test_a_portfolio_above_the_limit_is_not_cut_and_cannot_grow():
    held = torch.tensor([0.7, 0.5], dtype=torch.float64)
    assert settle(held, torch.tensor([0.1, 0.0], dtype=torch.float64), 0.98).tolist() == [0.7, 0.5]


def test_a_new_short_needs_room_as_a_purchase_does():
    held = torch.tensor([0.9, 0.0], dtype=torch.float64)
    after = settle(held, torch.tensor([0.0, -0.5], dtype=torch.float64), 0.98)
    assert after.tolist() == pytest.approx([0.9, -0.08])


def test_the_gradient_is_finite_where_nothing_is_wanted_and_nothing_is_left():
    held = torch.tensor([[0.98, 0.0], [0.0, 0.0]], dtype=torch.float64)
    change = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    settle(held, change, 0.98).sum().backward()
    assert change.grad is not None
    assert change.grad.isfinite().all()
