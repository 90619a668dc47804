"""Backtest target weights: every strategy of a batch through the law, bar by bar."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, settle
from trading_rlhf.backtest.result import BacktestResult, Conditions, measure
from trading_rlhf.env.dynamics import Ledger, MarketTensors, Session, trade_session
from trading_rlhf.env.orders import (
    LEAST_ORDER,
    Orders,
    carry,
    is_due,
    is_new,
    no_orders,
    place,
    remove,
    wanted_order,
)
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = ["SizeAt", "run_backtest"]

SizeAt = Literal["close", "fill"]

_DEFAULT_MAX_GROSS = 0.98

_FEWEST_BARS = 3
"""Two returns, so that they have a standard deviation."""


def run_backtest(
    bars: Bars,
    targets: FloatArray | Tensor,
    costs: CostModel | None = None,
    size_at: SizeAt = "close",
    device: str = "cpu",
    max_gross: float | None = None,
    *,
    equity_usd: float = 1e6,
    delay: int = 0,
    ledger: Ledger = "adjusted",
    market: MarketTensors | None = None,
) -> BacktestResult:
    """Run strategies that target weights.

    ``targets[b, t]`` is decided at the close of bar t and filled at the open of t+1+delay (at the
    close where bars have no open). Targets whose fill lies beyond the last bar fill nothing.

    Args:
        bars: prices.
        targets: ``[T, N]`` or ``[B, T, N]`` weights (fraction of equity, signed); NaN holds.
        costs: cost model; None is the default model.
        size_at: "close" sizes orders in shares at the decision's close; "fill" reaches the weight
            of the equity at the fill, as a target percentage.
        device: torch device.
        max_gross: limit of gross exposure; buys and new shorts scale down to it. None is 0.98 for
            "close" and no limit for "fill".
        equity_usd: equity at the first bar, for rules in USD.
        delay: bars of review between decision and fill. With "close" orders wait as in
            ``env.orders``; with "fill" each bar's targets apply so much later.
        ledger: "adjusted" earns dividends in the returns, "raw" pays them in cash.
        market: used instead of the one built from bars: the same assets under other conditions.

    Raises:
        AccountingError: targets have the wrong shape or infinite entries, bars are too few, or a
            setting is out of range.
    """
    batch = _check_targets(bars, targets, device)
    _check_settings(equity_usd, delay)
    costs = costs if costs is not None else CostModel()
    if market is None:
        empty = np.zeros((*bars.shape, 1), dtype=np.float32)
        market = MarketTensors.for_costs(bars, empty, costs, device, ledger=ledger)
    limit = _DEFAULT_MAX_GROSS if max_gross is None and size_at == "close" else max_gross
    trade = _trade_shares if size_at == "close" else _trade_weights
    path = trade(market, batch, costs, limit, equity_usd, delay)
    return path.result(Conditions(bars, market, costs, equity_usd, delay), device)


class _Path:
    """Accounts of B strategies, and what happened to them bar by bar."""

    def __init__(self, start: Tensor) -> None:
        self.held = torch.zeros_like(start)
        self.equity = torch.ones_like(start[:, 0])
        nothing, free = torch.zeros_like(start), torch.zeros_like(self.equity)
        self._rows = [(self.equity, self.held, nothing, nothing, free)]

    def add(self, ordered: Tensor, session: Session) -> None:
        """Take over a session, and what was ordered at the close before it."""
        self.held, self.equity = session.held, self.equity * session.growth
        self._rows.append((self.equity, self.held, ordered, session.filled, session.cost))

    def result(self, conditions: Conditions, device: str) -> BacktestResult:
        """Stack the bars ``[B, T]`` or ``[B, T, N]`` and measure the curves."""
        equity, weights, ordered, filled, paid = (
            torch.stack(column, 1) for column in zip(*self._rows, strict=True)
        )
        # An order stands at the close at which it was made.
        traded = ordered.roll(-1, 1)
        bars = conditions.bars
        table = measure(
            equity, weights, traded, conditions.costs, paid=paid, bars_per_year=bars.bars_per_year
        )
        return BacktestResult(
            bars.dates, bars.symbols, equity.cpu().numpy(), weights.cpu().numpy(),
            traded.cpu().numpy(), filled.cpu().numpy(), paid.cpu().numpy(),
            table, f"torch reference on {device}", conditions,
        )  # fmt: skip


def _trade_shares(
    market: MarketTensors,
    targets: Tensor,
    costs: CostModel,
    limit: float | None,
    equity_usd: float,
    delay: int,
) -> _Path:
    """Orders sized in shares at the close; they wait for their review."""
    path = _Path(targets[:, 0])
    orders = no_orders(path.held)
    for t in range(market.shape[0] - 1):
        now = torch.tensor(t, device=targets.device)
        target = torch.where((path.equity <= 0).unsqueeze(-1), torch.nan, targets[:, t])
        if delay:
            if market.listed is not None:
                # An order is a number of shares: without a price there is none.
                target = torch.where(market.listed[t], target, torch.nan)
            change, orders = _release(orders, path.held, target, delay)
        else:
            change = torch.where(target.isnan(), 0.0, target - path.held)
        if limit is not None:
            change = settle(path.held, change, limit) - path.held
        usd = path.equity * equity_usd
        session = trade_session(market, now, path.held, costs, change=change, equity=usd)
        if delay:
            orders = carry(orders, market, now, session.growth)
        path.add(change, session)
    return path


def _trade_weights(
    market: MarketTensors,
    targets: Tensor,
    costs: CostModel,
    limit: float | None,
    equity_usd: float,
    delay: int,
) -> _Path:
    """Targets of the equity at the fill; under a delay they apply so many bars later."""
    path = _Path(targets[:, 0])
    for t in range(market.shape[0] - 1):
        now = torch.tensor(t, device=targets.device)
        target = targets[:, t - delay] if t >= delay else torch.full_like(path.held, torch.nan)
        target = torch.where((path.equity <= 0).unsqueeze(-1), torch.nan, target)
        change = torch.where(target.isnan(), 0.0, target - path.held)
        if limit is not None:
            change = settle(path.held, change, limit) - path.held
        target = torch.where(target.isnan(), torch.nan, path.held + change)
        usd = path.equity * equity_usd
        session = trade_session(market, now, path.held, costs, target=target, equity=usd)
        path.add(change, session)
    return path


def _release(orders: Orders, held: Tensor, target: Tensor, delay: int) -> tuple[Tensor, Orders]:
    """Put the wanted changes under review; return those whose review is over, and the others."""
    wanted = wanted_order(orders, held, target)
    asked = is_new(orders, wanted, LEAST_ORDER)
    orders = place(orders, wanted, asked, 1.0, delay, LEAST_ORDER)
    due = is_due(orders)
    return torch.where(due, orders.pending, 0.0), remove(orders, due)


def _check_settings(equity_usd: float, delay: int) -> None:
    if not (math.isfinite(equity_usd) and equity_usd > 0):
        raise AccountingError(
            "equity_usd must be positive and finite", str(equity_usd), "Give the account in USD."
        )
    if delay < 0:
        raise AccountingError("delay must be zero or more bars", str(delay), "Give whole bars.")


def _check_targets(bars: Bars, targets: FloatArray | Tensor, device: str) -> Tensor:
    if bars.shape[0] < _FEWEST_BARS:
        raise AccountingError(
            f"a backtest needs at least {_FEWEST_BARS} bars", str(bars.shape[0]), "Use more bars."
        )
    try:
        batch = torch.as_tensor(targets, dtype=torch.float64, device=device)
    except (TypeError, ValueError) as error:
        raise AccountingError(
            "targets must be an array of numbers", str(error), "Pass a float array."
        ) from error
    given = tuple(batch.shape)
    if batch.ndim == 2:
        batch = batch.unsqueeze(0)
    if batch.ndim != 3 or tuple(batch.shape[1:]) != bars.shape:
        raise AccountingError(
            f"targets must have shape [T, N] or [B, T, N] with T, N = {bars.shape}",
            str(given),
            "Give one row per bar and one column per symbol.",
        )
    infinite = batch.isinf().nonzero()
    if len(infinite):
        _, t, asset = infinite[0].tolist()
        raise AccountingError(
            "target weights must be finite, or NaN to hold",
            f"an infinite weight for {bars.symbols[asset]} on {bars.dates[t].date()}",
            "Correct it.",
        )
    return batch
