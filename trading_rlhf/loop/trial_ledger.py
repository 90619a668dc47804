"""Walks over the run's test bars, written into the ledger of trials."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from trading_rlhf.backtest import record_trial, sharpe_per_bar
from trading_rlhf.loop.context import Context
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["record_walks"]


def record_walks(
    session: Session,
    context: Context,
    walks: Iterable[tuple[str, JsonDict]],
    returns: Iterable[FloatArray],
) -> None:
    """Record one trial for each walk.

    Args:
        session: of the run's store, writing; the caller signs.
        context: the run.
        walks: what each is called, and the name that makes it the trial that it is.
        returns: ``[K]`` per-bar returns of each.
    """
    settings = context.config.model_dump(mode="json")
    for (subject, trial), values in zip(walks, returns, strict=True):
        record_trial(
            session, "backtest", config=trial, data=context.bars.sha256,
            seed=context.config.seed, actor="system", sharpe=sharpe_per_bar(values),
            bars_per_year=context.bars.bars_per_year, subject=subject, settings=settings,
        )  # fmt: skip
