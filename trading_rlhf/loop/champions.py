"""The line of champions: who proposes, whom it beat, and the way back.

Every promotion, every challenge that failed and every rollback is an event of the stream
"policy", so the chain covers it and nothing of it can be taken back.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from trading_rlhf.agent import Policy, PolicyRecord, load_policy
from trading_rlhf.backtest import count_trials, record_trial, sharpe_per_bar
from trading_rlhf.broker.signal import Refusal
from trading_rlhf.errors import RunError
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.evaluation import Evaluation, Side, Verdict, evaluate, judge
from trading_rlhf.proposals import HORIZON, Proposal
from trading_rlhf.store import Event, append, read_events
from trading_rlhf.types import JsonDict

__all__ = [
    "by_champion",
    "champion",
    "champion_id",
    "line_of_champions",
    "promote",
    "proposing_policy",
    "rollback",
    "waiting_challenger",
]

_TRAINED = ("base", "shaped")
"""Kinds of policies that may reign; a placebo may not."""

_PROMOTED, _KEPT, _ROLLED_BACK = "promoted", "kept", "rolled_back"
_LEAST_PREFIX = 4


def line_of_champions(context: Context) -> list[JsonDict]:
    """Promotions, failed challenges and rollbacks in order: ``event``, ``at`` and the figures."""
    return [
        {"event": event.kind, "at": event.at.isoformat(), **event.payload}
        for event in _events(context, (_PROMOTED, _KEPT, _ROLLED_BACK))
    ]


def champion_id(context: Context) -> str | None:
    """Id of the reigning policy, None before the first promotion."""
    reigns = _events(context, (_PROMOTED, _ROLLED_BACK))
    return reigns[-1].payload["id"] if reigns else None


def champion(context: Context) -> tuple[Policy, PolicyRecord] | None:
    """The reigning policy, None before the first promotion.

    Raises:
        CheckpointError: its file is missing or damaged.
    """
    name = champion_id(context)
    return None if name is None else load_policy(context.policies, name)


def proposing_policy(context: Context) -> tuple[Policy, PolicyRecord]:
    """The champion; where none was chosen yet, the newest shaped policy, else the base policy.

    Raises:
        RunError: the run has no policy, or its champion sees other features than the run now has.
    """
    reigning = champion(context)
    if reigning is None:
        return context.policy("shaped" if context.newest("policy", "shaped") else "base")
    _require_features(context, reigning[1])
    return reigning


def waiting_challenger(context: Context) -> str | None:
    """Id of the newest policy where it has not met the champion yet, else None."""
    trained = list(_trained(context))
    if not trained:
        return None
    newest, reigning = trained[-1], champion_id(context)
    met = {
        event.payload["challenger"]
        for event in _events(context, (_KEPT,))
        if event.payload["id"] == reigning
    }
    reigned = {event.payload["id"] for event in _events(context, (_PROMOTED,))}
    return None if newest in met | reigned else newest


def promote(context: Context, challenger: str | None = None) -> list[JsonDict]:
    """Let a challenger meet the champion on the validation bars, and store who reigns.

    The first policy of a run becomes champion unopposed; a run that holds later ones, too, goes on
    to the challenger at once. Each decision counts as a trial.

    Args:
        context: the run.
        challenger: id, or the beginning of one; None is the newest policy.

    Returns:
        The decisions, as ``line_of_champions`` gives them.

    Raises:
        RunError: there is no policy or no challenger, or one of the two cannot be compared.
    """
    trained = _trained(context)
    if not trained:
        raise RunError(
            "a champion is chosen among trained policies",
            f"none in {context.folder}",
            f"Run 'trading-rlhf train --run {context.folder}' first.",
        )
    reigning = champion_id(context)
    named = None if challenger is None else _resolve(challenger, list(trained), "a challenger")
    first = _first(context, trained) if reigning is None else None
    meets = _challenger(context, named, first or reigning, unopposed=first is not None)
    # Both are looked at before anything is stored.
    ids = [name for name in (first or reigning, meets) if name is not None]
    loaded = {name: _comparable(context, name, trained) for name in ids}
    done = 0
    if first is not None:
        _decide(context, (first, loaded[first]), None)
        done += 1
    if meets is not None:
        name = ids[0]
        _decide(context, (meets, loaded[meets]), (name, loaded[name]))
        done += 1
    context.sign()
    return line_of_champions(context)[-done:]


def rollback(context: Context, to: str | None = None) -> JsonDict:
    """Put an earlier champion back; the rollback joins the line.

    Args:
        context: the run.
        to: id of a former champion, or its beginning; None is the one before.

    Returns:
        The event, as ``line_of_champions`` gives it.

    Raises:
        RunError: there is no earlier champion, or ``to`` never was one.
    """
    throne, former = _throne(_events(context, (_PROMOTED, _ROLLED_BACK)))
    if to is None and len(throne) < 2:
        raise RunError(
            "a rollback needs an earlier champion",
            f"{len(throne)} champion(s) in {context.folder}",
            f"Run 'trading-rlhf status --run {context.folder}' to see the line.",
        )
    goal = throne[-2] if to is None else _resolve(to, former, "a former champion")
    if goal == throne[-1]:
        raise RunError(
            "a rollback changes the champion", f"{goal}, who reigns", "Name another one with --to."
        )
    load_policy(context.policies, goal)
    # What it showed when it was promoted last.
    shown = next(
        event.payload["figures"]["challenger"]
        for event in reversed(_events(context, (_PROMOTED,)))
        if event.payload["id"] == goal
    )
    payload = {
        "id": goal,
        "kind": _trained(context)[goal].kind,
        "over": throne[-1],
        "figures": {"challenger": shown},
    }
    context.record("policy", _ROLLED_BACK, payload, subject=goal)
    return line_of_champions(context)[-1]


def by_champion(
    context: Context, proposals: Sequence[Proposal]
) -> tuple[list[Proposal], list[Refusal]]:
    """Live proposals of the champion, and why the others are held back; all where none reigns."""
    reigning = champion_id(context)
    own = [p for p in proposals if reigning is None or p.policy_id == reigning]
    held = [
        Refusal(
            p.id, p.symbol,
            f"{p.symbol} was not released because policy {p.policy_id[:8]} proposed it, and "
            f"{str(reigning)[:8]} is the champion.",
        )
        for p in proposals
        if reigning is not None and p.policy_id != reigning
    ]  # fmt: skip
    return own, held


def _events(context: Context, kinds: Sequence[str]) -> list[Event]:
    with context.store.read() as session:
        return [event for event in read_events(session, "policy") if event.kind in kinds]


def _trained(context: Context) -> dict[str, Event]:
    """Policies that may reign, by id, in the order in which they were last stored."""
    found: dict[str, Event] = {}
    for event in _events(context, _TRAINED):
        found.pop(event.payload["id"], None)
        found[event.payload["id"]] = event
    return found


def _throne(reigns: list[Event]) -> tuple[list[str], list[str]]:
    """Champions one above another, the reigning one last, and all who ever reigned."""
    throne: list[str] = []
    former: list[str] = []
    for event in reigns:
        name = event.payload["id"]
        if event.kind == _ROLLED_BACK and name in throne:
            throne = throne[: throne.index(name)]
        throne.append(name)
        if name not in former:
            former.append(name)
    return throne, former


def _first(context: Context, trained: dict[str, Event]) -> str:
    """The oldest policy that can be compared; where none can, the newest, which then says why."""
    for name in trained:
        try:
            _comparable(context, name, trained)
        except RunError:
            continue
        return name
    return list(trained)[-1]


def _challenger(
    context: Context, named: str | None, reigning: str | None, *, unopposed: bool
) -> str | None:
    """Who meets the champion; None where the first policy of a run is alone."""
    found = named if named is not None else waiting_challenger(context)
    if found is not None and found != reigning:
        return found
    if unopposed:
        return None
    got = f"{str(reigning)[:8]}, who reigns" if named is not None else "none that is new"
    raise RunError(
        "a champion needs a challenger that it has not met",
        got,
        "Make one with 'trading-rlhf learn' or 'train', or name another with --challenger.",
    )


def _comparable(context: Context, name: str, trained: dict[str, Event]) -> Policy:
    """Load a policy that was fitted on no validation bar.

    Raises:
        RunError: that is not known, it is not so, or it sees other features.
    """
    dates, start = context.bars.dates, context.validation_bars.start
    ancestor: str | None = name
    while ancestor is not None and len(context.validation_bars):
        event = trained.get(ancestor)
        last = None if event is None else _moment(event.payload.get("trained_to"), dates)
        if event is None or last is None:
            raise RunError(
                "the bars that a policy was fitted on must be known",
                f"policy {name[:8]}, which does not say or knows other bars",
                f"Run 'trading-rlhf train --run {context.folder}' again.",
            )
        if start - int(dates.searchsorted(last, side="right")) < HORIZON:
            raise RunError(
                f"champion and challenger must be fitted {HORIZON} bars before validation or "
                "earlier",
                f"policy {name[:8]} to {last.date()}, validation from {dates[start].date()}",
                "Train again under the settings of now, or restore those of then.",
            )
        ancestor = event.payload.get("parent")
    policy, record = load_policy(context.policies, name)
    _require_features(context, record)
    return policy


def _moment(text: str | None, dates: pd.DatetimeIndex) -> pd.Timestamp | None:
    """A stored date; None where there is none, or one of bars in other kinds of time."""
    if not text:
        return None
    moment = pd.Timestamp(text)
    return moment if (moment.tz is None) == (dates.tz is None) else None


def _require_features(context: Context, record: PolicyRecord) -> None:
    if tuple(record.feature_names) != tuple(context.config.features):
        raise RunError(
            "a policy sees the features that the run has",
            f"policy {record.id[:8]} with {', '.join(record.feature_names)}",
            "Restore those features, or train again and roll back to a policy that fits.",
        )


def _resolve(given: str, known: list[str], what: str) -> str:
    """The one id that begins like this."""
    found = [name for name in known if name.startswith(given)]
    if len(found) == 1 and len(given) >= _LEAST_PREFIX:
        return found[0]
    raise RunError(
        f"{what} is named by an id of this run, or by {_LEAST_PREFIX} or more of its first letters",
        repr(given),
        f"Choose among {', '.join(name[:8] for name in known)}."
        if known
        else "There is none yet: run 'trading-rlhf promote' first.",
    )


def _decide(
    context: Context, challenger: tuple[str, Policy], reigning: tuple[str, Policy] | None
) -> None:
    """Evaluate, judge, and store trial and decision together."""
    found = evaluate(context, challenger, reigning)
    verdict = judge(found)
    dates, bars = context.bars.dates, context.validation_bars
    period = [str(dates[bars.start].date()), str(dates[bars.stop - 1].date())]
    stretch = {"period": period, "data_sha256": context.bars.sha256}
    earlier = _events(context, (_PROMOTED, _KEPT))
    tries = 1 + sum(stretch.items() <= event.payload.items() for event in earlier)
    per_year, old = context.bars.bars_per_year, found.champion
    settings = context.config.model_dump(mode="json", include={"costs", "gate", "equity"})
    trial: JsonDict = {
        "validation": period,
        "policy": found.challenger.id,
        "champion": None if old is None else old.id,
        "reward_model": found.reward_model,
        **settings,
    }
    with context.store.write() as session:
        record_trial(
            session, "promotion", config=trial, data=context.bars.sha256,
            seed=context.config.seed, actor="system",
            sharpe=sharpe_per_bar(found.challenger.returns.numpy()), bars_per_year=per_year,
            subject="challenger",
        )  # fmt: skip
        count = count_trials(session, per_year).count
        payload = {**_payload(context, found, verdict), **stretch, "tries": tries, "trial": count}
        kind = _PROMOTED if verdict.promoted else _KEPT
        append(session, "policy", kind, payload, actor="system", subject=payload["id"])


def _payload(context: Context, found: Evaluation, verdict: Verdict) -> JsonDict:
    """A decision as it is stored; ``id`` reigns after it, ``over`` does not."""
    old, test = found.champion, found.growth
    sides = {"challenger": found.challenger, "champion": old}
    reigns, loses = (
        (found.challenger, old) if verdict.promoted or old is None else (old, found.challenger)
    )
    compared: dict[str, Any] = {}
    if test is not None:
        compared = {
            "growth_difference_bps": 1e4 * test.difference,
            "low_bps": 1e4 * test.low,
            "high_bps": 1e4 * test.high,
            "confidence": test.confidence,
            "p": test.p_greater,
            "block": test.block,
            "approval_change": found.approval_change,
        }
    trained = _trained(context)
    return {
        "id": reigns.id,
        "kind": trained[reigns.id].kind,
        "over": None if loses is None else loses.id,
        "over_kind": None if loses is None else trained[loses.id].kind,
        "challenger": found.challenger.id,
        "reason": verdict.reason,
        "reward_model": found.reward_model,
        "bars": found.bars,
        "figures": {name: _figures(side) for name, side in sides.items() if side is not None},
        **compared,
    }


def _figures(side: Side) -> JsonDict:
    found = {"id": side.id, **side.figures.to_json()}
    # The Sharpe ratio of a policy that never trades is undefined.
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }
