"""Base policies trained anew on parts of the bars: what every way of cutting them shares."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from trading_rlhf.config import RunConfig
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.fitting import Watch
from trading_rlhf.proposals import HORIZON
from trading_rlhf.store import open_store
from trading_rlhf.types import Progress

__all__ = ["EQUAL", "FEWEST_TESTED", "HOLD", "fold_gap", "folds_workshop", "part_of"]

EQUAL, HOLD = "equal weight", "buy and hold"
"""What needs no policy: named where policies are held against it."""

FEWEST_TESTED = 20
"""Bars below which a test period says nothing."""


def fold_gap(config: RunConfig) -> int:
    """Bars left out between what a policy is trained on and what it is tested on.

    As many as an outcome takes to be known, and as a policy's window reaches back: neither a
    return that training has seen nor a bar that a tested decision reads lies on the other side.
    """
    return max(HORIZON, config.policy.window - 1)


@contextmanager
def folds_workshop(context: Context) -> Iterator[Context]:
    """Give the run a folder and a store of their own for trainings, thrown away afterwards.

    So the run's newest policy stays what it was. Its settings are those of such trainings.
    """
    config = context.config
    if config.folds.iterations is not None:
        train = config.train.model_copy(update={"iterations": config.folds.iterations})
        config = config.model_copy(update={"train": train})
    with tempfile.TemporaryDirectory(prefix="trading-rlhf-") as folder:
        # Nobody needs the key of a store that is thrown away.
        store = open_store(Path(folder) / "store.db", secrets.token_bytes(32), context.clock)
        try:
            yield replace(context, folder=Path(folder), store=store, config=config)
        finally:
            store.close()


def part_of(progress: Progress, stage: str, number: int, count: int, iterations: int) -> Watch:
    """Tell of one training's iterations as a share of those of all trainings.

    Args:
        progress: told.
        stage: what the trainings are called together.
        number: which one this is, from 0.
        count: how many there are.
        iterations: of each.
    """
    return lambda done: progress(stage, number * iterations + done.iteration, count * iterations)
