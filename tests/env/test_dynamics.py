"""Bars as tensors: what moves, what can fill, how many days pass."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.env import MarketTensors, advance, advance_to_weights
from trading_rlhf.errors import DataError
from trading_rlhf.market import Bars


def tensors(bars: Bars) -> MarketTensors:
    return MarketTensors.from_bars(bars, np.zeros((*bars.shape, 1), dtype=np.float32))


def bars_with_a_hole() -> Bars:
    """The second asset starts late, and does not trade on 2001-01-09."""
    nan = np.nan
    close = np.array([[10, nan], [11, 20], [12, 22], [13, nan], [14, 33]], dtype=float)
    open_ = np.array([[10, nan], [10.5, 20], [11, 21], [12, nan], [13, 30]], dtype=float)
    return Bars(
        ["2001-01-04", "2001-01-05", "2001-01-08", "2001-01-09", "2001-01-10"],
        ["A", "B"],
        open_,
        None,
        None,
        close,
        np.where(np.isfinite(close), 100.0, nan) * [[1, 1], [1, 1], [0, 1], [1, 1], [1, 1]],
        tradable=np.isfinite(close),
    )


def test_moves_by_hand():
    market = tensors(bars_with_a_hole())
    night, day = market.overnight.tolist(), market.intraday.tolist()
    assert [row[0] for row in night] == pytest.approx([0, 0.05, 0, 0, 0])
    assert [row[0] for row in day] == pytest.approx([0, 11 / 10.5 - 1, 12 / 11 - 1, 1 / 12, 1 / 13])
    # A missing bar moves nothing; the move shows when the asset trades again.
    assert [row[1] for row in night] == pytest.approx([0, 0, 0.05, 0, 30 / 22 - 1])
    assert [row[1] for row in day] == pytest.approx([0, 0, 22 / 21 - 1, 0, 0.1])


def test_an_order_fills_where_there_is_a_bar_volume_and_a_close_before():
    fillable = tensors(bars_with_a_hole()).fillable.T.tolist()
    assert fillable[0] == [True, True, False, True, True]
    assert fillable[1] == [False, False, True, False, True]


def test_days_count_weekends():
    assert tensors(bars_with_a_hole()).days.tolist() == [0.0, 1.0, 3.0, 1.0, 1.0]


def test_days_of_bars_within_a_day_are_fractions():
    bars = random_bars(1, n_bars=4, n_assets=1)
    dates = pd.date_range("2001-01-04 15:00", periods=4, freq="6h", tz="UTC")
    market = tensors(Bars(dates, ["A"], bars.open, None, None, bars.close, None))
    assert market.days.tolist() == [0.0, 0.25, 0.25, 0.25]


def test_close_only_bars_fill_at_the_next_close():
    bars = random_bars(2, has_open=False)
    market = tensors(bars)
    assert not market.intraday.any()
    moves = bars.close[1:] / bars.close[:-1] - 1
    np.testing.assert_allclose(market.overnight[1:], moves, rtol=1e-12)


@pytest.mark.parametrize(
    "features",
    [np.zeros((5, 3, 1)), np.zeros((5, 2)), np.zeros((4, 2, 1)), np.full((5, 2, 1), np.nan)],
)
def test_features_must_cover_the_bars(features):
    with pytest.raises(DataError, match=r"features must be finite and of shape \[T, N, F\]"):
        MarketTensors.from_bars(bars_with_a_hole(), features)


def test_precision_changes_for_money_and_never_for_features():
    market = tensors(bars_with_a_hole())
    single = market.to(torch.float32)
    assert (market.overnight.dtype, single.overnight.dtype) == (torch.float64, torch.float32)
    assert market.features.dtype == single.features.dtype == torch.float32


@pytest.mark.parametrize("step", [advance, advance_to_weights])
def test_accounts_move_by_themselves(step):
    """A batch at different bars is the accounts one by one, policies stacked in front."""
    market, costs = tensors(random_bars(3, n_assets=4, holes=True)), CostModel()
    generator = torch.Generator().manual_seed(2)
    t = torch.tensor([3, 17, 38])
    held, order = (torch.rand(2, 3, 4, generator=generator).double() * 0.2 for _ in range(2))
    after, growth = step(market, t, held, order, costs)
    for policy in range(2):
        for row in range(3):
            one, grown = step(market, t[row], held[policy, row], order[policy, row], costs)
            assert torch.equal(one, after[policy, row])
            assert torch.equal(grown, growth[policy, row])


def test_training_precision_is_close_to_that_of_money():
    """Growth in float32, as training steps it, is within 1e-6 of float64 a bar."""
    market, costs = tensors(random_bars(4, n_assets=4)), CostModel()
    t = torch.arange(39)
    generator = torch.Generator().manual_seed(3)
    held, change = (torch.rand(39, 4, generator=generator).double() * 0.2 for _ in range(2))
    _, exact = advance(market, t, held, change, costs)
    _, rough = advance(market.to(torch.float32), t, held.float(), change.float(), costs)
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().max()) < 1e-6
