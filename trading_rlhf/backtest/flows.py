"""What every session of a backtest did to the money, asset by asset."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, mark, order_costs
from trading_rlhf.env.dynamics import MarketTensors, fill_bar
from trading_rlhf.market import Bars, carry_forward
from trading_rlhf.types import FloatArray

__all__ = ["NOTHING", "Conditions", "Flows", "money_flows", "printed_prices", "unit_prices"]

NOTHING = 1e-12
"""Orders and weights of at most this part of the equity are rounding."""


@dataclass(frozen=True)
class Conditions:
    """What strategies were run on.

    Attributes:
        bars: prices.
        market: what moved the money.
        costs: the cost model.
        equity_usd: equity at the first bar (USD).
        delay: bars of review between decision and fill.
    """

    bars: Bars
    market: MarketTensors
    costs: CostModel
    equity_usd: float = 1e6
    delay: int = 0


@dataclass(frozen=True)
class Flows:
    """Money by session, in units of the starting equity; the first bar is zero.

    The change of equity is gains less costs and interest, plus what was forgiven.

    Attributes:
        traded: ``[B, T, N]`` value of orders that filled (signed).
        forced: ``[B, T, N]`` value that a delisting, or ruin overnight, closed at the fill price
            (signed as an order).
        ended: ``[B, T, N]`` value that ruin after the fill closed at the close (signed as an
            order).
        costs: ``[B, T, N]`` what orders and delistings cost.
        gains: ``[B, T, N]`` by prices and dividends, before costs.
        dividends: ``[B, T, N]`` the part of gains that was paid in cash.
        interest: ``[B, T]`` interest and borrow fees paid less interest earned.
        forgiven: ``[B, T]`` loss beyond the equity; nonzero only in the session of ruin.
        equity_at_fill: ``[B, T]``.
    """

    traded: FloatArray
    forced: FloatArray
    ended: FloatArray
    costs: FloatArray
    gains: FloatArray
    dividends: FloatArray
    interest: FloatArray
    forgiven: FloatArray
    equity_at_fill: FloatArray


def money_flows(
    conditions: Conditions, equity: FloatArray, weights: FloatArray, filled: FloatArray
) -> Flows:
    """Take a backtest apart.

    Args:
        conditions: what it ran on.
        equity: ``[B, T]`` at the close.
        weights: ``[B, T, N]`` at the close (fraction of equity).
        filled: ``[B, T, N]`` what filled (fraction of equity at the fill).
    """
    market, costs = conditions.market, conditions.costs
    curve, holdings, fills = (
        torch.as_tensor(x).to(market.overnight) for x in (equity, weights, filled)
    )
    start, held, fills = curve[:, :-1], holdings[:, :-1], fills[:, 1:]
    accrued = costs.accrual(held, market.days[1:])
    yields = torch.zeros_like(held) if market.dividends is None else held * market.dividends[1:]
    _, night = mark(held, accrued - yields.sum(-1), market.overnight[1:])
    at_fill = (start * night).unsqueeze(-1)
    worth = held * start.unsqueeze(-1)
    before = worth * (1.0 + market.overnight[1:])
    # Ruin overnight ends a position at the fill, as a delisting does.
    owned = held.abs() > NOTHING
    gone = owned & (night <= 0).unsqueeze(-1)
    lost = torch.zeros_like(before)
    if market.delisted is not None:
        delisted = owned & ~gone & market.delisted[1:]
        lost = torch.where(delisted, before.abs() * costs.delisting_haircut, 0.0)
        gone = gone | delisted
    traded = fills * at_fill
    after = torch.where(gone, 0.0, before) + traded
    paid = _each_cost(conditions, fills, start, night) * at_fill + lost
    dividends = yields * start.unsqueeze(-1)
    gains = worth * market.overnight[1:] + dividends + after * market.intraday[1:]
    interest = accrued * start
    ruined = (start > 0) & (curve[:, 1:] <= 0)
    left = start + (gains - paid).sum(-1) - interest
    ended = ruined.unsqueeze(-1) & (after.abs() > NOTHING * at_fill)
    parts = (
        torch.where(fills.abs() > NOTHING, traded, 0.0),
        torch.where(gone, -before, 0.0),
        torch.where(ended, -after * (1.0 + market.intraday[1:]), 0.0),
        paid,
        gains,
        dividends,
        interest,
        torch.where(ruined, -left, 0.0).clamp(min=0),
        at_fill.squeeze(-1),
    )
    return Flows(*(_from_first_bar(part) for part in parts))


def _each_cost(conditions: Conditions, fills: Tensor, start: Tensor, night: Tensor) -> Tensor:
    """Cost ``[B, T - 1, N]`` of each order (fraction of equity at the fill)."""
    market, costs, bar = conditions.market, conditions.costs, None
    if costs.needs_equity:
        decisions = torch.arange(fills.shape[1], device=fills.device)
        bar = fill_bar(market, decisions, costs, start * conditions.equity_usd, night)
    each = order_costs(fills, costs, bar)
    return each if market.cost_scale is None else each * market.cost_scale[1:].unsqueeze(-1)


def _from_first_bar(later: Tensor) -> FloatArray:
    whole: FloatArray = torch.cat([torch.zeros_like(later[:, :1]), later], 1).cpu().numpy()
    return whole


def printed_prices(bars: Bars) -> tuple[FloatArray, FloatArray]:
    """Fill price and close ``[T, N]`` as traded (USD a share); the last known without a bar."""
    units = np.cumprod(bars.split, axis=0)
    close = carry_forward(np.where(bars.tradable, bars.raw_close * units, np.nan)) / units
    price = np.where(bars.tradable, bars.fill_price * bars.raw_close / bars.close, close)
    return price, close


def unit_prices(market: MarketTensors) -> tuple[FloatArray, FloatArray]:
    """Fill price and close ``[T, N]`` of what one unit of money in an asset has become.

    Positions counted in such units change only by orders: splits, gaps and, on the adjusted ledger,
    dividends are in the price.
    """
    day = (1.0 + market.intraday).cpu().numpy()
    close = np.cumprod((1.0 + market.overnight).cpu().numpy() * day, axis=0)
    return close / day, close
