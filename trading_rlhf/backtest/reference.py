"""The law of money bar by bar in torch: what every faster backtest must equal."""

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, settle
from trading_rlhf.env.dynamics import MarketTensors, Session, trade_session
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

__all__ = ["run_reference"]


def run_reference(
    market: MarketTensors,
    targets: Tensor,
    costs: CostModel,
    *,
    at_fill: bool = False,
    max_gross: float | None = 0.98,
    equity_usd: float = 1e6,
    delay: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run strategies through the law with every rule.

    Args:
        market: the market.
        targets: ``[B, T, N]`` float64 weights (fraction of equity); NaN holds.
        costs: the cost model.
        at_fill: targets are weights of the equity at the fill.
        max_gross: limit of gross exposure; None for none.
        equity_usd: equity at the first bar, for rules in USD.
        delay: bars of review between decision and fill.

    Returns:
        Equity ``[B, T]``, weights at the close, orders at the close and fills ``[B, T, N]``, and
        costs ``[B, T]``, as in ``BacktestResult``.
    """
    trade = _trade_weights if at_fill else _trade_shares
    path = trade(market, targets, costs, max_gross, equity_usd, delay)
    equity, weights, traded, filled, paid = path.stacked()
    return equity, weights, traded, filled, paid


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

    def stacked(self) -> tuple[Tensor, ...]:
        """Equity ``[B, T]``, weights, orders and fills ``[B, T, N]``, and costs ``[B, T]``."""
        equity, weights, ordered, filled, paid = (
            torch.stack(column, 1) for column in zip(*self._rows, strict=True)
        )
        # An order stands at the close at which it was made.
        return equity, weights, ordered.roll(-1, 1), filled, paid


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
