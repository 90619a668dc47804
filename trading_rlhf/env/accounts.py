"""State of B simulated accounts: what changes from step to step, and how an episode begins anew."""

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from trading_rlhf.env.orders import Orders, no_orders

__all__ = ["MODULUS", "MULTIPLIER", "Accounts", "fresh_accounts", "next_starts", "restart"]

MULTIPLIER: Final = 48271
MODULUS: Final = 2**31 - 1


@dataclass(frozen=True)
class Accounts:
    """State of B accounts; the market itself is shared and never copied.

    Attributes:
        t: ``[B]`` bar whose close was last observed.
        start: ``[B]`` first bar of the episode.
        held: ``[B, N]`` weights at that close (fraction of equity).
        cooldown: ``[B, N]`` bars for which a refused side is not proposed, signed by side.
        equity: ``[B]`` equity relative to the episode's start.
        peak: ``[B]`` highest such equity at a close of the episode.
        orders: orders under review.
        done: ``[B]`` bool, whether the episode is over; its account restarts at the next step.
        stream: ``[B]`` int64, state of the account's random numbers, from which starts are drawn.
    """

    t: Tensor
    start: Tensor
    held: Tensor
    cooldown: Tensor
    equity: Tensor
    peak: Tensor
    orders: Orders
    done: Tensor
    stream: Tensor


def fresh_accounts(start: Tensor, stream: Tensor, n_assets: int, dtype: torch.dtype) -> Accounts:
    """Accounts that hold nothing but cash.

    Args:
        start: ``[B]`` first bars.
        stream: ``[B]`` int64, 1 to 2**31 - 2.
        n_assets: N.
        dtype: precision of money.
    """
    held = torch.zeros((len(start), n_assets), dtype=dtype, device=start.device)
    equity = torch.ones_like(held[:, 0])
    done = torch.zeros_like(start, dtype=torch.bool)
    return Accounts(start, start, held, held, equity, equity, no_orders(held), done, stream)


def next_starts(stream: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Draw the next first bars from the accounts' own random numbers.

    The generator is Park and Miller's (1988, CACM 31(10)) with Fishman and Moore's multiplier:
    a pure function of the state, so every device draws the same starts and none waits for them.

    Args:
        stream: ``[B]`` int64 states.
        first: earliest start.
        last: latest start.

    Returns:
        Starts ``[B]`` and the new states ``[B]``.
    """
    stream = stream * MULTIPLIER % MODULUS
    # The high digits are the random ones.
    return first + stream * (last - first + 1) // MODULUS, stream


def restart(now: Accounts, rows: Tensor, first: int, last: int) -> Accounts:
    """Begin a new episode in some accounts; the others stay as they are.

    Args:
        now: B accounts.
        rows: ``[B]`` bool, which begin anew.
        first: earliest start.
        last: latest start.
    """
    assets = rows.unsqueeze(-1)
    start, stream = next_starts(now.stream, first, last)
    return Accounts(
        t=torch.where(rows, start, now.t),
        start=torch.where(rows, start, now.start),
        held=torch.where(assets, 0.0, now.held),
        cooldown=torch.where(assets, 0.0, now.cooldown),
        equity=torch.where(rows, 1.0, now.equity),
        peak=torch.where(rows, 1.0, now.peak),
        orders=replace(
            now.orders,
            pending=torch.where(assets, 0.0, now.orders.pending),
            wait=torch.where(assets, 0.0, now.orders.wait),
        ),
        done=now.done & ~rows,
        stream=torch.where(rows, stream, now.stream),
    )
