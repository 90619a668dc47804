"""What may not be sent, however well approved: caps, collar, stale data, and the halt file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field

from trading_rlhf.accounting import settle
from trading_rlhf.broker.broker import Account, Order
from trading_rlhf.broker.signal import Refusal, Signal

__all__ = ["LimitsConfig", "check_limits", "halt_reason"]

_ROUNDING = 1e-9


class LimitsConfig(BaseModel):
    """Limits that a person sets; weights are fractions of the account's equity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_order: float = Field(0.5, gt=0, description="Largest change of one weight by one order.")
    max_position: float = Field(0.75, gt=0, description="Largest absolute weight of one asset.")
    max_gross: float = Field(0.98, gt=0, description="Largest sum of absolute weights.")
    max_orders: int = Field(50, ge=1, description="Most orders for one session.")
    max_daily_loss: float = Field(
        0.05, gt=0, le=1, description="After losing this in one session, positions only shrink."
    )
    price_collar: float = Field(
        0.1, gt=0, description="Largest move since the decision close (fraction of it)."
    )
    max_data_age_days: float = Field(
        5.0, gt=0, description="Oldest decision close that may still be traded (calendar days)."
    )
    halt_file: Path = Field(
        Path("runs/HALT"), description="Where this file exists, nothing is sent."
    )


def halt_reason(halt_file: Path) -> str | None:
    """Return why nothing may be sent, None while the halt file is absent."""
    return f"the halt file {halt_file} exists" if halt_file.exists() else None


def check_limits(
    signals: Sequence[Signal],
    account: Account,
    limits: LimitsConfig,
    now: datetime,
    *,
    working: Sequence[Order] = (),
    prices: Mapping[str, float] | None = None,
) -> tuple[list[Signal], list[Refusal]]:
    """Keep what the limits allow, scaled to what cash and gross exposure leave.

    Trades that only shrink a position pass the caps and the daily loss limit. The others share
    the room under ``max_gross`` as in ``accounting.settle``, together with the orders already
    working; a smaller signal says so in its note, and so does one that needs a sale.

    Args:
        signals: released signals of one decision.
        account: equity and weights at the last close.
        limits: the limits.
        now: the present, time-zone aware.
        working: orders sent before and not filled yet.
        prices: latest prices (USD, as traded) by symbol, for the collar; unknown ones pass.

    Returns:
        Signals in the order in which they settle (those that already work, closing trades, short
        sales, buys), and one refusal with its sentence for every other signal.
    """
    refusals: list[Refusal] = []
    allowed: list[Signal] = []
    sent: list[Signal] = []
    halted = halt_reason(limits.halt_file)
    ordered = {order.proposal_id: order for order in working}
    seen: set[str] = set()
    for signal in signals:
        order = ordered.get(signal.proposal_id) if signal.revision == 0 else None
        if order is not None:
            sent.append(_as_ordered(signal, order))
            continue
        reason = (
            halted
            or ("another signal of this batch trades it too" if signal.symbol in seen else None)
            or _unsendable(signal, limits, now, prices or {})
            or _over_cap(signal, account, limits)
        )
        seen.add(signal.symbol)
        if reason:
            refusals.append(_refuse(signal, reason))
        else:
            allowed.append(signal)
    settled, without_room = _settle(allowed, account, limits, working)
    room = max(limits.max_orders - len(working), 0)
    too_many = [
        _refuse(signal, f"{limits.max_orders} orders for one session are the limit")
        for signal in settled[room:]
    ]
    return sent + settled[:room], refusals + without_room + too_many


def _as_ordered(signal: Signal, order: Order) -> Signal:
    """Return a signal in the size of the order it already made, which settles no second time."""
    share = order.shares / signal.shares
    return replace(signal, shares=order.shares, target=signal.held + signal.change * share)


def _refuse(signal: Signal, reason: str) -> Refusal:
    text = f"{signal.symbol} was not sent because {reason}."
    return Refusal(signal.proposal_id, signal.symbol, text)


def _unsendable(
    signal: Signal, limits: LimitsConfig, now: datetime, prices: Mapping[str, float]
) -> str | None:
    if now > signal.valid_until:
        return f"it was valid until {signal.valid_until:%Y-%m-%d %H:%M %Z}"
    if now < signal.known_at:
        return "its decision close has not come yet"
    if now - signal.known_at > timedelta(days=limits.max_data_age_days):
        return f"its prices are older than {limits.max_data_age_days:g} days"
    price = prices.get(signal.symbol, signal.price)
    move = price / signal.price - 1.0
    if abs(move) > limits.price_collar:
        return f"its price moved by {move:+.1%} since the decision, over {limits.price_collar:.1%}"
    return None


def _over_cap(signal: Signal, account: Account, limits: LimitsConfig) -> str | None:
    if account.equity <= 0:
        return "the account is empty"
    held = account.weights.get(signal.symbol, 0.0)
    change = _change(signal, account)
    if _only_reduces(held, change):
        return None
    if abs(change) > limits.max_order + _ROUNDING:
        return f"the order is {abs(change):.1%} of equity, above {limits.max_order:.1%}"
    weight = abs(held + change)
    if weight > limits.max_position + _ROUNDING and weight > abs(held):
        return f"the position would be {weight:.1%} of equity, above {limits.max_position:.1%}"
    before = account.previous_equity
    loss = 1.0 - account.equity / before if before > 0 else 0.0
    if loss >= limits.max_daily_loss:
        return f"the account lost {loss:.1%} in the last session and positions may only shrink"
    return None


def _change(trade: Signal | Order, account: Account) -> float:
    """Traded weight at the decision close (fraction of the account's equity, signed)."""
    return trade.signed_shares * trade.price / account.equity


def _only_reduces(held: float, change: float) -> bool:
    return held * change < 0 and abs(change) <= abs(held) * (1.0 + _ROUNDING)


def _settle(
    signals: Sequence[Signal],
    account: Account,
    limits: LimitsConfig,
    working: Sequence[Order],
) -> tuple[list[Signal], list[Refusal]]:
    batch = {signal.symbol: signal for signal in signals}
    held = dict(account.weights)
    for order in working:
        # A new signal replaces the order that still works on its symbol.
        if order.symbol not in batch:
            held[order.symbol] = held.get(order.symbol, 0.0) + _change(order, account)
    changes = {name: _change(signal, account) for name, signal in batch.items()}
    sales = [name for name, x in changes.items() if _only_reduces(held.get(name, 0.0), x)]
    settled = _settled_changes(held, changes, limits.max_gross)
    openings = {name: x for name, x in changes.items() if name not in sales}
    alone = _settled_changes(held, openings, limits.max_gross)
    kept: list[Signal] = []
    refusals: list[Refusal] = []
    for name, signal in batch.items():
        share = settled[name] / changes[name]
        needs = sales if name in openings and _differ(alone[name], settled[name]) else []
        if share < _ROUNDING:
            why = f"gross exposure leaves no room under {limits.max_gross:.1%}"
            refusals.append(_refuse(signal, why))
        else:
            kept.append(_scaled(signal, share, needs, limits.max_gross))

    def turn(signal: Signal) -> int:
        return 0 if signal.symbol in sales else 1 if signal.side == "sell" else 2

    return sorted(kept, key=turn), refusals


def _settled_changes(
    held: Mapping[str, float], changes: Mapping[str, float], max_gross: float
) -> dict[str, float]:
    names = sorted({*held, *changes})
    before = torch.tensor([held.get(name, 0.0) for name in names], dtype=torch.float64)
    change = torch.tensor([changes.get(name, 0.0) for name in names], dtype=torch.float64)
    after = settle(before, change, max_gross)
    return dict(zip(names, (after - before).tolist(), strict=True))


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > _ROUNDING


def _scaled(signal: Signal, share: float, needs: Sequence[str], max_gross: float) -> Signal:
    """Return the signal cut to a share of its size, with a note on why and on what it needs."""
    sale = f"needs the sale of {' and '.join(needs)}" if needs else ""
    if share >= 1.0 - _ROUNDING:
        return replace(signal, note=sale)
    shares = signal.shares * share
    cut = (
        f"scaled from {signal.shares:,.2f} to {shares:,.2f} shares "
        f"because gross exposure may not exceed {max_gross:.1%}"
    )
    return replace(
        signal,
        shares=shares,
        target=signal.held + signal.change * share,
        note="; ".join(part for part in (cut, sale) if part),
    )
