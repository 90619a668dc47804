"""Policy and reward model inside a compiled loop: all assets of one account at once.

Products of matrices are BLAS's, small enough to stay on one thread; everything is computed in the
precision of the weights.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["DeskTable", "PolicyTable", "approval", "decide", "squash"]

Array = npt.NDArray[Any]

compiled = numba.njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy", cache=True)


class PolicyTable(NamedTuple):
    """S policies; S is 0 where targets are given instead.

    Attributes:
        first_weight: ``[S, F, H]``.
        first_bias: ``[S, H]``.
        held_weight: ``[S, H]``.
        hidden_weight: ``[S, H, H]``.
        hidden_bias: ``[S, H]``.
        head_weight: ``[S, H, 3]`` score, and logits of the gates of buys and of sells.
        head_bias: ``[S, 3]``.
        limits: ``[2]`` largest score, and largest gross exposure of goals.
    """

    first_weight: Array
    first_bias: Array
    held_weight: Array
    hidden_weight: Array
    hidden_bias: Array
    head_weight: Array
    head_bias: Array
    limits: Array


class DeskTable(NamedTuple):
    """R reward models of M members with H tanh units each; R is 0 where nobody judges.

    Attributes:
        weight: ``[R, I, M * H]`` from the inputs of ``trade_inputs`` to the tanh units.
        bias: ``[R, M * H]``.
        out: ``[R, M * H, M]`` from the tanh units to each member, over the temperature.
        line: ``[R, I, M]`` the linear paths, over the temperature.
        line_bias: ``[R, M]`` likewise.
        which: ``[S]`` model of each strategy.
        threshold: ``[S]`` what p must exceed.
        pessimism: ``[1]`` standard deviations over members subtracted from the logit.
    """

    weight: Array
    bias: Array
    out: Array
    line: Array
    line_bias: Array
    which: Array
    threshold: Array
    pessimism: Array


@compiled
def decide(
    policy: PolicyTable, s: int, features: Array, held: Array, target: Array, work: Array
) -> None:
    """Write the targets ``[N]`` of policy s, as ``Policy.decide`` makes them.

    Args:
        policy: the policies.
        s: which one.
        features: ``[N, F]``.
        held: ``[N]`` weights (fraction of equity).
        target: written, ``[N]`` (fraction of equity).
        work: scratch of at least ``2 N H + 3 N``.
    """
    kind = target.dtype.type
    n_assets, width = len(held), policy.first_bias.shape[1]
    size = n_assets * width
    seen = work[:size].reshape((n_assets, width))
    thought = work[size : 2 * size].reshape((n_assets, width))
    out = work[2 * size : 2 * size + 3 * n_assets].reshape((n_assets, 3))
    np.dot(features, policy.first_weight[s], seen)
    for n in range(n_assets):
        own = held[n] * kind(n_assets) - kind(1.0)
        for j in range(width):
            seen[n, j] += policy.first_bias[s, j] + own * policy.held_weight[s, j]
    squash(seen)
    product(seen, policy.hidden_weight[s], policy.hidden_bias[s], thought)
    squash(thought)
    product(thought, policy.head_weight[s], policy.head_bias[s], out)
    # A sigmoid is half a tanh of half its logit.
    out[:, 1:] *= kind(0.5)
    squash(out)
    # Cash has the score 0.
    total = kind(1.0)
    for n in range(n_assets):
        out[n, 0] = kind(math.exp(policy.limits[0] * out[n, 0]))
        total += out[n, 0]
    for n in range(n_assets):
        wanted = out[n, 0] / total * policy.limits[1] - held[n]
        half = out[n, 1] if wanted > 0 else out[n, 2]
        target[n] = held[n] + (kind(0.5) + kind(0.5) * half) * wanted


@compiled
def approval(
    desk: DeskTable, s: int, features: Array, held: Array, target: Array, asked: Array, p: Array,
    work: Array,
) -> None:  # fmt: skip
    """Write the probability that the desk of strategy s approves trades, as ``RewardModel`` does.

    Args:
        desk: the reward models.
        s: the strategy.
        features: ``[N, F]``.
        held: ``[N]`` weights (fraction of equity).
        target: ``[N]`` proposed weights (fraction of equity).
        asked: ``[N]`` bool, the trades that are judged.
        p: written where asked, ``[N]``.
        work: scratch of at least ``N (I + M * H + 2 M)``.
    """
    r, count = desk.which[s], int(asked.sum())
    n_inputs, n_units, members = desk.weight.shape[1], desk.weight.shape[2], desk.line.shape[2]
    first = count * n_inputs
    second = first + count * n_units
    third = second + count * members
    inputs = work[:first].reshape((count, n_inputs))
    units = work[first:second].reshape((count, n_units))
    logits = work[second:third].reshape((count, members))
    bends = work[third : third + count * members].reshape((count, members))
    trade_rows(features, held, target, asked, inputs)
    product(inputs, desk.weight[r], desk.bias[r], units)
    squash(units)
    product(inputs, desk.line[r], desk.line_bias[r], logits)
    np.dot(units, desk.out[r], bends)
    row = 0
    for n in range(len(held)):
        if asked[n]:
            p[n] = pessimistic(logits, bends, row, desk.pessimism[0])
            row += 1


@compiled
def trade_rows(features: Array, held: Array, target: Array, asked: Array, rows: Array) -> None:
    """Write the inputs ``[asked, 2F + 6]`` of the trades that are judged, as ``trade_inputs``."""
    kind = rows.dtype.type
    many, known = kind(len(held)), features.shape[1]
    gross, row = kind(0.0), 0
    for n in range(len(held)):
        gross += abs(held[n])
    for n in range(len(held)):
        if asked[n]:
            change = target[n] - held[n]
            side = kind((change > 0) - (change < 0))
            for f in range(known):
                rows[row, f] = features[n, f] * kind(0.4)
                rows[row, known + f] = features[n, f] * side
            rows[row, 2 * known] = side
            rows[row, 2 * known + 1] = clamp(held[n] * many * kind(0.5), kind(3.0))
            rows[row, 2 * known + 2] = clamp(target[n] * many * kind(0.5), kind(3.0))
            rows[row, 2 * known + 3] = clamp(change * many, kind(1.0))
            rows[row, 2 * known + 4] = min(abs(change) * many, kind(3.0))
            rows[row, 2 * known + 5] = gross
            row += 1


@compiled
def pessimistic(lines: Array, bends: Array, row: int, pessimism: Any) -> Any:
    """Probability of the members' mean logit less some standard deviations, in one row."""
    kind, members = lines.dtype.type, lines.shape[1]
    centre, spread = kind(0.0), kind(0.0)
    for m in range(members):
        centre += lines[row, m] + bends[row, m]
    centre /= kind(members)
    if pessimism > 0 and members > 1:
        for m in range(members):
            away = lines[row, m] + bends[row, m] - centre
            spread += away * away
        centre -= pessimism * kind(math.sqrt(spread / kind(members - 1)))
    return kind(1.0) / (kind(1.0) + kind(math.exp(-centre)))


@compiled
def product(rows: Array, weight: Array, bias: Array, out: Array) -> None:
    """Write ``rows @ weight + bias``."""
    np.dot(rows, weight, out)
    for n in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[n, j] += bias[j]


@compiled
def clamp(value: Any, most: Any) -> Any:
    """The value, at most so far from zero."""
    return min(max(value, -most), most)


@compiled
def squash(values: Array) -> None:
    """Replace the values of a matrix by their tanh, to rounding: no library's runs in vectors.

    Lambert's continued fraction at a sixteenth of the value, kept as a fraction p / q, and then
    tanh(2y) = 2pq / (p^2 + q^2) four times.
    """
    kind = values.dtype.type
    most, part, two = kind(16.0), kind(1 / 16), kind(2.0)
    p3, p5, p7 = kind(17325 / 135135), kind(378 / 135135), kind(1 / 135135)
    q2, q4, q6 = kind(62370 / 135135), kind(3150 / 135135), kind(28 / 135135)
    flat = values.reshape(values.size)
    for j in range(values.size):
        y = min(max(flat[j], -most), most) * part
        z = y * y
        p = y * (kind(1.0) + z * (p3 + z * (p5 + z * p7)))
        q = kind(1.0) + z * (q2 + z * (q4 + z * q6))
        p, q = two * p * q, p * p + q * q
        p, q = two * p * q, p * p + q * q
        p, q = two * p * q, p * p + q * q
        p, q = two * p * q, p * p + q * q
        flat[j] = p / q
