"""What the review desk asks next, from what the newest reward model is unsure of."""

from collections.abc import Sequence
from statistics import median

import numpy as np
import torch

from trading_rlhf.feedback import Answer, ReviewDesk
from trading_rlhf.feedback.queue import expected_value, most_instructive
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.learning import answered_trades
from trading_rlhf.proposals import Proposal, TradeTensors
from trading_rlhf.reward import RewardModel, trade_inputs
from trading_rlhf.types import FloatArray

__all__ = ["rank_queue"]

_BATCH = 200
"""Items that are ordered at once; a new fit orders anew long before they are used up."""

_CHUNK = 2_000
"""Trades scored at once, so that memory stays small with many assets."""

_SECONDS = 6.0
_ENOUGH = 10
"""Answers whose median time is believed; with fewer an answer is taken for this many seconds."""


def rank_queue(context: Context) -> int:
    """Order the waiting trades by what an answer would teach the newest reward model.

    Nothing is stored, and trades are asked at random, where the settings say so, before the first
    fit and below ``ask.active_from`` answers: a model that knows little asks worse than chance.

    Returns:
        How many trades the new order holds.
    """
    settings = context.config.ask
    fitted = context.reward_model() if settings.queue == "active" else None
    if fitted is None:
        return 0
    model, record = fitted
    answered = answered_trades(context, record.simulated)
    desk = ReviewDesk(context.store, context.clock)
    waiting = [trade for trade in desk.waiting() if _known(context, trade)]
    if len(answered) < settings.active_from or not waiting:
        return 0
    points, disagreement = _as_seen(model, waiting)
    asked, _ = _as_seen(model, [trade for _, trade in answered if _known(context, trade)])
    values = expected_value(
        disagreement,
        np.array([trade.notional for trade in waiting]) ** settings.by_notional,
        np.array([_seconds_left(context, trade) for trade in waiting]),
        _expected_seconds(waiting, answered),
    )
    chosen, worth = most_instructive(values, points, asked, _BATCH, settings.nearness)
    order = {waiting[i].id: value for i, value in zip(chosen, worth, strict=True)}
    desk.rank(order, settings.random_share, record.id)
    context.sign()
    return len(order)


def _known(context: Context, trade: Proposal) -> bool:
    """Whether the run's reward models can score a trade: same features and assets."""
    return trade.feature_names == context.config.features and set(trade.portfolio) == set(
        context.bars.symbols
    )


def _as_seen(model: RewardModel, trades: Sequence[Proposal]) -> tuple[FloatArray, FloatArray]:
    """``[P, I]`` the model's inputs of P trades, and ``[P]`` how far its members disagree."""
    points, apart = [], []
    for start in range(0, len(trades), _CHUNK):
        shown = TradeTensors.of(trades[start : start + _CHUNK]).full()
        # Portfolios hold the asked asset first.
        points.append(trade_inputs(*shown)[:, 0])
        apart.append(model.disagreement(*shown)[0, :, 0])
    if not trades:
        return np.zeros((0, model.line_weight.shape[-1])), np.zeros(0)
    return (
        torch.cat(points).double().numpy(),
        torch.cat(apart).double().numpy(),
    )


def _seconds_left(context: Context, trade: Proposal) -> float:
    if trade.mode != "live":
        return float("inf")
    return (trade.expires_at - context.clock()).total_seconds()


def _expected_seconds(
    waiting: Sequence[Proposal], answered: Sequence[tuple[Answer, Proposal]]
) -> FloatArray:
    """``[P]`` median time that answers to trades of the same kind took."""
    expected = {}
    for mode in {trade.mode for trade in waiting}:
        taken = [answer.seconds for answer, trade in answered if trade.mode == mode]
        usual = median(taken) if len(taken) >= _ENOUGH else _SECONDS
        expected[mode] = max(usual, 1.0)
    return np.array([expected[trade.mode] for trade in waiting])
