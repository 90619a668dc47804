"""Every rule of a cost model against the ledger of shares and cash, in any mixture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.ledger import Ledger, Queue
from tests.laws.random_bars import eventful_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import MarketTensors, advance
from trading_rlhf.market import Bars

CAPITAL = 1e6
N_ASSETS = 3

seeds = st.integers(0, 2**31)
bps = st.floats(0.0, 100.0)


def rates(values):
    """One rate, or one for each asset."""
    return st.one_of(values, st.tuples(*[values] * N_ASSETS))


share_commissions = st.builds(
    ShareCommission,
    per_share_usd=st.floats(0.0, 0.1),
    minimum_usd=st.floats(0.0, 200.0),
    maximum_bps=st.floats(10.0, 300.0),
)
impacts = st.builds(
    ImpactModel,
    coefficient=st.floats(0.0, 2.0),
    participation=st.floats(0.005, 0.2),
    lookback=st.integers(2, 12),
)
cost_models = st.builds(
    CostModel,
    commission_bps=rates(bps),
    half_spread_bps=rates(bps),
    slippage_bps=rates(bps),
    borrow_bps_per_year=rates(st.floats(0.0, 2000.0)),
    margin_bps_per_year=st.floats(0.0, 2000.0),
    cash_bps_per_year=st.floats(0.0, 1000.0),
    short_rebate_bps_per_year=st.floats(0.0, 1000.0),
    share_commission=st.none() | share_commissions,
    impact=st.none() | impacts,
    whole_shares=st.booleans(),
    cash_account=st.booleans(),
    delisting_haircut=st.floats(0.0, 1.0),
    delisted_after=st.integers(1, 12),
)


def fuzzed_targets(seed: int, bars: Bars, gross: float) -> np.ndarray:
    """Weights that are resized, flipped, closed, held (NaN) and sometimes levered."""
    generator = np.random.default_rng(seed)
    weights = generator.uniform(-1.0, 1.0, bars.shape)
    weights *= gross * generator.random((bars.shape[0], 1)) / np.abs(weights).sum(1, keepdims=True)
    kind = generator.random(bars.shape)
    weights = np.where(kind < 0.15, 0.0, weights)
    return np.where(kind > 0.75, np.nan, weights)


def ledger_equity(
    bars: Bars,
    targets: np.ndarray,
    costs: CostModel,
    *,
    raw: bool = False,
    delay: int = 0,
    cost_scale: list[float] | None = None,
) -> list[float]:
    """Equity by the ledger, starting at one."""
    ledger = Ledger(bars, costs, CAPITAL, raw=raw, cost_scale=cost_scale)
    queue = Queue(ledger, delay)
    ledger.observe(0)
    equity = [1.0]
    for t in range(bars.shape[0] - 1):
        due = queue.close(t, targets[t].tolist())
        equity.append(ledger.session(t + 1, due).equity / CAPITAL)
        if raw:
            queue.split(t + 1)
    return equity


def assert_equal_to_the_ledger(bars, targets, costs, *, raw=False, delay=0):
    # The limit is out of reach: settlement has laws of its own.
    result = run_backtest(
        bars, targets, costs, max_gross=50.0, equity_usd=CAPITAL, delay=delay,
        ledger="raw" if raw else "adjusted",
    )  # fmt: skip
    expected = ledger_equity(bars, targets, costs, raw=raw, delay=delay)
    np.testing.assert_allclose(result.equity[0], expected, rtol=1e-12, atol=1e-12)
    return result


@settings(max_examples=35, deadline=None)
@given(
    seed=seeds,
    costs=cost_models,
    raw=st.booleans(),
    delay=st.integers(0, 3),
    gross=st.sampled_from([0.9, 2.5]),
    volume=st.sampled_from([1e6, 1e7, 1e9]),
    has_open=st.booleans(),
)
def test_any_mixture_of_rules_is_the_ledger(seed, costs, raw, delay, gross, volume, has_open):
    bars = eventful_bars(seed, 32, N_ASSETS, dollar_volume=volume, has_open=has_open)
    targets = fuzzed_targets(seed + 1, bars, gross)
    assert_equal_to_the_ledger(bars, targets, costs, raw=raw, delay=delay)


PLAIN = CostModel(commission_bps=5.0, cash_bps_per_year=200.0, short_rebate_bps_per_year=30.0)
RULES = {
    "commission per asset": {"commission_bps": (1.0, 30.0, 80.0)},
    "half spread per asset": {"half_spread_bps": (0.0, 40.0, 10.0)},
    "slippage per asset": {"slippage_bps": (20.0, 0.0, 60.0)},
    "borrow per asset": {"borrow_bps_per_year": (10.0, 900.0, 4000.0)},
    "commission by the share": {
        "share_commission": ShareCommission(per_share_usd=0.05, minimum_usd=0.0)
    },
    "minimum of an order": {
        "share_commission": ShareCommission(per_share_usd=0.0, minimum_usd=90.0)
    },
    "maximum of an order": {
        "share_commission": ShareCommission(minimum_usd=1e4, maximum_bps=40.0)
    },
    "impact": {"impact": ImpactModel(participation=1.0, coefficient=1.0)},
    "participation": {"impact": ImpactModel(participation=0.01, coefficient=0.0)},
    "whole shares": {"whole_shares": True},
    "cash account": {"cash_account": True},
    "delisting haircut": {"delisting_haircut": 0.9},
}  # fmt: skip


def eventful(seed: int) -> tuple[Bars, np.ndarray]:
    bars = eventful_bars(seed, 40, N_ASSETS, dollar_volume=2e7)
    return bars, fuzzed_targets(seed + 1, bars, 2.0)


@pytest.mark.parametrize("raw", [False, True], ids=["adjusted", "raw"])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_the_ledgers_and_it_bites(rule, raw):
    bars, targets = eventful(5)
    costs = PLAIN.model_copy(update=RULES[rule])
    result = assert_equal_to_the_ledger(bars, targets, costs, raw=raw)
    without = run_backtest(
        bars, targets, PLAIN, max_gross=50.0, ledger="raw" if raw else "adjusted"
    )
    assert np.abs(result.equity / without.equity - 1.0).max() > 1e-6


@pytest.mark.parametrize("delay", [1, 2, 3])
@pytest.mark.parametrize("raw", [False, True], ids=["adjusted", "raw"])
def test_a_review_delay_is_the_ledgers_and_it_bites(delay, raw):
    bars, targets = eventful(6)
    late = assert_equal_to_the_ledger(bars, targets, PLAIN, raw=raw, delay=delay)
    sooner = assert_equal_to_the_ledger(bars, targets, PLAIN, raw=raw, delay=delay - 1)
    assert np.abs(late.equity / sooner.equity - 1.0).max() > 1e-3
    assert not late.weights[0, : delay + 1].any()


@pytest.mark.parametrize("seed", range(3))
def test_ruin_is_the_ledgers_under_every_rule(seed):
    bars = eventful_bars(seed, 40, N_ASSETS, volatility=0.3, dollar_volume=1e9)
    targets = fuzzed_targets(seed, bars, 6.0)
    costs = PLAIN.model_copy(
        update={
            "whole_shares": True,
            "impact": ImpactModel(),
            "share_commission": ShareCommission(),
        }
    )
    result = assert_equal_to_the_ledger(bars, targets, costs, raw=True)
    assert result.equity[0, -1] == 0.0
    assert np.isfinite(result.weights).all()
    assert not result.filled[0, (result.equity[0] == 0.0).argmax() + 1 :].any()


def test_costs_that_drift_are_the_ledgers():
    bars, targets = eventful(7)
    scale = np.random.default_rng(1).uniform(0.0, 4.0, len(bars.dates))
    costs = PLAIN.model_copy(
        update={
            "cash_account": True,
            "impact": ImpactModel(),
            "share_commission": ShareCommission(),
        }
    )
    market = MarketTensors.for_costs(bars, np.zeros((*bars.shape, 1)), costs)
    market = replace(market, cost_scale=torch.tensor(scale))
    result = run_backtest(bars, targets, costs, max_gross=50.0, market=market)
    expected = ledger_equity(bars, targets, costs, cost_scale=scale.tolist())
    np.testing.assert_allclose(result.equity[0], expected, rtol=1e-12)
    unscaled = run_backtest(bars, targets, costs, max_gross=50.0)
    assert np.abs(result.equity / unscaled.equity - 1.0).max() > 1e-5


@settings(max_examples=20, deadline=None)
@given(seed=seeds, costs=cost_models, raw=st.booleans(), delay=st.integers(0, 2))
def test_each_session_conserves_money_and_reports_what_it_did(seed, costs, raw, delay):
    """Costs, carry and fills as the ledger counted them, bar by bar."""
    bars = eventful_bars(seed, 24, N_ASSETS)
    targets = fuzzed_targets(seed + 1, bars, 1.5)
    result = run_backtest(
        bars, targets, costs, max_gross=50.0, delay=delay, ledger="raw" if raw else "adjusted"
    )
    ledger = Ledger(bars, costs, CAPITAL, raw=raw)
    queue = Queue(ledger, delay)
    ledger.observe(0)
    for t in range(bars.shape[0] - 1):
        # The ledger itself checks that equity moved by profit less costs and carry.
        session = ledger.session(t + 1, queue.close(t, targets[t].tolist()))
        if raw:
            queue.split(t + 1)
        paid = result.costs[0, t + 1] * ledger.equity_at_fill / CAPITAL
        assert paid == pytest.approx(session.costs / CAPITAL, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(result.weights[0, t + 1], ledger.weights(), atol=1e-11)
        np.testing.assert_allclose(result.filled[0, t + 1], ledger.filled, atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, commission=share_commissions, raw=st.booleans())
def test_doubling_every_trading_cost_never_raises_equity(seed, commission, raw):
    bars = eventful_bars(seed, 25, N_ASSETS, dollar_volume=1e11)
    targets = fuzzed_targets(seed, bars, 0.9)
    impact = ImpactModel(coefficient=2.0, participation=1.0)
    costs = CostModel(half_spread_bps=(1.0, 5.0, 9.0), share_commission=commission, impact=impact)
    ledger = "raw" if raw else "adjusted"
    cheap = run_backtest(bars, targets, costs, ledger=ledger).equity
    dear = run_backtest(bars, targets, costs.scaled(2.0), ledger=ledger).equity
    assert (dear <= cheap * (1 + 1e-12)).all()
    assert dear[0, -1] < cheap[0, -1] or not run_backtest(bars, targets, costs).filled.any()


@settings(max_examples=10, deadline=None)
@given(seed=seeds, k=st.floats(1e-2, 1e2), raw=st.booleans(), delay=st.integers(0, 1))
def test_the_unit_of_prices_does_not_matter_to_impact_and_cash(seed, k, raw, delay):
    bars = eventful_bars(seed, 25, N_ASSETS)
    scaled = Bars(
        bars.dates, bars.symbols,
        *(x * k for x in (bars.open, bars.high, bars.low, bars.close)), bars.volume / k,
        bars.raw_close * k, bars.split, bars.dividend * k, bars.tradable,
    )  # fmt: skip
    targets = fuzzed_targets(seed, bars, 1.2)
    costs = PLAIN.model_copy(update={"impact": ImpactModel(), "cash_account": True})
    ledger = "raw" if raw else "adjusted"
    one = run_backtest(bars, targets, costs, max_gross=2.0, ledger=ledger, delay=delay)
    other = run_backtest(scaled, targets, costs, max_gross=2.0, ledger=ledger, delay=delay)
    np.testing.assert_allclose(other.equity, one.equity, rtol=1e-11)


@pytest.mark.parametrize("raw", [False, True], ids=["adjusted", "raw"])
def test_training_precision_is_close_to_that_of_money_under_every_rule(raw):
    bars = eventful_bars(8, 40, N_ASSETS)
    costs = PLAIN.model_copy(
        update={
            "half_spread_bps": (1.0, 4.0, 9.0),
            "impact": ImpactModel(),
            "share_commission": ShareCommission(),
            "cash_account": True,
        }
    )
    market = MarketTensors.for_costs(
        bars, np.zeros((*bars.shape, 1)), costs, ledger="raw" if raw else "adjusted"
    )
    t = torch.arange(39)
    generator = torch.Generator().manual_seed(3)
    held, change = (torch.rand(39, 3, generator=generator).double() * 0.4 for _ in range(2))
    equity = torch.full((39,), CAPITAL, dtype=torch.float64)
    _, exact = advance(market, t, held, change - 0.2, costs, equity)
    single = market.to(torch.float32)
    _, rough = advance(single, t, held.float(), change.float() - 0.2, costs, equity.float())
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().max()) < 2e-6
