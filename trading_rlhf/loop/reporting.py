"""What a run measured, as figures for machines and as a page for people."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trading_rlhf.agent import Policy, Walk, walk
from trading_rlhf.backtest import (
    ENOUGH_ITEMS,
    Plot,
    Report,
    Table,
    bar_plot,
    gap_closed,
    line_plot,
    reliability_plot,
    run_backtest,
    write_report,
)
from trading_rlhf.env import cut_market
from trading_rlhf.loop.comparing import ARMS, Comparison
from trading_rlhf.loop.context import Context
from trading_rlhf.market import Bars, survivorship_note
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.store import canonical_json
from trading_rlhf.store.files import replace_text
from trading_rlhf.types import FloatArray, JsonDict

__all__ = [
    "LABELS",
    "arm_summary",
    "build_report",
    "equal_targets",
    "equity_curve",
    "figures_table",
    "hold_targets",
    "undisturbed_curves",
    "undisturbed_walks",
    "verdict_sentences",
    "write_summary",
]

_INVESTED = 0.98
"""Of equity, in buy and hold and in equal weight; the rest pays costs."""

LABELS = {
    "base": "base (no filter)",
    "base_filter": "base + filter",
    "shaped": "shaped + filter",
    "oracle": "oracle (true desk)",
    "placebo": "placebo (shuffled)",
}


def arm_summary(comparison: Comparison, bars_per_year: float) -> JsonDict:
    """The headline figures by name, each keyed by arm."""
    figures = comparison.figures
    columns = {
        "approval": "approval",
        "approval_count": "approval_count",
        "profit_through_gate": "profit",
        "sharpe": "sharpe",
        "sharpe_standard_error": "sharpe_error",
        "reviews_per_step": "reviews",
        "turnover": "turnover",
    }
    table = {
        key: {arm: figures[arm].to_json()[name] for arm in figures} for key, name in columns.items()
    }
    shares: JsonDict = {}
    for key, error in gap_errors(comparison, bars_per_year).items():
        row = table[key]
        known = None not in row.values()
        shares[key] = (
            gap_closed(row["shaped"], row["base"], row["oracle"], row["placebo"], error)
            if known
            else None
        )
    return {**table, "gap_closed_net_of_placebo": shares}


def gap_errors(comparison: Comparison, bars_per_year: float) -> dict[str, float]:
    """Standard errors of oracle minus base: paired by step for money, by item for approval."""
    base, oracle = (comparison.figures[arm] for arm in ("base", "oracle"))
    paths = comparison.walked.log_growth[:, :, 0].double()
    difference = paths[:, ARMS.index("oracle")] - paths[:, ARMS.index("base")]
    step_error = float(difference.std() / len(difference) ** 0.5)
    spread = float(paths[:, ARMS.index("base")].std())

    def items(p: float | None, shown: int) -> float:
        return 0.0 if p is None else p * (1 - p) / shown

    approval = (items(base.approval, base.shown) + items(oracle.approval, oracle.shown)) ** 0.5
    return {
        "approval": approval,
        "approval_count": (
            items(base.approval_count, base.shown) + items(oracle.approval_count, oracle.shown)
        )
        ** 0.5,
        "profit_through_gate": step_error * 1e4,
        "sharpe": step_error / spread * bars_per_year**0.5 if spread else 0.0,
    }


def undisturbed_walks(
    context: Context, base: Policy, model: RewardModel | None, shaped: Policy | None
) -> dict[str, Walk]:
    """Walks over the test period where nobody refuses, by arm; "reward model only" is filtered.

    Args:
        context: the run.
        base: the profit-only policy.
        model: the filter; without one only the raw policy is walked.
        shaped: the policy shaped by that model, or None.
    """
    config = context.config
    start, length = torch.tensor([context.test_bars.start]), len(context.test_bars) - 1
    go = partial(
        walk, market=context.market, start=start, length=length, costs=config.costs,
        gate=config.gate, capital=config.equity, generator=context.generator("reviews"),
    )  # fmt: skip
    walks = {"raw policy": go(base)}
    if model is not None:
        walks["reward model only"] = go(base, model=ModelDesk(model))
        if shaped is not None:
            walks["shaped, reward model only"] = go(shaped, model=ModelDesk(model))
    return walks


def hold_targets(bars: Bars, max_gross: float = _INVESTED) -> FloatArray:
    """Targets ``[T, N]`` of buy and hold: equal weights of what trades at the first bar.

    Args:
        bars: the period.
        max_gross: limit of invested equity; nothing is borrowed where it is higher than usual.
    """
    invested = min(max_gross, _INVESTED)
    targets = np.full(bars.shape, np.nan)
    targets[0] = np.where(bars.tradable[0], invested / max(int(bars.tradable[0].sum()), 1), 0.0)
    return targets


def equal_targets(bars: Bars, max_gross: float = _INVESTED) -> FloatArray:
    """Targets ``[T, N]`` of equal weights of what trades, restored at each month's first close.

    The 1/N rule of DeMiguel, Garlappi and Uppal (2009), "Optimal versus naive diversification",
    Review of Financial Studies 22; between those closes nothing is ordered (NaN).

    Args:
        bars: the period.
        max_gross: limit of invested equity; nothing is borrowed where it is higher than usual.
    """
    months = bars.dates.year * 12 + bars.dates.month
    begins = np.concatenate([[True], np.asarray(months[1:] != months[:-1])])
    trades = bars.tradable[begins]
    share = min(max_gross, _INVESTED) / np.maximum(trades.sum(-1, keepdims=True), 1)
    targets = np.full(bars.shape, np.nan)
    # What does not trade then keeps its weight: it could not be sold anyway.
    targets[begins] = np.where(trades, share, np.nan)
    return targets


def undisturbed_curves(
    context: Context, base: Policy, model: RewardModel, shaped: Policy
) -> pd.DataFrame:
    """Equity of buy and hold and of ``undisturbed_walks``: ``[dates x arms]``, starts at 1.0."""
    config, test = context.config, context.test_bars
    window, limit = context.bars.window(test.start, test.stop), config.policy.max_gross
    hold = run_backtest(
        window, hold_targets(window, limit), config.costs,
        max_gross=limit, equity_usd=config.equity, market=cut_market(context.market, test),
    )  # fmt: skip
    curves = {"buy and hold": hold.equity[0]}
    for name, walked in undisturbed_walks(context, base, model, shaped).items():
        curves[name] = equity_curve(walked.log_growth[:, 0, 0])
    return pd.DataFrame(curves, index=window.dates)


def equity_curve(log_growth: torch.Tensor) -> FloatArray:
    """Equity ``[K + 1]`` from log growth ``[K]``, starting at 1.0."""
    total = torch.cat([torch.zeros(1, dtype=torch.float64), log_growth.double().cumsum(0)])
    curve: FloatArray = total.exp().numpy()
    return curve


def write_summary(summary: JsonDict, path: Path) -> None:
    """Write figures as sorted JSON, atomically."""
    replace_text(path, canonical_json(summary))


def build_report(
    context: Context,
    summary: JsonDict,
    comparison: Comparison,
    curves: pd.DataFrame,
    reliability: JsonDict,
    path: Path,
) -> None:
    """Write the run's page.

    Args:
        context: the run.
        summary: figures as in summary.json.
        comparison: the arms of the test period.
        curves: from ``undisturbed_curves``.
        reliability: ``stated`` and ``observed`` of the reward model.
        path: the HTML file.
    """
    report = Report(
        title=f"Trades reviewed by a {'simulated ' if summary['simulated'] else ''}desk: "
        f"{summary['data']['name']}",
        summary=verdict_sentences(summary),
        warnings=_warnings(context, summary),
        tables=[
            Table("Out of sample, the true desk deciding", figures_table(summary), _TABLE_NOTE),
            Table("Is it luck?", _luck_table(summary), _LUCK_NOTE),
        ],
        plots=_plots(summary, comparison, curves, reliability),
        facts=_facts(context, summary),
    )
    write_report(report, path)


def _plots(
    summary: JsonDict, comparison: Comparison, curves: pd.DataFrame, reliability: JsonDict
) -> list[Plot]:
    through = pd.DataFrame(
        {
            LABELS[arm]: equity_curve(comparison.walked.log_growth[:, index, 0])
            for index, arm in enumerate(ARMS)
        },
        index=curves.index,
    )
    approvals = pd.DataFrame(
        {
            "by notional": [summary["approval"][arm] for arm in ARMS],
            "by count": [summary["approval_count"][arm] for arm in ARMS],
        },
        index=[LABELS[arm] for arm in ARMS],
    )
    drawdown = through / through.cummax() - 1.0
    return [
        Plot(
            "Approval of what is shown", bar_plot(approvals, "approval"), "Mean true probability."
        ),
        Plot(
            "Equity through the desk",
            line_plot(through, "equity", log=True),
            "The placebo's line is its first draw.",
        ),
        Plot("Drawdown through the desk", line_plot(drawdown, "fraction below the peak")),
        Plot(
            "Equity where nobody refuses",
            line_plot(curves, "equity", log=True),
            "Costs paid, no desk: what the same trades would have earned.",
        ),
        Plot(
            "Reward model: stated against observed approval",
            reliability_plot(reliability["stated"], reliability["observed"]),
            "Deciles of what the base policy showed out of sample.",
        ),
    ]


_TABLE_NOTE = (
    "Approval is the mean true probability of approval of what is shown, by notional and by count; "
    f"fewer than {ENOUGH_ITEMS} items are not enough. Profit is log growth per bar through the "
    "gate. The placebo's filter shows the same notional as the shaped arm's."
)
_LUCK_NOTE = (
    "PSR: probability that the true Sharpe ratio is positive. DSR: the same after counting every "
    "trial in the run's ledger. A Sharpe ratio within two standard errors of another is not better."
)


def figures_table(summary: JsonDict) -> pd.DataFrame:
    """The headline table as text, one row per arm."""

    def text(key: str, arm: str, digits: int) -> str:
        value = summary[key][arm]
        return "not enough" if value is None else f"{value:.{digits}f}"

    rows = {
        LABELS[arm]: {
            "approval by notional": text("approval", arm, 2),
            "approval by count": text("approval_count", arm, 2),
            "profit bp per step": text("profit_through_gate", arm, 2),
            "Sharpe": f"{text('sharpe', arm, 2)} ± {text('sharpe_standard_error', arm, 2)}",
            "reviews per step": text("reviews_per_step", arm, 2),
            "turnover % per step": f"{100 * summary['turnover'][arm]:.1f}",
        }
        for arm in ARMS
    }
    table = pd.DataFrame(rows).T
    table.index.name = "arm"
    return table


def verdict_sentences(summary: JsonDict) -> list[str]:
    """The result in words, whichever way it went."""
    sentences = []
    for key, name, unit in (
        ("approval", "Approval by notional", ""),
        ("approval_count", "Approval by count", ""),
        ("profit_through_gate", "Profit through the gate", " bp a step"),
    ):
        row = summary[key]
        if None in (row[arm] for arm in ("shaped", "base", "base_filter", "placebo")):
            sentences.append(f"{name}: too few trades shown to compare.")
            continue
        others = {LABELS[arm]: row[arm] for arm in ("base", "base_filter", "placebo")}
        beaten = [label for label, value in others.items() if row["shaped"] > value]
        missed = [label for label, value in others.items() if row["shaped"] <= value]
        line = f"{name}: shaped {row['shaped']:.2f}{unit}"
        line += f"; above {', '.join(beaten)}" if beaten else ""
        line += f"; not above {', '.join(missed)}" if missed else ""
        sentences.append(f"{line}.")
    return sentences


def _luck_table(summary: JsonDict) -> pd.DataFrame:
    def text(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.2f}"

    rows = {
        LABELS[arm]: {
            "PSR": text(summary["significance"][arm]["psr"]),
            "DSR": text(summary["significance"][arm]["dsr"]),
            "trials counted": str(summary["significance"][arm]["trials"]),
        }
        for arm in ARMS
    }
    table = pd.DataFrame(rows).T
    table.index.name = "arm"
    return table


def _warnings(context: Context, summary: JsonDict) -> list[str]:
    lines = []
    if summary["simulated"]:
        lines.append(
            "Every answer here comes from a simulated desk. It shows that the loop works; it says "
            "nothing about real traders."
        )
    lines.append(
        f"{survivorship_note(context.bars)} Companies that failed are missing, so every profit "
        "shown is too high. No profit claim follows from one path."
    )
    return lines


def _facts(context: Context, summary: JsonDict) -> list[tuple[str, str]]:
    dates, test = context.bars.dates, context.test_bars
    train = context.train_bars
    seconds = ", ".join(f"{k} {v:.0f} s" for k, v in summary["seconds"].items())
    quality = summary["reward_model"]
    return [
        ("Data", f"{summary['data']['name']}, {len(context.bars.symbols)} assets, sha256 "
                 f"{summary['data']['sha256'][:16]}"),
        ("Fitted on", f"{dates[train.start].date()} to {dates[train.stop - 1].date()}"),
        ("Reported on", f"{dates[test.start].date()} to {dates[test.stop - 1].date()}"),
        ("Answers", f"{summary['answers']}"),
        ("Reward model", f"accuracy {quality['accuracy']:.3f} (ceiling {quality['ceiling']:.3f}), "
                         f"log loss {quality['log_loss']:.3f}, ECE {quality['ece']:.3f} on "
                         f"{quality['tested_on']} trades"),
        ("Replay", f"{summary['signals']} signals, {summary['orders']} orders, "
                   f"{summary['fills']} fills"),
        ("Seed", str(context.config.seed)),
        ("Time", seconds),
    ]  # fmt: skip
