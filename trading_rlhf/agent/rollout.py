"""Run policies through the market under the hard gate, remembering refusals."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, settle
from trading_rlhf.agent.policy import Policy
from trading_rlhf.env import GateConfig, MarketTensors, advance, is_asked, remember_refusals
from trading_rlhf.types import Desk

__all__ = ["Walk", "Position", "start_position", "walk"]


@dataclass(frozen=True)
class Position:
    """Accounts between two bars.

    Attributes:
        held: ``[S, B, N]`` weights at the close (fraction of equity).
        cooldown: ``[S, B, N]`` bars for which a refused side rests, signed by side.
        entry: ``[S, B, N]`` average entry price over the current price; 1 when flat.
    """

    held: Tensor
    cooldown: Tensor
    entry: Tensor


@dataclass(frozen=True)
class Walk:
    """What happened, bar by bar (K decisions).

    Attributes:
        t: ``[K, B]`` decision bars.
        held: ``[K, S, B, N]`` weights at the decision (fraction of equity).
        target: ``[K, S, B, N]`` what the policy wanted.
        shown: ``[K, S, B, N]`` bool, proposed to the desk.
        executed: ``[K, S, B, N]`` settled change that was ordered.
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


def start_position(members: int, episodes: int, n_assets: int, dtype: torch.dtype) -> Position:
    """Flat accounts: everything in cash."""
    flat = torch.zeros((members, episodes, n_assets), dtype=dtype)
    return Position(flat, torch.zeros_like(flat), torch.ones_like(flat))


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
) -> Walk:
    """Step S policies through B episodes of ``length`` bars.

    A trade is shown where it is large enough, its side does not rest and the filter's
    p exceeds its threshold; it executes where the decider's p exceeds one half.

    Args:
        policy: S stacked policies.
        market: prices in the precision in which money is counted.
        start: ``[B]`` first decision bars.
        length: number of decisions K.
        costs: cost model.
        gate: smallest trade, cool-down and the default threshold.
        position: accounts to go on from; None starts flat.
        model: the reward model that filters; None shows everything.
        thresholds: ``[S]`` thresholds of the filter; None is the gate's.
        decider: the desk that answers; None approves everything shown.
        on_step: called with the number of decisions done.

    Returns:
        The walk.
    """
    n_assets = market.shape[1]
    dtype = market.overnight.dtype
    now = position or start_position(policy.members, len(start), n_assets, dtype)
    bars = thresholds if thresholds is not None else torch.tensor([gate.threshold])
    bars = bars.view(-1, 1, 1)
    rows: list[tuple[Tensor, ...]] = []
    for step in range(length):
        t = start + step
        features = market.features[t]
        held = now.held.to(torch.float32)
        target = policy.decide(policy.encode(features), held).target.to(dtype)
        change = target - now.held
        shown = is_asked(now.cooldown, change, gate.min_trade)
        # A trade in an asset that does not trade now cannot be judged from a stale price.
        shown &= market.fillable[t]
        if model is not None:
            shown &= model(features, held, target.to(torch.float32)) > bars
        approval = torch.full_like(change, torch.nan)
        approved = shown
        if decider is not None:
            approval = decider(features, held, target.to(torch.float32)).to(dtype)
            approved = shown & (approval > 0.5)
        wanted = torch.where(approved, change, 0.0)
        executed = settle(now.held, wanted, policy.config.max_gross) - now.held
        cooldown = remember_refusals(now.cooldown, change, shown & ~approved, gate.cooldown)
        after, growth = advance(market, t, now.held, executed, costs)
        log_growth = growth.clamp(min=1e-12).log()
        rows.append((t, now.held, target, shown, executed, approval, log_growth))
        entry = _entry_after(market, t, now, executed)
        now = Position(after, cooldown, entry)
        if on_step is not None:
            on_step(step + 1)
    t, held, target, shown, executed, approval, log_growth = (
        torch.stack(column) for column in zip(*rows, strict=True)
    )
    return Walk(t, held, target, shown, executed, approval, log_growth, now)


def _entry_after(market: MarketTensors, t: Tensor, now: Position, executed: Tensor) -> Tensor:
    """Average entry over current price after the session that follows bar t."""
    overnight, intraday = market.overnight[t + 1], market.intraday[t + 1]
    at_fill = now.entry / (1.0 + overnight)
    filled = torch.where(market.fillable[t + 1], executed, 0.0)
    bought = filled.clamp(min=0)
    total = now.held + bought
    mixed = (now.held * at_fill + bought) / torch.where(total > 1e-9, total, 1.0)
    averaged = torch.where(bought > 0, mixed, at_fill)
    closed = now.held + filled <= 1e-9
    return torch.where(closed, 1.0, averaged / (1.0 + intraday))
