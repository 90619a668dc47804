"""The ledger of trials: what luck had to choose from, kept where nothing can be taken back.

A trial is any strategy that was looked at: every run, seed, shaping weight and backtest. Left
out of the count, each makes the best of the rest look better than it is (Bailey and Lopez de Prado
2014).
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from trading_rlhf.accounting import BARS_PER_YEAR
from trading_rlhf.errors import AccountingError
from trading_rlhf.store import Event, append, canonical_json, read_events
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["Trials", "count_trials", "record_trial", "trial_key"]

_STREAM = "trial"


@dataclass(frozen=True)
class Trials:
    """What the ledger holds.

    Attributes:
        count: number of different trials, those without a Sharpe ratio included.
        sharpes: ``[<= count]`` Sharpe ratios per bar, one per trial that was measured.
    """

    count: int
    sharpes: FloatArray


def trial_key(config: JsonDict, data: str, seed: int) -> str:
    """Name of a trial: equal settings, data and seed are the same trial.

    Args:
        config: everything that makes the strategy what it is (arm, shaping weight, costs, filter),
            as plain JSON.
        data: content hash of the bars it ran on.
        seed: seed of the run.

    Raises:
        StoreError: the settings are not plain JSON.
    """
    text = canonical_json({"config": config, "data": data, "seed": seed})
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def record_trial(
    session: Session,
    kind: str,
    *,
    config: JsonDict,
    data: str,
    seed: int,
    actor: str,
    sharpe: float | None = None,
    bars_per_year: float = BARS_PER_YEAR,
    subject: str | None = None,
    settings: JsonDict | None = None,
) -> Event:
    """Count a trial; the same trial of the same kind is counted once.

    Record it when it starts, as "run" without a Sharpe ratio, and again as "backtest" when it is
    measured: the two are one trial, and a run that is dropped half-way stays counted.

    Args:
        session: from ``store.write()``.
        kind: "run", "backtest" or another stage.
        config: as for ``trial_key``.
        data: content hash of the bars.
        seed: seed of the run.
        actor: who or what ran it.
        sharpe: its Sharpe ratio per bar, if it was measured.
        bars_per_year: bars in a year of that data.
        subject: what it is about (an arm), for reading.
        settings: everything that was set, for reading; other settings are no other trial unless
            ``config`` says so.

    Returns:
        The event; ``is_new`` is False where it had been counted.

    Raises:
        AccountingError: the Sharpe ratio is not finite or the bars a year are not positive.
        StoreError: the session only reads or the settings are not plain JSON.
    """
    if sharpe is not None and not math.isfinite(sharpe):
        raise AccountingError(
            "a trial's Sharpe ratio must be finite", str(sharpe), "Leave it out if there is none."
        )
    if not (math.isfinite(bars_per_year) and bars_per_year > 0):
        raise AccountingError("bars a year must be positive", str(bars_per_year), "Use 252.")
    payload: JsonDict = {"config": config, "data": data, "seed": seed}
    if sharpe is not None:
        payload |= {"sharpe_per_bar": sharpe, "bars_per_year": bars_per_year}
    if settings is not None:
        payload["settings"] = settings
    key = trial_key(config, data, seed)
    return append(session, _STREAM, kind, payload, actor=actor, subject=subject, key=key)


def count_trials(session: Session, bars_per_year: float = BARS_PER_YEAR) -> Trials:
    """Count every trial of the store and collect the Sharpe ratios.

    Args:
        session: from ``store.read()`` or ``store.write()``.
        bars_per_year: Sharpe ratios come back per bar of this length; those of trials on other
            bars are brought to it by the square root of time.
    """
    measured: dict[str, float | None] = {}
    for event in read_events(session, _STREAM):
        # An event without a key is a trial of its own.
        name = event.key if event.key is not None else event.id
        sharpe = event.payload.get("sharpe_per_bar")
        if sharpe is None:
            measured.setdefault(name, None)
            continue
        own = event.payload.get("bars_per_year", BARS_PER_YEAR)
        measured[name] = sharpe * math.sqrt(own / bars_per_year)
    found = [sharpe for sharpe in measured.values() if sharpe is not None]
    return Trials(len(measured), np.array(found, dtype=np.float64))
