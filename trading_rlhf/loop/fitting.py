"""Run a training to its end: checkpoints, early stop, and a stop where it explodes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from trading_rlhf.agent import (
    ALONE,
    ProfitReward,
    Ranks,
    Training,
    mark_setback,
    save_training,
    train,
    walk,
)
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import RunError, TrainingError
from trading_rlhf.loop.context import Context
from trading_rlhf.types import JsonDict

__all__ = ["Checkpoint", "Watch", "best_check", "fit_policy"]

_KEEP_EVERY = 50
"""Iterations between two checkpoints."""

_TURN = 5
"""Iterations on one history before the next has its turn."""

Watch: TypeAlias = Callable[[Training], None]
"""Told of a training after each iteration."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept.

    Attributes:
        path: file name without suffix.
        identity: what must match at resumption.
    """

    path: Path
    identity: JsonDict


def fit_policy(
    context: Context,
    training: Training,
    histories: Sequence[tuple[MarketTensors, range]],
    kept: Checkpoint,
    watch: Watch,
    ranks: Ranks = ALONE,
) -> None:
    """Train until the configured iterations are done or the bars kept for stopping end it.

    With patience, the policy then has the weights of its best check.

    Args:
        context: the run.
        training: from its start or a checkpoint; changed in place.
        histories: markets with the decision bars that may be visited, taken in turn.
        kept: where checkpoints are written.
        watch: told after each iteration.
        ranks: processes that train together; the first one writes checkpoints and scores checks.

    Raises:
        TrainingError: it explodes; the last checkpoint stays and can go on at another rate.
        RunError: the ranks start from different iterations, or one is lost.
    """
    config = context.config
    _start_alike(training, ranks)
    turn = _KEEP_EVERY if len(histories) == 1 else _TURN
    pauses = (turn, config.train.check_every) if config.train.patience else (turn,)
    while training.iteration < config.train.iterations and not _exhausted(context, training):
        done = training.iteration
        market, bars = histories[done // turn % len(histories)]
        try:
            train(
                training,
                market,
                bars,
                config.costs,
                config.train,
                ProfitReward(config.train.risk_aversion),
                gate=config.gate,
                until=min(done + pause - done % pause for pause in pauses),
                on_step=lambda _: watch(training),
                capital=config.equity,
                ranks=ranks,
            )
        except TrainingError as error:
            raise _with_remedy(error, context, training, kept.path, ranks) from error
        _check(context, training, ranks)
        if ranks.first and training.iteration % _KEEP_EVERY == 0:
            save_training(training, kept.path, config.train, kept.identity)
    if training.best:
        training.policy.load_state_dict(training.best)


def _start_alike(training: Training, ranks: Ranks) -> None:
    """Wait for all ranks; their weights would differ if not all had read the same checkpoint."""
    start = int(ranks.first_decides(lambda: training.iteration))
    if training.iteration != start:
        raise RunError(
            "the processes of a training must go on from the same checkpoint",
            f"iteration {training.iteration} in one and {start} in the first",
            "Give all of them the same run folder.",
        )


def best_check(training: Training) -> tuple[int, float]:
    """Iteration and score of the best check; of equal ones the first."""
    return max(training.checks, key=lambda check: check[1])


def _exhausted(context: Context, training: Training) -> bool:
    """Whether as many checks as the patience brought nothing better."""
    if not training.checks:
        return False
    best = training.checks.index(best_check(training))
    return len(training.checks) - 1 - best >= context.config.train.patience


def _check(context: Context, training: Training, ranks: Ranks) -> None:
    """Score the policy on the bars kept for stopping where it is time to; keep the best weights."""
    config, done = context.config.train, training.iteration
    if not config.patience or (done % config.check_every and done < config.iterations):
        return
    score = ranks.first_decides(lambda: _score(context, training))
    training.checks.append((done, score))
    if best_check(training)[0] == done:
        weights = training.policy.state_dict()
        training.best = {name: value.detach().clone() for name, value in weights.items()}


def _score(context: Context, training: Training) -> float:
    """The objective per bar on the bars kept for stopping, from cash, nobody refusing."""
    config, bars = context.config, context.stopping_bars
    walked = walk(
        training.policy, context.market, torch.tensor([bars.start]), len(bars) - 1, config.costs,
        config.gate, capital=config.equity, generator=context.generator("stopping"),
    )  # fmt: skip
    growth = walked.log_growth.clamp(min=math.log(1e-6))
    reward = ProfitReward(config.train.risk_aversion)
    return float(reward(growth, torch.zeros(()), None).mean())


def _with_remedy(
    error: TrainingError, context: Context, training: Training, path: Path, ranks: Ranks
) -> TrainingError:
    """The same error, saying how this run goes on."""
    config = context.config.train

    def mark() -> float:
        kept = mark_setback(path, config, training.iteration + 1)
        return -1 if kept is None else kept

    kept = int(ranks.first_decides(mark))
    option = "--train.learning-rate" if config.method == "apg" else "--train.ppo.learning-rate"
    place = "anew" if kept < 0 else f"from iteration {kept}"
    return TrainingError(
        error.must, error.got, f"Train again with a smaller {option}: it starts {place}."
    )
