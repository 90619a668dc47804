"""A backtest as a vectorbt portfolio: the same equity, the same trades, the year of its bars."""

import sys

import numpy as np
import pandas as pd
import pytest

from tests.laws.random_bars import eventful_bars, random_bars
from trading_rlhf.accounting import CostModel, ImpactModel, ShareCommission
from trading_rlhf.backtest import BacktestResult, run_backtest
from trading_rlhf.errors import AccountingError, ConfigError

NO_CARRY = {"borrow_bps_per_year": 0.0, "margin_bps_per_year": 0.0}
PLAIN = CostModel(**NO_CARRY)
RULES = CostModel(
    share_commission=ShareCommission(), impact=ImpactModel(lookback=5), whole_shares=True,
    cash_account=True, delisting_haircut=0.5, **NO_CARRY,
)  # fmt: skip


def long_short(costs: CostModel, delay: int = 0, **options) -> BacktestResult:
    """Three strategies on bars with splits, dividends, holes and a delisting."""
    bars = eventful_bars(5, 80, 4)
    generator = np.random.default_rng(3)
    targets = generator.uniform(-0.3, 0.2, (3, *bars.shape))
    targets[generator.random(targets.shape) < 0.5] = np.nan
    targets[generator.random(targets.shape) < 0.1] = 0.0
    return run_backtest(bars, targets, costs, delay=delay, **options)


@pytest.mark.parametrize("size_at", ["close", "fill"])
@pytest.mark.parametrize("costs", [PLAIN, RULES], ids=["plain", "every rule"])
@pytest.mark.parametrize("usd", [1e4, 1e7])
def test_its_value_is_the_equity(costs, size_at, usd):
    pytest.importorskip("vectorbt", reason="bench extra")
    result = long_short(costs, size_at=size_at, equity_usd=usd)
    portfolio = result.to_vectorbt(None)
    value = portfolio.value().to_numpy().T
    np.testing.assert_allclose(value / usd, result.equity, rtol=1e-9)
    fees = result.orders.groupby("strategy")["cost"].sum()
    paid = portfolio.orders.records_readable["Fees"].sum()
    assert paid == pytest.approx(fees.sum(), rel=1e-9)
    assert (result.orders["kind"] == "delisting").any()
    one = result.to_vectorbt(1)
    np.testing.assert_allclose(one.value() / usd, result.equity[1], rtol=1e-9)


def test_sales_pay_for_the_buys_of_their_session():
    pytest.importorskip("vectorbt", reason="bench extra")
    bars = random_bars(7, n_bars=20, n_assets=2)
    turns = np.arange(20)[:, None] % 2
    targets = np.hstack([turns, 1 - turns]) * 0.97
    result = run_backtest(bars, targets, PLAIN, size_at="fill")
    assert (np.abs(result.traded[0, 1:-1]) > 0.9).all()
    np.testing.assert_allclose(result.to_vectorbt().value() / 1e6, result.equity[0], rtol=1e-9)


@pytest.mark.parametrize("kind", ["trades", "positions"])
def test_its_trades_are_ours(kind):
    pytest.importorskip("vectorbt", reason="bench extra")
    result = long_short(PLAIN, delay=1).select(2)
    portfolio = result.to_vectorbt()
    records = portfolio.exit_trades if kind == "trades" else portfolio.positions
    theirs = records.records_readable.sort_values(
        ["Column", "Entry Timestamp", "Exit Timestamp"], ignore_index=True
    )
    ours = getattr(result, kind).astype({"symbol": str})
    ours = ours.sort_values(["symbol", "entered_on", "exited_on"], ignore_index=True)
    assert len(ours) == len(theirs) > 20
    pairs = {
        "symbol": "Column", "entered_on": "Entry Timestamp", "exited_on": "Exit Timestamp",
        "profit": "PnL", "return": "Return",
    }  # fmt: skip
    for mine, other in pairs.items():
        if mine in ("profit", "return"):
            np.testing.assert_allclose(ours[mine], theirs[other], rtol=1e-7, atol=1e-8)
        else:
            assert list(ours[mine]) == list(theirs[other])
    assert list(ours["side"].astype(str).str.title()) == list(theirs["Direction"])
    assert list(ours["open"]) == list(theirs["Status"] == "Open")
    ratio = ours["exit_price"] / ours["entry_price"]
    np.testing.assert_allclose(
        ratio, theirs["Avg Exit Price"] / theirs["Avg Entry Price"], rtol=1e-9
    )


def test_its_year_is_that_of_the_bars():
    pytest.importorskip("vectorbt", reason="bench extra")
    import vectorbt

    before = vectorbt.settings["returns"]["year_freq"]
    result = long_short(PLAIN)
    portfolio = result.to_vectorbt(0)
    returns = result.equity[0, 1:] / result.equity[0, :-1] - 1
    # Vectorbt counts a return of nothing at the first bar.
    returns = np.append(0.0, returns)
    expected = returns.mean() / returns.std(ddof=1) * 252**0.5
    assert portfolio.sharpe_ratio() == pytest.approx(expected, rel=1e-9)
    assert portfolio.stats(metrics=["sharpe_ratio"])["Sharpe Ratio"] == pytest.approx(
        expected, rel=1e-9
    )
    assert portfolio.sharpe_ratio(year_freq="365 days") != pytest.approx(expected, rel=1e-3)
    assert vectorbt.settings["returns"]["year_freq"] == before
    assert pd.Timedelta(portfolio.wrapper.freq) == pd.Timedelta(days=1)


@pytest.mark.parametrize(
    ("costs", "options", "message"),
    [
        (
            CostModel(margin_bps_per_year=0.0), {},
            "vectorbt knows no interest and no borrow fees; got strategies that paid or earned "
            "some. Run them with borrow_bps_per_year at zero.",
        ),
        (
            CostModel(cash_bps_per_year=100.0), {},
            "Run them with borrow_bps_per_year, margin_bps_per_year, cash_bps_per_year at zero.",
        ),
        (PLAIN, {"ledger": "raw"}, "vectorbt knows no dividends in cash; got"),
    ],
)  # fmt: skip
def test_what_vectorbt_does_not_know_is_one_sentence(costs, options, message):
    result = long_short(costs, **options)
    for strategy in (0, None):
        with pytest.raises(AccountingError) as caught:
            result.to_vectorbt(strategy)
        assert message in str(caught.value)


def test_borrowed_cash_and_ruin_are_one_sentence():
    bars = random_bars(5, n_bars=40)
    levered = run_backtest(bars, np.full(bars.shape, 0.5), PLAIN, max_gross=2.0)
    with pytest.raises(AccountingError, match=r"vectorbt borrows no cash; got strategy 0, which"):
        levered.to_vectorbt()
    wild = random_bars(6, n_bars=60, volatility=0.3)
    ruined = run_backtest(wild, np.full(wild.shape, -1.5), PLAIN, max_gross=50.0)
    assert ruined.equity[0, -1] == 0
    with pytest.raises(AccountingError, match="vectorbt knows no ruin; got strategy 0"):
        ruined.to_vectorbt()


def test_without_vectorbt_there_is_a_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "vectorbt", None)
    with pytest.raises(ConfigError) as caught:
        long_short(PLAIN).to_vectorbt()
    assert str(caught.value) == (
        "a vectorbt portfolio needs vectorbt; got no such package. "
        'Install it with: pip install "trading_rlhf[bench]".'
    )
