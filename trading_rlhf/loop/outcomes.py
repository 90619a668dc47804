"""What proposed trades came to, each as a trade on its own under the law."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, fill
from trading_rlhf.env import MarketTensors, Orders, carry
from trading_rlhf.env.dynamics import fill_bar, trade_session
from trading_rlhf.proposals import HORIZON

__all__ = ["Outcomes", "Trades", "trade_outcomes"]


@dataclass(frozen=True)
class Trades:
    """P trades, each decided in an account of its own.

    Attributes:
        t: ``[P]`` decision bars, before the last bar.
        asset: ``[P]`` column of the traded asset.
        held: ``[P, N]`` weights at the close of t (fraction of equity).
        change: ``[P]`` ordered change of the asset's weight (fraction of equity, signed).
        equity: ``[P]`` equity at the close of t (USD), for costs in USD.
    """

    t: Tensor
    asset: Tensor
    held: Tensor
    change: Tensor
    equity: Tensor

    def orders(self) -> Tensor:
        """Changes ``[P, N]`` of whole portfolios (fraction of equity)."""
        column = self.asset.unsqueeze(-1)
        return torch.zeros_like(self.held).scatter(-1, column, self.change.unsqueeze(-1))


@dataclass(frozen=True)
class Outcomes:
    """What trades came to.

    Attributes:
        profit: ``[P]`` gained by the trade, all costs paid (fraction of equity at the decision).
        notional: ``[P]`` value of what filled, at its fill price (same unit); 0 where nothing did.
    """

    profit: Tensor
    notional: Tensor


@torch.no_grad()
def trade_outcomes(
    market: MarketTensors,
    trades: Trades,
    costs: CostModel,
    delay: int = 0,
    horizon: int = HORIZON,
) -> Outcomes:
    """Follow two accounts for each trade, one that makes it and one that does not.

    Neither trades anything else, so that their difference is the trade: its fill at the open of
    t + 1 + delay, prices and carry over ``horizon`` sessions or to the end of the data, and the
    cost of undoing it at that close. A sale of what is held thus earns what it avoided.

    Args:
        market: prices.
        trades: the trades.
        costs: cost model.
        delay: bars of review between decision and fill.
        horizon: sessions from the fill on.
    """
    last = market.shape[0] - 1
    end = (trades.t + delay + horizon).clamp(max=last)
    nothing = torch.zeros_like(trades.held)
    # With the trade, and without it: [2, P, N].
    held, order = torch.stack([trades.held] * 2), torch.stack([trades.orders(), nothing])
    worth = torch.ones_like(held[..., 0])
    notional = torch.zeros_like(trades.change)
    for step in range(delay + horizon):
        going = trades.t + step < end
        at = (trades.t + step).clamp(max=last - 1)
        due = order if step == delay else torch.zeros_like(order)
        usd = worth * trades.equity if costs.needs_equity else None
        session = trade_session(market, at, held, costs, change=due, equity=usd)
        if step == delay:
            value = session.filled.abs().sum(-1) * session.overnight * worth
            notional = torch.where(going, value[0], notional)
        waiting = Orders(order, torch.zeros_like(order), torch.ones_like(order))
        order = carry(waiting, market, at, session.growth).pending
        held = torch.where(going.unsqueeze(-1), session.held, held)
        worth = torch.where(going, worth * session.growth, worth)
    undone = _cost_of_undoing(market, trades, end, held, worth, costs)
    return Outcomes(worth[0] - undone - worth[1], notional)


def _cost_of_undoing(
    market: MarketTensors,
    trades: Trades,
    end: Tensor,
    held: Tensor,
    worth: Tensor,
    costs: CostModel,
) -> Tensor:
    """What it costs ``[P]`` at the close of ``end`` to hold again what the other account holds."""
    equity = worth[0].clamp(min=1e-12)
    wanted = held[1] * (worth[1] / equity).unsqueeze(-1)
    bar = None
    if costs.needs_equity:
        bar = fill_bar(market, end - 1, costs, trades.equity * equity, torch.ones_like(equity))
        if market.liquidity is not None:
            bar = replace(bar, price=market.liquidity.close[end])
    return fill(held[0], wanted, costs, bar) * equity
