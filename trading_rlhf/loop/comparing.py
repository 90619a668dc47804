"""Compare the arms out of sample: base, base + filter, shaped, oracle and placebo."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from trading_rlhf.agent import Policy, Walk
from trading_rlhf.backtest import (
    Arm,
    ArmFigures,
    figures,
    matching_thresholds,
    mean_figures,
    shown_notional,
    walk_arms,
)
from trading_rlhf.feedback.simulated import SimulatedTrader, StyleDesk, with_mistakes
from trading_rlhf.loop.context import Context
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    Fitted,
    ModelDesk,
    Quality,
    Verdicts,
    predicted_answers,
    quality,
)
from trading_rlhf.types import JsonDict

__all__ = ["ARMS", "Comparison", "compare", "out_of_sample_quality"]

ARMS = ("base", "base_filter", "shaped", "oracle", "placebo")


@dataclass(frozen=True)
class Comparison:
    """Arms walked over the test period while the true desk decides.

    Attributes:
        figures: by arm name, in the order of ``ARMS``; the placebo's are means over its draws.
        walked: the walk; its S axis follows ``ARMS``, then come the other placebo draws.
        placebo_thresholds: bars at which each placebo shows the shaped arm's notional.
    """

    figures: dict[str, ArmFigures]
    walked: Walk
    placebo_thresholds: list[float]


def compare(
    context: Context,
    policies: dict[str, Policy],
    model: Fitted,
    placebos: list[tuple[Policy, Fitted]],
    desk: StyleDesk,
) -> Comparison:
    """Walk the arms over the test bars.

    Args:
        context: the run.
        policies: "base", "shaped" and "oracle", single policies.
        model: reward model of the filter.
        placebos: policies with the reward models that shaped them, fitted on shuffled answers.
        desk: the true desk; decides in every arm and filters the oracle.
    """
    config = context.config
    start = torch.tensor([context.test_bars.start])
    length = len(context.test_bars) - 1
    common = (context.market, start, length, config.costs, config.gate)
    account: dict[str, Any] = {
        "capital": config.equity,
        "generator": context.generator("reviews"),
    }
    bar, learned = config.gate.threshold, ModelDesk(model.model)
    arms = [
        Arm("base", policies["base"], None, bar, desk),
        Arm("base_filter", policies["base"], learned, bar, desk),
        Arm("shaped", policies["shaped"], learned, bar, desk),
        Arm("oracle", policies["oracle"], desk, bar, desk),
    ]
    notional = shown_notional(walk_arms([arms[2]], *common, **account), 0)
    bars = matching_thresholds(
        [policy for policy, _ in placebos],
        [fitted.model for _, fitted in placebos],
        notional,
        *common,
        decider=desk,
        **account,
    )
    arms += [
        Arm("placebo", policy, ModelDesk(fitted.model), placebo_bar, desk)
        for (policy, fitted), placebo_bar in zip(placebos, bars, strict=True)
    ]
    walked = walk_arms(arms, *common, **account)
    rows = [figures(walked, i, context.bars.bars_per_year) for i in range(len(arms))]
    table = dict(zip(ARMS[:-1], rows, strict=False))
    table["placebo"] = mean_figures(rows[len(ARMS) - 1 :])
    return Comparison(table, walked, bars)


def out_of_sample_quality(
    context: Context,
    model: Fitted,
    trader: SimulatedTrader,
    walked: Walk,
    arm: int,
) -> tuple[Quality, JsonDict]:
    """Quality of the reward model on what one arm shows in the test period.

    Every shown trade is answered once by a simulated trader; the ceiling is the accuracy of
    someone who knows the desk's true probability, its mistakes included.

    Args:
        context: the run.
        model: the reward model.
        trader: who answers.
        walked: a walk over the test bars in which the true desk decided.
        arm: its S index, an arm without a filter.

    Returns:
        The quality, and ``ceiling``, ``stated`` and ``observed`` for a reliability plot.
    """
    shown, held, target = (
        values[:, arm].flatten(0, 1) for values in (walked.shown, walked.held, walked.target)
    )
    t = walked.t.flatten()
    row, asset = torch.nonzero(shown, as_tuple=True)
    trades = TradeTensors.pick(context.market.features[t], held, target, t, row, asset)
    true_p = walked.approval[:, arm].flatten(0, 1)[row, asset]
    q = with_mistakes(true_p, trader.config.mistake)
    draws = torch.rand(len(q), generator=context.generator("probe"), dtype=q.dtype)
    verdicts = Verdicts.of_trades(trades, draws < q)
    average = _without_reviewers(model)
    stated = predicted_answers(average, verdicts)[0]
    bins = stated.argsort(stable=True).chunk(10)
    return quality(average, verdicts), {
        "ceiling": float(torch.maximum(q, 1 - q).mean()),
        "stated": [float(stated[part].mean()) for part in bins],
        "observed": [float(verdicts.approved[0][part].mean()) for part in bins],
    }


def _without_reviewers(model: Fitted) -> Fitted:
    """The same model answering as its average reviewer."""
    return replace(model, effects=model.effects.average())
