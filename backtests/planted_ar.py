"""One asset whose return is a fifth of the last one plus noise, and what is earned on it.

The task of the training benchmark: weights from -1 to 1 in one asset, 2 basis points of what is
traded, the last eight returns and the held weight in sight. The edge is known, so a score can be
stated as a share of what a rule that knows it would have earned.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy
from trading_rlhf.env import MarketTensors
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray

__all__ = [
    "COST",
    "COSTS",
    "EPISODE",
    "LAGS",
    "PHI",
    "SIGMA",
    "make_market",
    "make_returns",
    "policy_rule",
    "reference_score",
    "score_positions",
    "score_rule",
]

PHI, SIGMA = 0.2, 0.01
"""Share of a return that comes again, and the noise beside it."""

COST = 0.0002
"""Of what is traded."""

LAGS, EPISODE = 8, 252
"""Returns in sight, and bars of an episode where a trainer has episodes."""

COSTS = CostModel(
    commission_bps=0.0, half_spread_bps=1e4 * COST, slippage_bps=0.0, borrow_bps_per_year=0.0,
    margin_bps_per_year=0.0,
)  # fmt: skip

_N_SEGMENTS = 64
_THRESHOLDS = np.linspace(0.0, 1.0, 41) * SIGMA


def make_returns(n_bars: int, seed: int) -> FloatArray:
    """Return ``[T]`` simple returns of a first-order autoregression that starts at its noise."""
    returns: FloatArray = np.random.default_rng(seed).normal(0.0, SIGMA, n_bars)
    for t in range(1, n_bars):
        returns[t] += PHI * returns[t - 1]
    return returns


def make_market(returns: FloatArray) -> MarketTensors:
    """The market of returns ``[T]``: an open is the close before, features are the last returns.

    Returns:
        One asset with features ``[T, 1, LAGS]`` (returns in units of SIGMA, oldest first, 0 before
        the first).
    """
    close = 100.0 * np.cumprod(1.0 + returns)[:, None]
    opens = np.vstack([[[100.0]], close[:-1]])
    dates = pd.bdate_range("1900-01-01", periods=len(returns))
    bars = Bars(dates, ["AR"], opens, None, None, close, None)
    seen = np.concatenate([np.zeros(LAGS - 1), returns]) / SIGMA
    features = np.lib.stride_tricks.sliding_window_view(seen, LAGS)[:, None]
    return MarketTensors.from_bars(bars, features.astype(np.float32), dtype=torch.float32)


def score_positions(returns: FloatArray, weights: FloatArray) -> float:
    """Mean net return of a bar (percent) of weights held over the bar after each.

    Args:
        returns: ``[T]``.
        weights: ``[T]`` decided at the close of each bar; the first is reached from 0, and the last
            earns nothing. What a weight drifts by costs nothing, for all rules alike.
    """
    traded = np.abs(np.diff(weights, prepend=0.0))
    earned = weights[:-1] * returns[1:] - COST * traded[:-1]
    return 100.0 * float(earned.mean())


def reference_score(returns: FloatArray) -> float:
    """Score of the best rule that takes the last return's side beyond a threshold, else holds.

    The best threshold of a grid is chosen on these very returns, which flatters the rule.

    Args:
        returns: ``[T]``.

    Returns:
        Percent a bar, as ``score_positions``.
    """
    return max(
        score_positions(returns, _hysteresis(returns, threshold)) for threshold in _THRESHOLDS
    )


def _hysteresis(returns: FloatArray, threshold: float) -> FloatArray:
    """Weights ``[T]``: the side of the last return beyond the threshold."""
    beyond = np.abs(returns) > threshold
    last = np.maximum.accumulate(np.where(beyond, np.arange(len(returns)), -1))
    return np.where(last >= 0, np.sign(returns[last]), 0.0)


def score_rule(rule: Callable[[FloatArray, FloatArray], FloatArray], returns: FloatArray) -> float:
    """Score of a rule that sees returns and its own weight, on 64 stretches of a path at once.

    Args:
        rule: from returns ``[B, LAGS]`` in units of SIGMA, oldest first, and weights held ``[B]``
            to weights wanted ``[B]``, which are cut to -1 to 1.
        returns: ``[T]``.

    Returns:
        Percent a bar, as ``score_positions``; every stretch starts at a weight of 0.
    """
    length = (len(returns) - LAGS - 1) // _N_SEGMENTS
    first = LAGS - 1 + np.arange(_N_SEGMENTS) * length
    seen = np.lib.stride_tricks.sliding_window_view(returns / SIGMA, LAGS).astype(np.float32)
    held, total = np.zeros(_N_SEGMENTS, dtype=np.float32), 0.0
    for step in range(length):
        t = first + step
        wanted = np.clip(rule(seen[t - LAGS + 1], held), -1.0, 1.0)
        total += float((wanted * returns[t + 1] - COST * np.abs(wanted - held)).sum())
        held = wanted.astype(np.float32)
    return 100.0 * total / (length * _N_SEGMENTS)


def policy_rule(policy: Policy) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """The first member of a policy as a rule for ``score_rule``."""

    @torch.no_grad()
    def rule(seen: FloatArray, held: FloatArray) -> FloatArray:
        features = torch.as_tensor(seen).unsqueeze(1)
        own = torch.as_tensor(held).view(1, -1, 1).expand(policy.members, -1, 1)
        wanted: FloatArray = policy.decide(policy.encode(features), own).target[0, :, 0].numpy()
        return wanted

    return rule
