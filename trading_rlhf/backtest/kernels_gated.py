"""A backtest in which a reward model reads every trade: policy, desk and law in one loop.

Up to eight strategies go through the bars together, so that the law is the compiled backtest's
own. Policy and reward model see weights in the precision of nets; money is counted in float64.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from trading_rlhf.backtest.kernels_accounts import (
    EQUITY,
    INVERSE,
    TURNOVER,
    close,
    compiled,
    compiled_parallel,
    inlined,
    lines,
    new_accounts,
    pass_night,
)
from trading_rlhf.backtest.kernels_cpu import MarketTable, trade_own
from trading_rlhf.backtest.kernels_nets import DeskTable, PolicyTable, approval, decide
from trading_rlhf.backtest.vectors import LANES

__all__ = ["GatedPaths", "GatedRules", "GatedSums", "gated_loop"]

Array = npt.NDArray[Any]


class GatedRules(NamedTuple):
    """The gate's rules.

    Attributes:
        min_trade: smallest change that is proposed (fraction of equity).
        cooldown: bars for which a refused side rests.
        resize_steps: equal parts of a change of which the largest approved passes; 0 is all or
            nothing.
        max_gross: limit of gross exposure (fraction of equity).
    """

    min_trade: float
    cooldown: int
    resize_steps: int
    max_gross: float


class GatedSums(NamedTuple):
    """What is known of every account at the end, written.

    Attributes:
        equity: ``[S, B, K + 1]``.
        turnover: ``[S, B]`` sum of absolute fills (fraction of equity at the fill).
        shown: ``[S, B]`` number of trades that were shown.
        notional: ``[S, B]`` sum of their sizes (fraction of equity).
    """

    equity: Array
    turnover: Array
    shown: Array
    notional: Array


class GatedPaths(NamedTuple):
    """What happened bar by bar, written; empty (S = 0) where it is not kept.

    Attributes:
        held: ``[S, B, K, N]`` weights at the decision.
        target: ``[S, B, K, N]`` what was wanted.
        shown: ``[S, B, K, N]`` bool, put to the deciding desk.
        executed: ``[S, B, K, N]`` settled change.
        approval: ``[S, B, K, N]`` the deciding desk's probability of what was shown, or NaN.
    """

    held: Array
    target: Array
    shown: Array
    executed: Array
    approval: Array


class Close(NamedTuple):
    """One account at one close; every row ``[N]``.

    Attributes:
        held: weights.
        wanted: weights wanted; NaN holds.
        passed: weights that the desk lets through; NaN holds.
        p: the deciding desk's probability of what was shown, or NaN.
        seen: what is held, in the precision of nets.
        target: a trade's target, in the precision of nets.
        score: its probability, in the precision of nets.
        asked: bool, what is shown.
        open: bool, what of it has not passed yet.
        whole: bool, what of it passed as a whole.
        work: scratch of the nets.
    """

    held: Array
    wanted: Array
    passed: Array
    p: Array
    seen: Array
    target: Array
    score: Array
    asked: Array
    open: Array
    whole: Array
    work: Array


@compiled_parallel
def gated_loop(
    table: MarketTable, features: Array, fillable: Array, starts: Array, width: int,
    policy: PolicyTable, targets: Array, model: DeskTable, decider: DeskTable, rules: GatedRules,
    sums: GatedSums, paths: GatedPaths,
) -> None:  # fmt: skip
    """Run S strategies through B episodes of K bars.

    Args:
        table: market and costs of orders sized at the close.
        features: ``[T, N, F]`` in the precision of nets.
        fillable: ``[T, N]`` bool, what may be judged.
        starts: ``[B]`` first decision bars.
        width: strategies side by side, at most 8.
        policy: the policies, or none.
        targets: ``[S, T, N]`` weights where there is no policy; NaN holds.
        model: reward models that filter what is shown, or none.
        decider: reward models that answer, or none.
        rules: the gate's rules.
        sums: written.
        paths: written where kept.
    """
    n_strategies, n_episodes = sums.shown.shape
    n_blocks = (n_strategies + width - 1) // width
    for block in numba.prange(n_blocks * n_episodes):
        b, first = block // n_blocks, (block % n_blocks) * width
        many = min(width, n_strategies - first)
        run_block(
            table, features, fillable, starts[b], first, many, b, policy, targets, model, decider,
            rules, sums, paths,
        )  # fmt: skip


@compiled
def run_block(
    table: MarketTable, features: Array, fillable: Array, start: int, first: int, many: int, b: int,
    policy: PolicyTable, targets: Array, model: DeskTable, decider: DeskTable, rules: GatedRules,
    sums: GatedSums, paths: GatedPaths,
) -> None:  # fmt: skip
    """Run the strategies from the first on, so many, through episode b: as ``gated_loop``."""
    n_assets = features.shape[1]
    state, worth = new_accounts(n_assets)
    wants = lines(n_assets * LANES)
    assets, lost, sessions = table
    resting = np.zeros((many, n_assets), np.int64)
    desk = new_close(features, policy, model, decider)
    for k in range(sums.equity.shape[2] - 1):
        t, old = start + k, k % 2 * n_assets * LANES
        for j in range(many):
            s = first + j
            look(worth, old, state, j, desk)
            want(features[t], policy, targets, s, t, desk)
            ask(features[t], fillable[t], model, s, resting[j], rules, desk)
            answer(features[t], decider, s, resting[j], rules, desk)
            note(desk, s, b, k, sums, paths)
            for n in range(len(desk.held)):
                # A ruined account holds.
                wants[n * LANES + j] = desk.passed[n] if state[EQUITY + j] > 0.0 else np.nan
        pass_night(state, sessions, t + 1)
        trade_own(assets, lost, sessions, t + 1, rules.max_gross, state, worth, old, wants)
        note_orders(worth, old, wants, state, first, many, b, k, paths)
        close(state, False, 1.0 / (k + 1.0))
        note_accounts(state, first, many, b, k, sums)


@compiled
def new_close(features: Array, policy: PolicyTable, model: DeskTable, decider: DeskTable) -> Close:
    """Rows of one account, and scratch that is large enough for every net."""
    n_assets, kind = features.shape[1], features.dtype
    size = 2 * policy.first_bias.shape[1] + 3
    for desk in (model, decider):
        units = desk.weight.shape[1] + desk.weight.shape[2]
        size = max(size, units + 2 * desk.line.shape[2])
    money, nets = np.zeros((4, n_assets)), np.zeros((3, n_assets), kind)
    flags = np.zeros((3, n_assets), np.bool_)
    return Close(
        money[0], money[1], money[2], money[3], nets[0], nets[1], nets[2],
        flags[0], flags[1], flags[2], np.zeros(size * n_assets, kind),
    )  # fmt: skip


@inlined
def look(worth: Array, old: int, state: Array, j: int, desk: Close) -> None:
    """Read what the account of a lane holds."""
    for n in range(len(desk.held)):
        desk.held[n] = worth[old + n * LANES + j] * state[INVERSE + j]
        # Nets are asked in float32, whatever their own precision.
        desk.seen[n] = np.float32(desk.held[n])


@inlined
def want(features: Array, policy: PolicyTable, targets: Array, s: int, t: int, desk: Close) -> None:
    """Write the target: the policy's, or the given one."""
    if len(policy.first_bias):
        decide(policy, s, features, desk.seen, desk.target, desk.work)
        for n in range(len(desk.held)):
            desk.wanted[n] = desk.target[n]
    else:
        for n in range(len(desk.held)):
            desk.wanted[n] = targets[s, t, n]
            desk.target[n] = desk.wanted[n]


@inlined
def ask(
    features: Array, fillable: Array, model: DeskTable, s: int, resting: Array, rules: GatedRules,
    desk: Close,
) -> None:  # fmt: skip
    """Write which changes are shown: large enough, not resting, with a price, and filtered."""
    for n in range(len(desk.held)):
        change = desk.wanted[n] - desk.held[n]
        rests = resting[n] * change > 0
        desk.asked[n] = abs(change) >= rules.min_trade and not rests and fillable[n]
    if len(model.weight):
        approval(model, s, features, desk.seen, desk.target, desk.asked, desk.score, desk.work)
        for n in range(len(desk.held)):
            desk.asked[n] = desk.asked[n] and desk.score[n] > model.threshold[s]


@inlined
def answer(
    features: Array, decider: DeskTable, s: int, resting: Array, rules: GatedRules, desk: Close
) -> None:
    """Let the deciding desk answer what is shown; what it refuses, in part or whole, rests."""
    desk.open[:] = desk.asked
    desk.whole[:] = False
    desk.p[:] = np.nan
    desk.passed[:] = np.nan
    steps = max(rules.resize_steps, 1)
    for step in range(steps, 0, -1):
        share = step / steps
        judged = len(decider.weight) > 0 and desk.open.any()
        if judged:
            for n in range(len(desk.held)):
                size = share * (desk.wanted[n] - desk.held[n])
                desk.target[n] = np.float32(desk.held[n] + size)
            approval(decider, s, features, desk.seen, desk.target, desk.open, desk.score, desk.work)
        for n in range(len(desk.held)):
            if desk.open[n]:
                if judged and step == steps:
                    desk.p[n] = desk.score[n]
                if not judged or desk.score[n] > decider.threshold[s]:
                    desk.passed[n] = desk.held[n] + share * (desk.wanted[n] - desk.held[n])
                    desk.open[n] = False
                    if step == steps:
                        desk.whole[n] = True
    remember(resting, rules.cooldown, desk)


@inlined
def remember(resting: Array, cooldown: int, desk: Close) -> None:
    """Refused sides begin to rest; the others rest one bar less."""
    for n in range(len(resting)):
        if desk.asked[n] and not desk.whole[n]:
            side = (desk.wanted[n] > desk.held[n]) - (desk.wanted[n] < desk.held[n])
            resting[n] = side * cooldown
        elif resting[n] > 0:
            resting[n] -= 1
        elif resting[n] < 0:
            resting[n] += 1


@inlined
def note(desk: Close, s: int, b: int, k: int, sums: GatedSums, paths: GatedPaths) -> None:
    """Write what was decided."""
    for n in range(len(desk.held)):
        if desk.asked[n]:
            sums.shown[s, b] += 1
            sums.notional[s, b] += abs(desk.wanted[n] - desk.held[n])
    if len(paths.held):
        paths.held[s, b, k] = desk.held
        paths.target[s, b, k] = desk.wanted
        paths.shown[s, b, k] = desk.asked
        paths.approval[s, b, k] = desk.p


@compiled
def note_orders(
    worth: Array, old: int, wants: Array, state: Array, first: int, many: int, b: int, k: int,
    paths: GatedPaths,
) -> None:  # fmt: skip
    """Write what was ordered, once it is settled."""
    if len(paths.executed):
        for j in range(many):
            for n in range(paths.executed.shape[3]):
                at = n * LANES + j
                change = wants[at] - worth[old + at] * state[INVERSE + j]
                paths.executed[first + j, b, k, n] = change if change == change else 0.0


@compiled
def note_accounts(state: Array, first: int, many: int, b: int, k: int, sums: GatedSums) -> None:
    """Write what the accounts are at the close that ends the session."""
    for j in range(many):
        sums.equity[first + j, b, k + 1] = state[EQUITY + j]
        sums.turnover[first + j, b] = state[TURNOVER + j]
