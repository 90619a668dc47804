"""A run's backtest: arms tested, counted as trials, and written as a page and for the dashboard."""

from pathlib import Path

import numpy as np
import torch

from trading_rlhf.accounting import per_bar_returns
from trading_rlhf.backtest import (
    ArmStatistics,
    BacktestResult,
    ComparedArms,
    Report,
    Section,
    Trials,
    arm_rows,
    arm_sections,
    arm_statistics,
    arm_summary_lines,
    arm_tiles,
    compare_arms,
    cost_curves,
    count_trials,
    date_range,
    report_json,
    run_backtest,
    write_report,
)
from trading_rlhf.backtest.labels import percent
from trading_rlhf.env import cut_market
from trading_rlhf.loop import Context, record_walks
from trading_rlhf.market import Bars, survivorship_note
from trading_rlhf.services.backtest_approved import approved_sections
from trading_rlhf.services.backtest_arms import PAIRS, RunArm, main_arm, run_arms
from trading_rlhf.services.backtest_overfitting import overfitting_sentence
from trading_rlhf.services.backtest_people import people_sections
from trading_rlhf.store import canonical_json
from trading_rlhf.store.files import replace_text
from trading_rlhf.types import FloatArray, JsonDict, Progress

__all__ = ["PAGE_FILE", "VIEW_FILE", "compare_run", "figures_json", "write_run_report"]

PAGE_FILE, VIEW_FILE = "backtest.html", "backtest.json"

_STAGE = "backtest"
_STEPS = 5


def compare_run(context: Context, progress: Progress) -> ComparedArms:
    """Backtest every arm of a run over its test period and work out what can be said of them."""
    progress(_STAGE, 0, _STEPS)
    window = context.bars.window(context.test_bars.start, context.test_bars.stop)
    arms, missing = run_arms(context, window)
    draws = {name: len(arm.targets) for name, arm in arms.items()}
    rows = arm_rows(arms, draws)
    progress(_STAGE, 1, _STEPS)
    result = _run(context, window, arms, 1.0)
    returns = _returns(result)
    trials = _count_arms(context, arms, returns)
    generator, per_year = context.generator("backtest"), context.bars.bars_per_year
    curves = {name: returns[own] for name, own in rows.items()}
    statistics: list[ArmStatistics] = arm_statistics(curves, trials, per_year, generator)
    progress(_STAGE, 2, _STEPS)
    pairs = [pair for pair in PAIRS if set(pair) <= set(arms)]
    tests = compare_arms(curves, generator, per_year, pairs=pairs, confidence=0.95)
    progress(_STAGE, 3, _STEPS)
    costs = cost_curves(rows, lambda factor: _run(context, window, arms, factor).measures, per_year)
    compared = ComparedArms(
        what={name: arm.what for name, arm in arms.items()},
        main=main_arm(arms),
        result=result,
        statistics=statistics,
        tests=tests,
        costs=costs,
        overfitting=overfitting_sentence(context),
        missing=missing,
        draws=draws,
    )
    progress(_STAGE, 4, _STEPS)
    return compared


def write_run_report(
    context: Context, compared: ComparedArms, chapters: list[Section], progress: Progress
) -> Path:
    """Write ``backtest.html`` and, for the dashboard, ``backtest.json``; returns the page.

    Args:
        context: the run.
        compared: its arms.
        chapters: those that are made when asked for, see ``optional_chapters``.
        progress: told when it is written.
    """
    report = Report(
        title=f"Backtest of {context.folder.name} on {context.config.data}",
        summary=arm_summary_lines(compared),
        warnings=_warnings(context),
        sections=[
            *arm_sections(compared),
            *approved_sections(context, compared),
            *chapters,
            *people_sections(context),
        ],
        facts=_facts(context, compared),
        tiles=arm_tiles(compared),
    )
    path = context.folder / PAGE_FILE
    write_report(report, path)
    replace_text(context.folder / VIEW_FILE, canonical_json(report_json(report)))
    progress(_STAGE, _STEPS, _STEPS)
    return path


def figures_json(compared: ComparedArms) -> JsonDict:
    """What was found, for machines; what is not finite is None."""
    measures = compared.measures.astype(object).where(compared.measures.notna(), None)
    return {
        "main": compared.main,
        "measures": measures.to_dict(orient="index"),
        "luck": {
            name: {"psr": arm.luck.psr, "dsr": arm.luck.dsr, "trials": arm.luck.trials}
            for name, arm in zip(compared.names, compared.statistics, strict=True)
        },
        "tests": compared.tests.to_dict(orient="records"),
        "break_even_bps": {name: curve.break_even_bps for name, curve in compared.costs.items()},
        "summary": arm_summary_lines(compared),
        "engine": compared.result.engine,
    }  # fmt: skip


def _run(context: Context, window: Bars, arms: dict[str, RunArm], factor: float) -> BacktestResult:
    config = context.config
    return run_backtest(
        window,
        np.concatenate([arm.targets for arm in arms.values()]),
        config.costs.scaled(factor),
        max_gross=config.policy.max_gross,
        equity_usd=config.equity,
        market=cut_market(context.market, context.test_bars),
    )


def _count_arms(context: Context, arms: dict[str, RunArm], returns: FloatArray) -> Trials:
    """Count every draw of every arm as a trial, whoever has looked at it before."""
    counted = [(name, trial) for name, arm in arms.items() for trial in arm.trials]
    with context.store.write() as session:
        record_walks(session, context, counted, returns)
        trials = count_trials(session, context.bars.bars_per_year)
    context.sign()
    return trials


def _returns(result: BacktestResult) -> FloatArray:
    """Per-bar returns ``[B, T - 1]``."""
    returns: FloatArray = per_bar_returns(torch.as_tensor(result.equity)).numpy()
    return returns


def _warnings(context: Context) -> list[str]:
    stored = context.reward_model()
    lines = [f"{survivorship_note(context.bars)} One path carries no profit claim."]
    if stored is not None and stored[1].simulated:
        lines.insert(
            0,
            "The reward model learned from a simulated desk: this shows that the loop works and "
            "says nothing about real traders.",
        )
    return lines


def _facts(context: Context, compared: ComparedArms) -> list[tuple[str, str]]:
    dates, train, result = context.bars.dates, context.train_bars, compared.result
    costs, delay = context.config.costs, context.config.gate.delay
    stopping, validation = context.stopping_bars, context.validation_bars
    trials = compared.luck.luck.trials
    stored = context.reward_model()
    facts = [
        ("Data", f"{context.config.data}: {_some(context.bars.symbols)}"),
        ("Fitted on", date_range(dates[train.start : train.stop])),
        *([("Stopped on", date_range(dates[stopping.start : stopping.stop]))]
          if len(stopping) else []),
        *([("Validated on", date_range(dates[validation.start : validation.stop]))]
          if len(validation) else []),
        ("Tested on", f"{date_range(result.dates)}, {len(result.dates):,} bars"),
        ("Survivorship", survivorship_note(context.bars).removeprefix("Survivorship: ")),
        ("Costs (bps)", _costs_text(costs.commission_bps, costs.half_spread_bps,
                                    costs.slippage_bps, costs.borrow_bps_per_year)),
        ("Account", f"{context.config.equity:,.0f} USD, at most "
                    f"{percent(context.config.policy.max_gross, 0)} invested"),
        ("Orders", "decided at the close of a bar, filled at the next open"
                   + (f" after {delay} bars of review" if delay else "")),
        ("Trials counted", f"{trials:,} in this run's ledger, these arms included"),
        ("Engine", result.engine),
        ("Policies", ", ".join(sorted({_short(arm) for arm in _policy_ids(context)}))),
    ]  # fmt: skip
    if stored is not None:
        facts.append(("Reward model", _short(stored[1].id)))
    return [*facts, ("Seed", str(context.config.seed)), ("Data sha256", context.bars.sha256[:16])]


def _policy_ids(context: Context) -> list[str]:
    events = (context.newest("policy", kind) for kind in ("base", "shaped"))
    return [event.payload["id"] for event in events if event is not None]


def _short(name: str) -> str:
    return name[:8]


def _some(symbols: tuple[str, ...], most: int = 12) -> str:
    more = len(symbols) - most
    return ", ".join(symbols[:most]) + (f" and {more} more" if more > 0 else "")


def _costs_text(*rates: float | tuple[float, ...]) -> str:
    names = ("commission", "half spread", "slippage", "borrow a year")
    texts = [f"{r:g}" if isinstance(r, float) else f"{min(r):g} to {max(r):g}" for r in rates]
    return ", ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
