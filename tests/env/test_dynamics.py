"""Bars as tensors: what moves, what can fill, how many days pass."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.laws.random_bars import eventful_bars, random_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.env import MarketTensors, advance, advance_to_weights
from trading_rlhf.env.dynamics import trade_session
from trading_rlhf.env.liquidity import Liquidity
from trading_rlhf.errors import AccountingError, DataError
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


def long_hole() -> Bars:
    """The second asset has no bar from the fifth session to the eighth of ten."""
    close = np.column_stack([np.full(10, 10.0), np.linspace(20.0, 29.0, 10)])
    tradable = np.ones(close.shape, dtype=bool)
    tradable[4:8, 1] = False
    tradable[:2, 0] = False
    close = np.where(tradable, close, np.nan)
    return Bars(
        pd.bdate_range("2001-01-01", periods=10), ["A", "B"], None, None, None, close, None,
        tradable=tradable,
    )  # fmt: skip


def test_delisted_is_what_had_no_bar_for_so_long_and_was_listed():
    features = np.zeros((10, 2, 1), dtype=np.float32)
    market = MarketTensors.from_bars(long_hole(), features, delisted_after=3)
    assert market.delisted[:, 1].tolist() == [*[False] * 6, True, True, False, False]
    assert not market.delisted[:, 0].any()
    assert market.delists
    assert not MarketTensors.from_bars(long_hole(), features, delisted_after=5).delists
    assert market.listed[:, 0].tolist() == [False, False, *[True] * 8]


def test_the_cost_model_says_when_an_asset_counts_as_delisted():
    bars = long_hole()
    features = np.zeros((*bars.shape, 1))
    for after in (3, 5):
        market = MarketTensors.for_costs(bars, features, CostModel(delisted_after=after))
        expected = MarketTensors.from_bars(bars, features, delisted_after=after)
        assert torch.equal(market.delisted, expected.delisted)
        assert market.delists == (after == 3)


def test_delisting_is_known_without_later_bars():
    features = np.zeros((10, 2, 1), dtype=np.float32)
    whole = MarketTensors.from_bars(long_hole(), features, delisted_after=3).delisted
    for t in range(1, 11):
        cut = MarketTensors.from_bars(long_hole().window(0, t), features[:t], delisted_after=3)
        assert torch.equal(cut.delisted, whole[:t])


@pytest.mark.parametrize("held", [0.5, -0.5])
def test_a_delisted_position_is_closed_at_its_last_price_less_the_haircut(held):
    costs = CostModel(delisting_haircut=0.2, borrow_bps_per_year=0.0)
    features = np.zeros((10, 2, 1), dtype=np.float32)
    market = MarketTensors.from_bars(long_hole(), features, delisted_after=3)
    weights = torch.tensor([0.0, held], dtype=torch.float64)
    # An order in it does not fill.
    after, growth = advance(market, torch.tensor(5), weights, weights * 0.1, costs)
    assert after.tolist() == [0.0, 0.0]
    assert float(growth) == pytest.approx(1.0 - 0.2 * 0.5, rel=1e-14)
    before, growth = advance(market, torch.tensor(4), weights, weights * 0.0, costs)
    assert before.tolist() == weights.tolist()
    assert float(growth) == 1.0


def test_a_delisted_position_pays_for_buys_with_what_is_left_of_it():
    costs = CostModel(
        commission_bps=0, half_spread_bps=0, slippage_bps=0, delisting_haircut=0.4,
        cash_account=True,
    )  # fmt: skip
    features = np.zeros((10, 2, 1), dtype=np.float32)
    market = MarketTensors.from_bars(long_hole(), features, delisted_after=3)
    held, change = torch.tensor([[0.0, 0.8], [0.9, 0.0]], dtype=torch.float64)
    after, growth = advance(market, torch.tensor(5), held, change, costs)
    # .2 of cash and .8 less 40%.
    assert float(growth) == pytest.approx(1.0 - 0.32)
    assert float(after[0] * growth) == pytest.approx(0.2 + 0.48)


def split_and_dividend() -> Bars:
    """100 USD; two for one and a dividend of 3 USD a new share on the third day; a hole after."""
    raw_close = np.array([[100.0], [104.0], [51.0], [np.nan], [54.0]])
    raw_open = np.array([[100.0], [102.0], [50.0], [np.nan], [53.0]])
    # Half the shares, and 6 of 104 USD less, until the day of both.
    adjust = np.array([[0.5], [0.5], [1.0], [1.0], [1.0]])
    adjust[:2] *= 1.0 - 6.0 / 104.0
    split, dividend = np.ones((5, 1)), np.zeros((5, 1))
    split[2], dividend[2] = 2.0, 3.0
    return Bars(
        pd.bdate_range("2001-01-01", periods=5), ["A"], raw_open * adjust, None, None,
        raw_close * adjust, np.array([[400.0], [500.0], [600.0], [np.nan], [700.0]]), raw_close,
        split, dividend, np.isfinite(raw_close),
    )  # fmt: skip


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_raw_ledger_splits_shares_and_pays_dividends_in_cash(side):
    features = np.zeros((5, 1, 1), dtype=np.float32)
    market = MarketTensors.from_bars(split_and_dividend(), features, ledger="raw")
    free = CostModel(
        commission_bps=0, half_spread_bps=0, slippage_bps=0, borrow_bps_per_year=0,
        margin_bps_per_year=0,
    )  # fmt: skip
    # 10 shares of 104 USD, long or short, on 2000 USD; then 20 shares, and 60 USD of cash.
    held = torch.tensor([side * 1040.0 / 2000.0], dtype=torch.float64)
    after, growth = advance(market, torch.tensor(1), held, held * 0.0, free)
    equity = 2000.0 + side * (20 * 51 - 10 * 104 + 20 * 3)
    assert float(growth) * 2000.0 == pytest.approx(equity, rel=1e-14)
    assert float(after) * equity == pytest.approx(side * 20 * 51, rel=1e-14)


def test_the_adjusted_ledger_earns_the_dividend_in_the_return():
    market = tensors(split_and_dividend())
    assert market.dividends is None
    total = (1 + market.overnight[2, 0]) * (1 + market.intraday[2, 0])
    assert float(total) == pytest.approx(51 * 2 / (104 - 6), rel=1e-12)


def test_ledgers_agree_where_nothing_is_paid_or_split():
    bars = random_bars(5, holes=True)
    features = np.zeros((*bars.shape, 1), dtype=np.float32)
    one, other = tensors(bars), MarketTensors.from_bars(bars, features, ledger="raw")
    torch.testing.assert_close(other.overnight, one.overnight, rtol=0, atol=1e-14)
    torch.testing.assert_close(other.intraday, one.intraday, rtol=0, atol=1e-14)
    assert not other.dividends.any()


def test_liquidity_by_hand():
    """Prices and volumes as traded, averages up to the bar, holes left out."""
    known = Liquidity.from_bars(split_and_dividend(), 3, "cpu", torch.float64)
    # Volumes are given in shares after the split.
    traded = [200 * 100.0, 250 * 104.0, 600 * 51.0, None, 700 * 54.0]
    assert known.fill_price[:, 0].tolist() == pytest.approx([100, 102, 50, 1, 53])
    assert known.close[:, 0].tolist() == pytest.approx([100, 104, 51, 51, 54])
    assert known.volume[:, 0].tolist() == pytest.approx([20000, 25500, 30000, 0, 37100])
    # Two returns are the least of which there is a deviation.
    assert known.daily_volume[:2, 0].tolist() == [0.0, 0.0]
    means = [sum(traded[:3]) / 3, sum(traded[1:3]) / 2, (traded[2] + traded[4]) / 2]
    assert known.daily_volume[2:, 0].tolist() == pytest.approx(means)
    moves = [1.04, 51 * 2 / 98, 54 / 51]
    expected = [np.std(moves[:2], ddof=1), np.std(moves[:2], ddof=1), np.std(moves[1:], ddof=1)]
    assert known.volatility[2:, 0].tolist() == pytest.approx(expected, rel=1e-12)


def test_liquidity_of_bars_within_a_day_is_for_a_day():
    bars = random_bars(6, n_bars=21, n_assets=2)
    hours = pd.date_range("2001-01-08 14:30", periods=7, freq="1h", tz="UTC")
    dates = hours.append([hours + pd.Timedelta(days=k) for k in (1, 2)])
    arrays = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    hourly = Liquidity.from_bars(Bars(dates, bars.symbols, *arrays), 5, "cpu", torch.float64)
    daily = Liquidity.from_bars(bars, 5, "cpu", torch.float64)
    torch.testing.assert_close(hourly.daily_volume, daily.daily_volume * 7)
    torch.testing.assert_close(hourly.volatility, daily.volatility * 7**0.5)


def test_liquidity_knows_nothing_of_later_bars_but_the_fills_own():
    bars = eventful_bars(3, 30, 3)
    whole = Liquidity.from_bars(bars, 4, "cpu", torch.float64)
    cut = Liquidity.from_bars(bars.window(0, 20), 4, "cpu", torch.float64)
    for name in ("fill_price", "close", "volume", "daily_volume", "volatility"):
        torch.testing.assert_close(
            getattr(cut, name), getattr(whole, name)[:20], rtol=1e-12, atol=1e-15
        )


def test_costs_scale_by_session():
    market = tensors(random_bars(7))
    costs = CostModel(borrow_bps_per_year=0.0)
    held = torch.zeros(3, dtype=torch.float64)
    scale = torch.ones(40, dtype=torch.float64)
    scale[6] = 5.0
    drifting = replace(market, cost_scale=scale)
    for t, times in ((4, 1.0), (5, 5.0)):
        one, other = (
            trade_session(m, torch.tensor(t), held, costs, change=held + 0.2)
            for m in (market, drifting)
        )
        assert float(other.cost) == pytest.approx(times * float(one.cost), rel=1e-14)


@pytest.mark.parametrize("rule", ["share_commission", "impact", "whole_shares"])
def test_rules_in_usd_without_equity_or_liquidity_are_one_sentence(rule):
    rules = {"share_commission": ShareCommission(), "impact": ImpactModel(), "whole_shares": True}
    costs = CostModel(**{rule: rules[rule]})
    bars = random_bars(8)
    empty, held = np.zeros((*bars.shape, 1)), torch.zeros(3, dtype=torch.float64)
    t, equity = torch.tensor(3), torch.tensor(1e6, dtype=torch.float64)
    rich = MarketTensors.for_costs(bars, empty, costs)
    advance(rich, t, held, held + 0.1, costs, equity)
    with pytest.raises(AccountingError, match="need equity and prices in USD; got no equity"):
        advance(rich, t, held, held + 0.1, costs)
    with pytest.raises(AccountingError, match="got a market without liquidity"):
        advance(tensors(bars), t, held, held + 0.1, costs, equity)


def test_impact_needs_volumes_and_its_own_lookback():
    costs = CostModel(impact=ImpactModel(lookback=5))
    bars = random_bars(9)
    empty, held = np.zeros((*bars.shape, 1)), torch.zeros(3, dtype=torch.float64)
    market = MarketTensors.from_bars(bars, empty, liquidity=True, lookback=7)
    equity = torch.tensor(1e6, dtype=torch.float64)
    with pytest.raises(AccountingError, match="averaged over 5 bars; got 7 bars"):
        advance(market, torch.tensor(3), held, held, costs, equity)
    dry = Bars(bars.dates, bars.symbols, bars.open, None, None, bars.close, None)
    with pytest.raises(DataError, match="impact and participation need volumes"):
        MarketTensors.for_costs(dry, empty, costs)
    market = MarketTensors.from_bars(dry, empty, liquidity=True, lookback=5)
    with pytest.raises(AccountingError, match="got bars without volumes"):
        advance(market, torch.tensor(3), held, held, costs, equity)


def test_rates_for_other_assets_are_refused():
    bars = random_bars(9)
    with pytest.raises(AccountingError, match="commission_bps must be one number or 3"):
        MarketTensors.for_costs(bars, np.zeros((40, 3, 1)), CostModel(commission_bps=(1.0, 2.0)))


def test_every_money_field_changes_precision():
    bars = eventful_bars(4)
    costs = CostModel(impact=ImpactModel())
    market = MarketTensors.for_costs(bars, np.zeros((40, 3, 1)), costs, ledger="raw")
    market = replace(market, cost_scale=torch.ones(40, dtype=torch.float64))
    single = market.to(torch.float32)
    for owner in (single, single.liquidity):
        for field in fields(owner):
            value = getattr(owner, field.name)
            if isinstance(value, torch.Tensor) and value.dtype != torch.bool:
                assert value.dtype == torch.float32, field.name


def test_the_law_of_a_session_is_differentiable_under_every_rule():
    bars = eventful_bars(5, 20, 3)
    costs = CostModel(
        half_spread_bps=(1.0, 5.0, 9.0), borrow_bps_per_year=(1.0, 500.0, 90.0),
        share_commission=ShareCommission(), impact=ImpactModel(), cash_account=True,
    )  # fmt: skip
    market = MarketTensors.for_costs(bars, np.zeros((20, 3, 1)), costs, ledger="raw")
    equity = torch.tensor([1e6, 2e6], dtype=torch.float64)
    t = torch.tensor([6, 11])

    def outcome(held: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        after, growth = advance(market, t, held, change, costs, equity)
        return 100 * growth.sum() + after.square().sum()

    generator = torch.Generator().manual_seed(2)
    held, change = (
        (torch.rand(2, 3, generator=generator).double() * 0.4).requires_grad_(True)
        for _ in range(2)
    )
    assert torch.autograd.gradcheck(outcome, (held, change))
