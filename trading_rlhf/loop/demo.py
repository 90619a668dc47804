"""The whole loop once, on bundled data, with the simulated desk."""

import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from trading_rlhf.agent import Policy, load_policy
from trading_rlhf.config import RunConfig, write_config
from trading_rlhf.errors import RunError
from trading_rlhf.feedback import ReviewDesk, list_accounts
from trading_rlhf.loop.arm_trials import record_trials
from trading_rlhf.loop.asking import ask_about_history, simulate_answers, simulated_desk
from trading_rlhf.loop.comparing import ARMS, Comparison, compare, out_of_sample_quality
from trading_rlhf.loop.context import Context, SettableClock, open_context
from trading_rlhf.loop.learning import Learned, Lesson, learn, placebo_models, wanted_weights
from trading_rlhf.loop.placebo import Placebo, store_placebos
from trading_rlhf.loop.replay import Replayed, replay, require_review_time
from trading_rlhf.loop.reporting import (
    arm_summary,
    build_report,
    undisturbed_curves,
    write_summary,
)
from trading_rlhf.loop.training import shape_policies, store_policy, train_base
from trading_rlhf.market import survivorship_note
from trading_rlhf.reward import Fitted, ModelDesk
from trading_rlhf.store import open_store, verify
from trading_rlhf.types import Desk, JsonDict, Progress

__all__ = ["run_demo", "single_user"]


def run_demo(
    folder: Path, config: RunConfig, audit_key: bytes, clock: SettableClock, progress: Progress
) -> JsonDict:
    """Run the loop in a folder of its own and put it in place of an older demo at the end.

    Args:
        folder: ``runs/demo``; an older run there is replaced only when this one is complete.
        config: settings.
        audit_key: secret of the audit chain.
        clock: the present.
        progress: told about every stage.

    Returns:
        The figures that ``summary.json`` holds.

    Raises:
        RunError: another process works on this run, or it holds answers of people.
    """
    folder = folder.resolve()
    with single_user(folder):
        _check_replaceable(folder, audit_key, clock)
        workshop = folder.with_name(f".{folder.name}-in-progress")
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(parents=True)
        write_config(config, workshop / "config.yaml")
        context = open_context(workshop, audit_key, clock, config)
        try:
            summary = _run(context, progress)
        finally:
            context.store.close()
        _swap(workshop, folder)
    return summary


@contextmanager
def single_user(folder: Path) -> Iterator[None]:
    """Hold a run for one process.

    Raises:
        RunError: another process holds it, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError("a run is a folder", f"{folder}, a file", "Name another one with --run.")
    folder = folder.resolve()
    if not folder.name:
        raise RunError("a run has a name", str(folder), "Name a folder such as runs/desk.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            "one process works on a run at a time",
            f"another one at work on {folder}",
            "Wait until it ends, or name another run with --run.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _run(context: Context, progress: Progress) -> JsonDict:
    config, seconds = context.config, _Stopwatch()
    # Asked first: what cannot be judged or reviewed should stop this before any training.
    simulated_desk(context)
    require_review_time(context)
    context.record_data()
    with seconds.of("train"):
        base_record = train_base(context, progress)
        base, _ = load_policy(context.policies, base_record.id)
    with seconds.of("propose"):
        # Skipped items do not count, so a few more are asked than answers are wanted.
        asked = config.ask.answers + config.ask.answers // 5 + 10
        proposals = ask_about_history(context, base, base_record.id, asked, progress)
        answers = simulate_answers(
            context, proposals, config.ask.answers, "history-answers", progress
        )
    with seconds.of("fit"):
        learned = learn(context, simulated=True)
        placebos = placebo_models(context, learned, config.placebos)
    with seconds.of("shape"):
        trained = _shape(context, base, learned, placebos, progress)
        shaped_record = store_policy(context, trained.shaped, "shaped", base_record.id)
        kept = store_placebos(context, trained.placebos, learned.record, base_record.id)
    with seconds.of("backtest"):
        tested = _test(context, base, learned, trained, kept, progress)
    with seconds.of("export"):
        model = learned.fitted.model
        replayed = replay(context, trained.shaped, shaped_record.id, model, progress)
    summary: JsonDict = {
        "data": {
            "name": config.data,
            "bars": context.bars.shape[0],
            "symbols": list(context.bars.symbols),
            "sha256": context.bars.sha256,
            "survivorship": survivorship_note(context.bars),
        },
        "seed": config.seed,
        "answers": answers,
        "simulated": True,
        "desk_style": config.desk.style,
        "proposals": len(proposals) + replayed.proposals,
        **tested.figures,
        **_replay_figures(context, replayed),
        "seconds": seconds.spent,
    }
    report = context.folder / "report.html"
    build_report(context, summary, tested.comparison, tested.curves, tested.reliability, report)
    write_summary(summary, context.folder / "summary.json")
    return summary


@dataclass(frozen=True)
class _Trained:
    shaped: Policy
    oracle: Policy
    placebos: list[tuple[Policy, Fitted]]


def _shape(
    context: Context, base: Policy, learned: Learned, placebos: list[Fitted], progress: Progress
) -> _Trained:
    """Train under the reward model, under the true desk, and under each placebo."""
    desk, _ = simulated_desk(context)
    pessimism = context.config.fit.pessimism
    models = [learned.fitted, *placebos]
    desks: list[Desk] = [desk, *(ModelDesk(fitted.model, pessimism) for fitted in models)]
    blindly: list[Lesson] = ["shuffled"] * len(placebos)
    oracle, shaped, *blind = shape_policies(
        context, base, desks, "shape", progress,
        demonstrations=wanted_weights(context, learned.record, ["nothing", "resizes", *blindly]),
    )  # fmt: skip
    return _Trained(shaped, oracle, list(zip(blind, placebos, strict=True)))


@dataclass(frozen=True)
class _Tested:
    comparison: Comparison
    curves: pd.DataFrame
    reliability: JsonDict
    figures: JsonDict


def _test(
    context: Context,
    base: Policy,
    learned: Learned,
    trained: _Trained,
    kept: list[Placebo],
    progress: Progress,
) -> _Tested:
    """Walk the arms out of sample and measure the reward model on what they show."""
    desk, reviewers = simulated_desk(context)
    policies = {"base": base, "shaped": trained.shaped, "oracle": trained.oracle}
    progress("backtest", 0, 3)
    comparison = compare(context, policies, learned.fitted, trained.placebos, desk)
    progress("backtest", 1, 3)
    honest = next(trader for trader in reviewers.values() if trader.desk is not None)
    quality, reliability = out_of_sample_quality(
        context, learned.fitted, honest, comparison.walked, ARMS.index("base")
    )
    progress("backtest", 2, 3)
    curves = undisturbed_curves(context, base, learned.fitted.model, trained.shaped)
    figures: JsonDict = {
        **arm_summary(comparison, context.bars.bars_per_year),
        "placebo_thresholds": comparison.placebo_thresholds,
        "significance": record_trials(context, comparison, kept),
        "reward_model": {
            "accuracy": quality.accuracy,
            "ceiling": reliability["ceiling"],
            "log_loss": quality.log_loss,
            "ece": quality.ece,
            "brier": quality.brier,
            # Undefined where every answer is the same.
            "auc": quality.auc if math.isfinite(quality.auc) else None,
            "tested_on": quality.answers,
            "held_out_answers": learned.record.quality,
        },
    }
    progress("backtest", 3, 3)
    return _Tested(comparison, curves, reliability, figures)


def _replay_figures(context: Context, replayed: Replayed) -> JsonDict:
    audit = verify(context.store, context.folder / "audit_head.json")
    return {
        "signals": len(replayed.signals),
        "orders": replayed.orders,
        "fills": replayed.fills,
        "refused": len(replayed.sentences),
        "reconciled": replayed.reconciled,
        "audit": {"ok": audit.ok, "events": audit.streams, "problems": audit.problems},
    }


class _Stopwatch:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.spent[stage] = round(time.perf_counter() - begun, 2)


_MARKS = ("config.yaml", "store.db", "audit_head.json", "summary.json")
"""Files of every finished run; without them a folder is not taken for one."""

_PARTS = {
    *_MARKS, "store.db-wal", "store.db-shm", "store.db.lock", "audit_head.json.lock",
    "policies", "rewards", "signals", "report.html", "backtest.html",
    "backtest.json", "stress.html", "stress.json", "sweeps",
}  # fmt: skip


def _check_replaceable(folder: Path, audit_key: bytes, clock: SettableClock) -> None:
    """Raise unless the folder is empty, or a finished run without people in it."""
    present = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if not present:
        return
    strange = sorted(present - _PARTS)
    missing = [name for name in _MARKS if name not in present]
    if strange or missing or not (folder / "store.db").stat().st_size:
        what = f"with {', '.join(strange)}" if strange else "that is not a whole run"
        raise RunError(
            "the demo only replaces a run",
            f"{folder}, a folder {what}",
            "Name another one with --run, or move it away.",
        )
    with open_store(folder / "store.db", audit_key, clock) as store:
        if ReviewDesk(store, clock).has_human_answers():
            raise RunError(
                "the demo never touches answers of people",
                f"{folder}, which holds some",
                "Name another run with --run.",
            )
        people = [account.name for account in list_accounts(store) if not account.simulated]
    if people:
        raise RunError(
            "the demo never replaces a run with accounts of people",
            f"{folder} with {', '.join(people)}",
            "Name another run with --run.",
        )


def _swap(workshop: Path, folder: Path) -> None:
    """Put the new run in the old one's place; a kill in between leaves both on disk."""
    older = folder.with_name(f".{folder.name}-older")
    shutil.rmtree(older, ignore_errors=True)
    if folder.exists():
        os.replace(folder, older)
    os.replace(workshop, folder)
    shutil.rmtree(older, ignore_errors=True)
