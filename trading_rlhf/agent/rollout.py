"""Run policies through the market under the hard gate, remembering refusals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent.policy import Policy
from trading_rlhf.env import (
    GateConfig,
    MarketTensors,
    Orders,
    Reviewed,
    advance,
    carry,
    draw_answers,
    no_orders,
    review,
)
from trading_rlhf.types import Desk

__all__ = ["Walk", "Position", "start_position", "walk"]

_APPROVED: Final = 0.5
"""The deciding desk executes what it approves of rather than not."""

_AHEAD: Final = 2**22
"""Numbers to which bars are encoded ahead of the accounts."""


@dataclass(frozen=True)
class Position:
    """Accounts between two bars.

    Attributes:
        held: ``[S, B, N]`` weights at the close (fraction of equity).
        cooldown: ``[S, B, N]`` bars for which a refused side rests, signed by side.
        entry: ``[S, B, N]`` average entry price over the current price; 1 when flat.
        orders: orders under review.
        equity: ``[S, B]`` equity at the close (USD).
    """

    held: Tensor
    cooldown: Tensor
    entry: Tensor
    orders: Orders
    equity: Tensor


@dataclass(frozen=True)
class Walk:
    """What happened, bar by bar (K decisions).

    Attributes:
        t: ``[K, B]`` decision bars.
        held: ``[K, S, B, N]`` weights at the decision (fraction of equity).
        target: ``[K, S, B, N]`` what the policy wanted.
        shown: ``[K, S, B, N]`` bool, proposed to the desk.
        executed: ``[K, S, B, N]`` settled change that was ordered; with a review delay, of what
            was shown before.
        approval: ``[K, S, B, N]`` the deciding desk's probability; NaN without one.
        log_growth: ``[K, S, B]`` log of equity growth to the next close.
        end: accounts after the last bar.
    """

    t: Tensor
    held: Tensor
    target: Tensor
    shown: Tensor
    executed: Tensor
    approval: Tensor
    log_growth: Tensor
    end: Position


def start_position(
    members: int,
    episodes: int,
    n_assets: int,
    dtype: torch.dtype,
    capital: float = 1e6,
    device: torch.device | str = "cpu",
) -> Position:
    """Flat accounts: ``capital`` (USD) in cash."""
    flat = torch.zeros((members, episodes, n_assets), dtype=dtype, device=device)
    equity = torch.full((members, episodes), capital, dtype=dtype, device=device)
    return Position(flat, torch.zeros_like(flat), torch.ones_like(flat), no_orders(flat), equity)


@torch.no_grad()
def walk(
    policy: Policy,
    market: MarketTensors,
    start: Tensor,
    length: int,
    costs: CostModel,
    gate: GateConfig,
    *,
    position: Position | None = None,
    model: Desk | None = None,
    thresholds: Tensor | None = None,
    decider: Desk | None = None,
    on_step: Callable[[int], None] | None = None,
    capital: float = 1e6,
    generator: torch.Generator | None = None,
) -> Walk:
    """Step S policies through B episodes of ``length`` bars.

    A trade is shown where it is large enough, its side does not rest and the filter's
    p exceeds its threshold; it executes, after the gate's review delay, where the decider's p
    exceeds one half. The policy sees what it holds and what it has ordered as one position.

    Args:
        policy: S stacked policies.
        market: prices in the precision in which money is counted.
        start: ``[B]`` first decision bars.
        length: number of decisions K.
        costs: cost model.
        gate: smallest trade, cool-down, review and the default threshold of the filter.
        position: accounts to go on from; None starts flat.
        model: the reward model that filters; None shows everything.
        thresholds: ``[S]`` thresholds of the filter; None is the gate's.
        decider: the desk that answers; None approves everything shown.
        on_step: called with the number of decisions done.
        capital: equity of flat accounts (USD), for costs in USD.
        generator: draws when reviews are answered; needed where that is a matter of chance.

    Returns:
        The walk.
    """
    dtype, device = market.overnight.dtype, market.overnight.device
    now = position or start_position(
        policy.members, len(start), market.shape[1], dtype, capital, device
    )
    bars = thresholds if thresholds is not None else torch.tensor([gate.threshold])
    bars = bars.to(device).view(-1, 1, 1)
    view = _View(policy, market, costs, gate, model, bars, decider)
    rows: list[tuple[Tensor, ...]] = []
    ahead = _bars_ahead(policy, now.held)
    for step in range(length):
        t = start + step
        if step % ahead == 0:
            coming = torch.arange(step, min(step + ahead, length), device=start.device)
            encoded = policy.encode_bars(market.features, start + coming.unsqueeze(-1))
        answered = draw_answers(gate, now.held.shape, generator)
        target, desk = view.decide(t, encoded[:, step % ahead], now, answered)
        after, log_growth = view.move(t, now, desk)
        approval = desk.approval
        if approval is None:
            approval = torch.full_like(target, torch.nan)
        row = (t, now.held, target, desk.shown, desk.executed, approval.to(dtype), log_growth)
        rows.append(row)
        now = after
        if on_step is not None:
            on_step(step + 1)
    t, held, target, shown, executed, approval, log_growth = (
        torch.stack(column) for column in zip(*rows, strict=True)
    )
    return Walk(t, held, target, shown, executed, approval, log_growth, now)


@dataclass(frozen=True)
class _View:
    """What a walk consists of, besides its accounts."""

    policy: Policy
    market: MarketTensors
    costs: CostModel
    gate: GateConfig
    model: Desk | None
    thresholds: Tensor
    decider: Desk | None

    def decide(
        self, t: Tensor, encoded: Tensor, now: Position, answered: Tensor | None
    ) -> tuple[Tensor, Reviewed]:
        """The policy's target ``[S, B, N]`` and what the desk makes of it."""
        features, gate = self.market.features[t], self.gate
        held = now.held.to(torch.float32)
        # A new target is compared with what is held and ordered, so that is what it starts from.
        own = held if gate.immediate else (now.held + now.orders.pending).to(torch.float32)
        target = self.policy.decide(encoded, own).target
        # A trade in an asset that does not trade now cannot be judged from a stale price.
        allowed = self.market.fillable[t]
        if self.model is not None:
            allowed = allowed & (self.model(features, held, target) > self.thresholds)
        ask = None if self.decider is None else partial(_ask, self.decider, features, held)
        target = target.to(now.held.dtype)
        desk = review(
            now.held, now.orders, now.cooldown, target, gate, self.policy.config.max_gross,
            min_trade=gate.min_trade, ask=ask, allowed=allowed, answered=answered,
            threshold=_APPROVED,
        )  # fmt: skip
        return target, desk

    def move(self, t: Tensor, now: Position, desk: Reviewed) -> tuple[Position, Tensor]:
        """Accounts at the next close, and their log growth ``[S, B]``."""
        usd = now.equity if self.costs.needs_equity else None
        held, growth = advance(self.market, t, now.held, desk.executed, self.costs, usd)
        orders = desk.orders
        if not self.gate.immediate:
            orders = carry(orders, self.market, t, growth, self.gate.oldest_wait)
        entry = _entry_after(self.market, t, now, desk.executed)
        after = Position(held, desk.cooldown, entry, orders, now.equity * growth)
        return after, growth.clamp(min=1e-12).log()


def _ask(desk: Desk, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
    """A desk's probabilities in the precision of nets."""
    return desk(features, held, target.to(torch.float32))


def _bars_ahead(policy: Policy, held: Tensor) -> int:
    """For how many bars to encode at once: windows of bars that follow each other overlap."""
    if policy.config.plain:
        return 1
    return max(1, min(256, _AHEAD // (held.numel() * policy.config.hidden)))


def _entry_after(market: MarketTensors, t: Tensor, now: Position, executed: Tensor) -> Tensor:
    """Average entry over current price after the session that follows bar t."""
    overnight, intraday = market.overnight[t + 1], market.intraday[t + 1]
    at_fill = now.entry / (1.0 + overnight)
    filled = torch.where(market.fillable[t + 1], executed, 0.0)
    after = now.held + filled
    # What adds to a position, long or short, is averaged; what reduces it keeps its entry.
    had, added = now.held.abs(), filled.abs()
    total = had + added
    mixed = (had * at_fill + added) / torch.where(total > 1e-9, total, 1.0)
    adds = (filled != 0) & (now.held * filled >= 0)
    averaged = torch.where(adds, mixed, at_fill)
    # An order through zero closes one position and opens the other at its own price.
    averaged = torch.where(now.held * after < 0, 1.0, averaged)
    return torch.where(after.abs() <= 1e-9, 1.0, averaged / (1.0 + intraday))
