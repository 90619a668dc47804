"""One step of B accounts in one pass over memory, for the processor: the law of money, compiled.

Equal to ``transition`` where orders need no answer and no rule counts in USD or in cash: money to
1e-12 in float64, to 1e-5 in float32. Sums over assets are taken in any order, so that they run in
vector registers; nothing else is relaxed: NaN, infinity and ruin mean what they mean in the law.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["AccountArrays", "StepArrays", "StepMarket", "fused_step"]

BLOCK = 32
"""Accounts whose rows stay in the first cache between the passes over their assets."""

FAST = {"reassoc", "contract", "nsz"}
compiled = numba.njit(fastmath=FAST, error_model="numpy", cache=True)
compiled_parallel = numba.njit(fastmath=FAST, error_model="numpy", cache=True, parallel=True)

Array = npt.NDArray[Any]


class StepMarket(NamedTuple):
    """A market, its costs and the limits, in the precision of money and laid out as it is read.

    Attributes:
        bars: ``[T, 3, N]`` overnight and intraday return, and what trades: 1 an order fills, 0 it
            does not, -1 the asset is delisted.
        sessions: ``[T, 2]`` years since the previous close, and multiple of trading costs.
        rates: ``[3, N]`` mean of the costs of buys and sells, half of buys less sells (fraction of
            notional), and borrow fee less short rebate (fraction a year).
        terms: ``[4]`` margin and cash interest (fraction a year), delisting haircut, largest gross
            exposure (fraction of equity).
        episodes: ``[5]`` int64, length, earliest and latest start (bars); multiplier and modulus of
            the accounts' random numbers, as in ``next_starts``.
    """

    bars: Array
    sessions: Array
    rates: Array
    terms: Array
    episodes: Array


class AccountArrays(NamedTuple):
    """State of B accounts, as in ``Accounts``: ``held`` is ``[B, N]``, the others ``[B]``."""

    t: Array
    start: Array
    held: Array
    equity: Array
    peak: Array
    done: Array
    stream: Array


class StepArrays(NamedTuple):
    """What a step did: ``executed`` is ``[B, N]``, the others ``[B]``; growth is 1e-12 at least."""

    executed: Array
    growth: Array
    terminated: Array
    truncated: Array


@compiled_parallel
def fused_step(
    market: StepMarket,
    before: AccountArrays,
    target: Array,
    after: AccountArrays,
    did: StepArrays,
) -> None:
    """Decide at the close of t and move to the close of t+1; finished accounts only restart.

    Args:
        market: prices, costs and limits.
        before: state at the close of t.
        target: ``[B, N]`` weights wanted (fraction of equity); NaN holds.
        after: written: state at the close of t+1.
        did: written: orders, growth and ends of episodes.
    """
    bars, sessions, rates, terms, episodes = market
    t, start, held, equity, peak, done, stream = before
    t_after, start_after, held_after, equity_after, peak_after, done_after, stream_after = after
    executed, growth, terminated, truncated = did
    n_accounts = held.shape[0]
    for block in numba.prange((n_accounts + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, n_accounts)
        session = np.empty(BLOCK, np.int64)
        scale = np.empty(BLOCK, held.dtype)
        night = np.empty(BLOCK, held.dtype)
        day = np.empty(BLOCK, held.dtype)
        for b in range(first, last):
            # A finished account may stand at the last bar; it only restarts, so any bar will do.
            session[b - first] = 1 + (start[b] if done[b] else t[b])
        until_fill(first, last, session, bars, sessions, rates, terms, held, target, scale, night)
        through_fill(
            first, last, session, bars, sessions, rates, terms, held, target, scale, night,
            executed, held_after, day,
        )  # fmt: skip
        weigh(first, last, done, day, executed, held_after)
        close(
            first, last, session, night, day, episodes, start, equity, peak, done, stream,
            t_after, start_after, equity_after, peak_after, done_after, stream_after,
            growth, terminated, truncated,
        )  # fmt: skip


@compiled
def until_fill(
    first: int, last: int, session: Array, bars: Array, sessions: Array, rates: Array, terms: Array,
    held: Array, target: Array, scale: Array, night: Array,
) -> None:  # fmt: skip
    """Settle, accrue and mark to the fill: share of buys that settles, and growth overnight."""
    one, zero, least = held.dtype.type(1), held.dtype.type(0), held.dtype.type(1e-12)
    margin, interest, max_gross = terms[0], terms[1], terms[3]
    for b in range(first, last):
        s = session[b - first]
        years = sessions[s, 0]
        kept, opened, long, gain = zero, zero, zero, zero
        for i in range(held.shape[1]):
            has = held[b, i]
            wants = target[b, i]
            wants = wants if wants == wants else has
            above = has if has > zero else zero
            below = has if has < zero else zero
            # What is left after the part of the trade that reduces the position.
            reduced = wants if wants > below else below
            reduced = reduced if reduced < above else above
            kept += abs(reduced)
            opened += abs(wants - reduced)
            long += above
            gain += has * bars[s, 0, i] + below * (rates[2, i] * years)
        cash = one - long
        lent = cash * interest if cash > zero else cash * margin
        room = max(max_gross - kept, zero)
        scale[b - first] = min(room / max(opened, least), one)
        night[b - first] = one + gain + lent * years


@compiled
def through_fill(
    first: int, last: int, session: Array, bars: Array, sessions: Array, rates: Array, terms: Array,
    held: Array, target: Array, scale: Array, night: Array,
    executed: Array, worth: Array, day: Array,
) -> None:  # fmt: skip
    """Fill, pay and mark to the close: orders, worth of each position, and growth from the fill."""
    one, zero = held.dtype.type(1), held.dtype.type(0)
    haircut = terms[2]
    for b in range(first, last):
        s = session[b - first]
        share, multiple = scale[b - first], sessions[s, 1]
        per_equity = one / night[b - first] if night[b - first] > zero else zero
        gain = zero
        for i in range(held.shape[1]):
            has = held[b, i]
            wants = target[b, i]
            wants = wants if wants == wants else has
            above = has if has > zero else zero
            below = has if has < zero else zero
            reduced = wants if wants > below else below
            reduced = reduced if reduced < above else above
            change = (reduced - has) + (wants - reduced) * share
            executed[b, i] = change
            drift = (one + bars[s, 0, i]) * per_equity
            at_fill = has * drift
            fills = change * drift if bars[s, 2, i] > zero else zero
            lost = abs(at_fill) * haircut if bars[s, 2, i] < zero else zero
            weight = at_fill + fills if bars[s, 2, i] >= zero else zero
            cost = (rates[0, i] * abs(fills) + rates[1, i] * fills) * multiple + lost
            gain += weight * bars[s, 1, i] - cost
            worth[b, i] = weight * (one + bars[s, 1, i])
        day[b - first] = one + gain


@compiled
def weigh(first: int, last: int, done: Array, day: Array, executed: Array, worth: Array) -> None:
    """Turn worth, 0 after a ruinous night, into weights; nothing is left at a restart."""
    one, zero = worth.dtype.type(1), worth.dtype.type(0)
    for b in range(first, last):
        alive = day[b - first] > zero and not done[b]
        per_equity = one / day[b - first] if alive else zero
        for i in range(worth.shape[1]):
            worth[b, i] *= per_equity
        if done[b]:
            executed[b, :] = zero


@compiled
def close(
    first: int, last: int, session: Array, night: Array, day: Array, episodes: Array,
    start: Array, equity: Array, peak: Array, done: Array, stream: Array,
    t_after: Array, start_after: Array, equity_after: Array, peak_after: Array, done_after: Array,
    stream_after: Array, growth: Array, terminated: Array, truncated: Array,
) -> None:  # fmt: skip
    """Close the books of the session, or begin the next episode."""
    one, zero, least = equity.dtype.type(1), equity.dtype.type(0), equity.dtype.type(1e-12)
    length, earliest, latest = episodes[0], episodes[1], episodes[2]
    multiplier, modulus = episodes[3], episodes[4]
    for b in range(first, last):
        if done[b]:
            number = stream[b] * multiplier % modulus
            begin = earliest + number * (latest - earliest + 1) // modulus
            t_after[b], start_after[b], stream_after[b] = begin, begin, number
            equity_after[b], peak_after[b], growth[b] = one, one, one
            terminated[b], truncated[b], done_after[b] = False, False, False
        else:
            now = session[b - first]
            alive = night[b - first] > zero and day[b - first] > zero
            over = now - start[b] >= length
            grown = night[b - first] * day[b - first] if alive else zero
            total = equity[b] * grown
            t_after[b], start_after[b], stream_after[b] = now, start[b], stream[b]
            equity_after[b], peak_after[b] = total, max(peak[b], total)
            growth[b] = max(grown, least)
            terminated[b], truncated[b] = not alive, over and alive
            done_after[b] = over or not alive
