"""One step of B accounts as a pure function: no state of its own, no chance, nothing to wait for.

A faster implementation for a special case replaces ``transition`` as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.accounts import Accounts, restart
from trading_rlhf.env.dynamics import MarketTensors, advance
from trading_rlhf.env.gate import GateConfig
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig, Outcome, score
from trading_rlhf.env.orders import LEAST_ORDER, carry
from trading_rlhf.env.reviewing import Reviewed, review
from trading_rlhf.types import Desk

__all__ = ["Rules", "Transition", "transition"]


@dataclass(frozen=True)
class Rules:
    """What does not change from step to step.

    Attributes:
        costs: cost model.
        gate: the desk's rules.
        max_gross: limit of gross exposure (fraction of equity).
        episode_length: bars per episode.
        first_start: earliest first bar.
        last_start: latest first bar.
        desk: probability of approval of each trade; None approves everything.
        soft_gate: the smooth gate of training instead of the hard decision.
        capital: equity at the start of an episode (USD).
        objective: weights of the reward; None is log growth.
        limits: limits that are watched; None watches none.
    """

    costs: CostModel
    gate: GateConfig
    max_gross: float
    episode_length: int
    first_start: int
    last_start: int
    desk: Desk | None = None
    soft_gate: bool = False
    capital: float = 1e6
    objective: ObjectiveConfig | None = None
    limits: ConstraintConfig | None = None

    @property
    def plain(self) -> bool:
        """Whether orders need no answer, no amount in USD, and nothing but growth counts."""
        asks = self.desk is not None or not self.gate.immediate
        watches = self.objective is not None or self.limits is not None
        return not asks and not watches and not self.costs.needs_equity


@dataclass(frozen=True)
class Transition:
    """What a step did.

    Attributes:
        accounts: state afterwards.
        reward: ``[B]``.
        terminated: ``[B]`` bool, ruined.
        truncated: ``[B]`` bool, at the end of the episode.
        executed: ``[B, N]`` settled change ordered for the session (fraction of equity).
        approval: ``[B, N]`` probability of approval of each change; None without a desk.
        outcome: what the step is judged by; None where nothing but growth counts.
    """

    accounts: Accounts
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    executed: Tensor
    approval: Tensor | None = None
    outcome: Outcome | None = None


def transition(
    market: MarketTensors,
    rules: Rules,
    accounts: Accounts,
    target: Tensor,
    answered: Tensor | None = None,
) -> Transition:
    """Decide at the close of t and move to the close of t+1; finished accounts only restart.

    Args:
        market: the market.
        rules: what does not change.
        accounts: state at the close of t.
        target: ``[B, N]`` weights wanted (fraction of equity); NaN leaves things as they are.
        answered: ``[B, N]`` bool, from ``draw_answers``.
    """
    over = accounts.done
    # A finished account may stand at the last bar; it only restarts, so any bar will do.
    now = replace(accounts, t=torch.where(over, accounts.start, accounts.t))
    desk = _review(market, rules, now, target, answered)
    equity = now.equity * rules.capital if rules.costs.needs_equity else None
    held, growth = advance(market, now.t, now.held, desk.executed, rules.costs, equity)
    orders = desk.orders
    if not rules.gate.immediate:
        orders = carry(orders, market, now.t, growth, rules.gate.oldest_wait)
    total = now.equity * growth
    terminated = (growth <= 0) & ~over
    truncated = (now.t + 1 - now.start >= rules.episode_length) & ~over & ~terminated
    moved = Accounts(
        now.t + 1, now.start, held, desk.cooldown, total, torch.maximum(now.peak, total),
        orders, terminated | truncated, now.stream,
    )  # fmt: skip
    after = restart(moved, over, rules.first_start, rules.last_start)
    reward = torch.where(over, 0.0, growth.clamp(min=1e-12).log())
    executed = torch.where(over.unsqueeze(-1), 0.0, desk.executed)
    outcome = None
    if rules.objective is not None or rules.limits is not None:
        outcome = _judge(accounts, after, executed, reward)
    if rules.objective is not None and outcome is not None:
        reward = score(outcome, rules.objective)
    return Transition(after, reward, terminated, truncated, executed, desk.approval, outcome)


def _review(
    market: MarketTensors,
    rules: Rules,
    now: Accounts,
    target: Tensor,
    answered: Tensor | None,
) -> Reviewed:
    """Put the targets to the desk; without one, every wish becomes an order."""
    ask: Callable[[Tensor], Tensor] | None = None
    allowed, min_trade = None, 0.0
    if rules.desk is not None:
        ask = partial(rules.desk, market.features[now.t], now.held)
        # A trade in an asset that does not trade now cannot be judged from a stale price.
        allowed = market.fillable[now.t]
        min_trade = 0.0 if rules.soft_gate else rules.gate.min_trade
    elif not rules.gate.immediate:
        # What has no price yet cannot be ordered, and rounding must not wait for a review.
        allowed = None if market.listed is None else market.listed[now.t]
        min_trade = LEAST_ORDER
    return review(
        now.held, now.orders, now.cooldown, target, rules.gate, rules.max_gross,
        min_trade=min_trade, ask=ask, allowed=allowed, answered=answered, soft=rules.soft_gate,
    )  # fmt: skip


def _judge(before: Accounts, after: Accounts, executed: Tensor, log_growth: Tensor) -> Outcome:
    """What a step is judged by; a restart is judged as a step without events."""
    old, new = (1.0 - each.equity / each.peak for each in (before, after))
    return Outcome(
        log_growth=log_growth,
        turnover=executed.abs().sum(-1),
        exposure=after.held.abs().sum(-1),
        drawdown=new,
        deepened=(new - old).clamp(min=0),
    )
