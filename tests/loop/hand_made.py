"""A run of two assets with known prices, whose trades are written by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.accounting import CostModel
from trading_rlhf.config import RunConfig
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.feedback import ReviewDesk, create_account
from trading_rlhf.loop import Context, SettableClock
from trading_rlhf.market import Bars, bar_close, default_registry
from trading_rlhf.proposals import Proposal
from trading_rlhf.store import open_store

COSTS = CostModel(commission_bps=0.0, half_spread_bps=10.0, slippage_bps=0.0)
FIRST_TEST_BAR = 120


def close_of_a(t: int) -> float:
    return 100.0 + t


def open_of_a(t: int) -> float:
    return 99.5 + t


def make_bars(n_bars: int = 260, missing: int | None = None) -> Bars:
    """A rises by 1 USD a session and opens half a dollar up; B wanders, and pays for nothing."""
    days = pd.bdate_range("2001-01-02", periods=n_bars)
    rows = np.arange(n_bars)
    b = 50.0 * (1.0 + 0.05 * np.sin(rows))
    close = np.column_stack([close_of_a(rows), b])
    open_ = np.column_stack([open_of_a(rows), b * 1.001])
    tradable = np.ones(close.shape, dtype=bool)
    if missing is not None:
        tradable[missing, 0] = False
        close[missing, 0] = open_[missing, 0] = np.nan
    volume = np.where(tradable, 1e6, np.nan)
    return Bars(days, ["A", "B"], open_, None, None, close, volume, tradable=tradable)


def make_market(bars: Bars, costs: CostModel = COSTS) -> MarketTensors:
    return MarketTensors.for_costs(bars, np.zeros((*bars.shape, 1), dtype=np.float32), costs)


def make_context(folder: Path, key: bytes, delay: int = 0) -> Context:
    bars = make_bars()
    clock = SettableClock(lambda: datetime(2026, 1, 5, tzinfo=UTC))
    return Context(
        folder=folder,
        config=RunConfig(data="hand", costs=COSTS, gate=GateConfig(delay=delay)),
        bars=bars,
        registry=default_registry(),
        market=make_market(bars),
        train_bars=range(20, FIRST_TEST_BAR - 20),
        stopping_bars=range(0),
        validation_bars=range(0),
        test_bars=range(FIRST_TEST_BAR, bars.shape[0]),
        store=open_store(folder / "store.db", key, clock),
        clock=clock,
    )


def make_trade(context: Context, t: int, symbol: str = "A", **changes: object) -> Proposal:
    close = bar_close(context.bars, t)
    later = close + timedelta(hours=17)
    trade = Proposal(
        id=f"{symbol}-{t}",
        market="hand",
        symbol=symbol,
        mode="history",
        bar=t,
        known_at=close,
        decided_at=close,
        earliest_fill_at=later,
        expires_at=later,
        horizon=20,
        held=0.0,
        target=0.2,
        price=close_of_a(t),
        equity=1e6,
        cost=0.0002,
        confidence=0.5,
        reasons=(),
        feature_names=("trend_60",),
        features=(1.0,),
        portfolio={"A": 0.0, "B": 0.0},
        planned={"A": 0.2, "B": 0.0},
        entry_price=None,
        open_profit=None,
        policy_id="policy-1",
        data_sha256=context.bars.sha256,
    )
    trade = replace(trade, **changes)
    return replace(trade, portfolio=trade.portfolio | {symbol: trade.held})


def make_person(context: Context, name: str) -> str:
    return create_account(context.store, name, None, "reviewer").id


def make_simulated(context: Context, name: str) -> str:
    return create_account(context.store, name, None, "reviewer", simulated=True).id


def answer(context: Context, reviewer: str, trade: Proposal, verdict: str, **more: object) -> None:
    """Store a trade and a verdict, given half an hour after the decision where it is live."""
    desk = ReviewDesk(context.store, context.clock, overlap=5)
    desk.add_proposals([trade])
    context.clock.moment = (
        trade.decided_at + timedelta(minutes=30) if trade.mode == "live" else None
    )
    desk.submit(reviewer, trade.id, verdict, token=f"{reviewer}{trade.id}", seconds=2.0, **more)
    context.clock.moment = None
