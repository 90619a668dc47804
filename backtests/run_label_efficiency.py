"""What a number of answers is worth: arms on planted markets, out of sample, true desk deciding.

python -m backtests.run_label_efficiency [--queues] [--config FILE] [--out FILE] [--json]

With ``--queues`` it compares instead how many answers the random and the active order of asking
need for the same reward model.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from backtests.answer_kinds import compare_kinds, kinds_summary
from backtests.label_queues import QueueConfig, answers_needed, queue_curves, summarise_queues
from backtests.planted_desks import (
    Cell,
    StudyConfig,
    ask,
    fit_all,
    known_figures,
    make_market,
    shape_all,
    train_bases,
)
from backtests.studies import make_parser, name_files, read_settings, save_figures, teller
from trading_rlhf.agent import Policy
from trading_rlhf.backtest import (
    Arm,
    figures,
    gap_closed,
    matching_thresholds,
    shown_notional,
    walk_arms,
)
from trading_rlhf.cli.console import print_frame, print_line, progress_bars
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.types import Progress

__all__ = ["main", "run_study"]

ARMS = ("base", "base_filter", "shaped", "oracle", "placebo")
_COLUMNS = ("approval", "approval_count", "growth", "sharpe", "reviews")


def run_study(config: StudyConfig, progress: Progress) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Run every cell.

    Returns:
        One row per (answers, seed, style, market, arm), and the comparison of kinds of answers,
        None where the settings leave it out.
    """
    _, market = make_market(config.train_market, config)
    on_step = teller(progress, "base policies", config.train.iterations)
    bases = train_bases(config, market, on_step)
    rows = []
    for answers in config.answers:
        cells = ask(config, bases, market, answers)
        verdicts = [cell.verdicts for cell in cells]
        models = [fit_all(config.fit, verdicts, shuffled=flag) for flag in (False, True)]
        on_step = teller(progress, f"{answers} answers: shaping", config.shape.iterations)
        shaped, placebo, oracle = shape_all(config, bases, cells, models, market, on_step)
        for number, cell in enumerate(cells):
            policies = {
                "base": bases.select([cell.seed]),
                "shaped": shaped.select([number]),
                "placebo": placebo.select([number]),
                "oracle": oracle.select([number]),
            }
            filters = [model.only(number) for model in models]
            rows += _measure(config, cell, answers, policies, filters)
            progress(f"{answers} answers: fresh markets", number + 1, len(cells))
    kinds = None
    if config.kinds:
        _, fresh = make_market(config.test_markets[0], config)
        kinds = kinds_summary(compare_kinds(config, bases, market, fresh))
    return pd.DataFrame(rows), kinds


def _measure(
    config: StudyConfig,
    cell: Cell,
    answers: int,
    policies: dict[str, Policy],
    filters: list[RewardModel],
) -> list[dict]:
    rows = []
    learned, blind = filters
    bar = config.gate.threshold
    for seed in config.test_markets:
        planted, market = make_market(seed, config)
        gap = (config.n_bars - config.length - 2) // config.episodes
        start = torch.arange(config.episodes) * gap + 1
        common = (market, start, config.length, config.costs, config.gate)
        shaped = Arm("shaped", policies["shaped"], ModelDesk(learned), bar, cell.desk)
        notional = shown_notional(walk_arms([shaped], *common), 0)
        (blind_bar,) = matching_thresholds(
            [policies["placebo"]], [blind], notional, *common, decider=cell.desk
        )
        arms = [
            Arm("base", policies["base"], None, bar, cell.desk),
            Arm("base_filter", policies["base"], ModelDesk(learned), bar, cell.desk),
            shaped,
            Arm("oracle", policies["oracle"], cell.desk, bar, cell.desk),
            Arm("placebo", policies["placebo"], ModelDesk(blind), blind_bar, cell.desk),
        ]
        walked = walk_arms(arms, *common)
        for index, arm in enumerate(arms):
            growth, sharpe = known_figures(walked, index, planted, config.costs)
            shown = figures(walked, index)
            rows.append(
                {
                    "answers": answers, "seed": cell.seed, "style": cell.style, "market": seed,
                    "arm": arm.name, "approval": shown.approval,
                    "approval_count": shown.approval_count, "growth": growth, "sharpe": sharpe,
                    "reviews": shown.reviews,
                }
            )  # fmt: skip
    return rows


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over cells (fresh markets averaged first), per answers and arm."""
    cells = rows.groupby(["answers", "arm", "seed", "style"])[list(_COLUMNS)].mean()
    grouped = cells.groupby(["answers", "arm"])
    mean, error = grouped.mean(), grouped.sem()
    table = {}
    for answers in sorted(rows["answers"].unique()):
        for arm in ARMS:
            key = (answers, arm)
            table[f"{answers} {arm}"] = {
                name: _with_error(mean.loc[key, name], error.loc[key, name]) for name in _COLUMNS
            }
    return pd.DataFrame(table).T.rename_axis("answers, arm")


def differences(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Paired shaped minus others over cells, with standard errors, and net shares of the gap."""
    cells = rows.groupby(["answers", "seed", "style", "arm"])[list(_COLUMNS)].mean().unstack("arm")
    result: dict[str, dict[str, dict[str, float]]] = {}
    for answers in sorted(rows["answers"].unique()):
        part = cells.loc[answers]
        entry: dict[str, dict[str, float]] = {}
        for name in _COLUMNS[:4]:
            row = {}
            for other in ("base", "base_filter", "placebo"):
                paired = part[name]["shaped"] - part[name][other]
                row[f"minus_{other}"] = float(paired.mean())
                row[f"minus_{other}_se"] = float(paired.sem())
            means = part[name].mean()
            row["gap_closed_net"] = gap_closed(
                means["shaped"],
                means["base"],
                means["oracle"],
                means["placebo"],
                float((part[name]["oracle"] - part[name]["base"]).sem() or 0.0),
            )
            entry[name] = row
        result[str(answers)] = entry
    return result


def _printable(kinds: pd.DataFrame) -> pd.DataFrame:
    """The comparison of kinds of answers as text; its errors are of the paired difference."""
    difference = [
        _with_error(mean, error)
        for mean, error in zip(100 * kinds["minus_verdicts"], 100 * kinds["se"], strict=True)
    ]
    return pd.DataFrame(
        {
            "accuracy, %": [f"{100 * value:.1f}" for value in kinds["accuracy"]],
            "minus verdicts, %": difference,
            "reviewer minutes": [f"{value:.0f}" for value in kinds["minutes"]],
            "answers a minute": [f"{value:.1f}" for value in kinds["answers_per_minute"]],
        },
        index=kinds.index,
    )


def _with_error(mean: float, error: float) -> str:
    if not np.isfinite(mean):
        return "not enough"
    return f"{mean:.2f}" if not np.isfinite(error) else f"{mean:.2f} ± {error:.2f}"


def main(arguments: list[str] | None = None) -> int:
    """Run the study, print its table and write its figures."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--queues", action="store_true", help="compare the orders of asking")
    options = parser.parse_args(arguments)
    name_files(options, "label_queues" if options.queues else "label_efficiency")
    settings = read_settings(options.config, partial(_settings, queues=options.queues))
    if settings is None:
        return 1
    config, queues = settings
    if queues is not None:
        return _compare_queues(config, queues, options.out, options.json)
    begun = time.perf_counter()
    with progress_bars() as progress:
        rows, kinds = run_study(config, progress)
    content = save_figures(
        options.out, begun, config,
        differences=differences(rows),
        kinds=None if kinds is None else kinds.replace({np.nan: None}).to_dict(orient="index"),
        rows=rows.replace({np.nan: None}).to_dict(orient="records"),
    )  # fmt: skip
    if options.json:
        print_line(json.dumps(content["differences"]))
        return 0
    print_frame(
        "Planted markets, fresh, true desk deciding (mean ± standard error)", summarise(rows)
    )
    if kinds is not None:
        print_frame(f"{config.kinds} answers of each mix against verdicts", _printable(kinds))
    for name, row in content["differences"][str(config.answers[-1])].items():
        print_line(
            f"{name}: shaped minus base + filter {row['minus_base_filter']:+.2f} ± "
            f"{row['minus_base_filter_se']:.2f}, minus placebo {row['minus_placebo']:+.2f} ± "
            f"{row['minus_placebo_se']:.2f}"
        )
    print_line(f"{content['seconds']:.0f} s, written to {options.out}")
    return 0


def _settings(values: dict, queues: bool) -> tuple[StudyConfig, QueueConfig | None]:
    """The study's settings, and those of the queues where they are compared."""
    orders = QueueConfig(**values.pop("queues", {})) if queues else None
    return StudyConfig(**values), orders


def _compare_queues(config: StudyConfig, queues: QueueConfig, out: Path, as_json: bool) -> int:
    """Measure both orders of asking, print the curves and write the figures."""
    begun = time.perf_counter()
    with progress_bars() as progress:
        _, market = make_market(config.train_market, config)
        on_step = teller(progress, "base policies", config.train.iterations)
        bases = train_bases(config, market, on_step)
        rows = queue_curves(config, queues, bases, progress)
    needed = {name: answers_needed(rows, name) for name in ("accuracy", "accuracy_notional")}
    content = save_figures(
        out, begun, config,
        queues=queues.model_dump(mode="json"), answers_needed=needed,
        rows=rows.to_dict(orient="records"),
    )  # fmt: skip
    if as_json:
        print_line(json.dumps(needed))
        return 0
    print_frame(
        "Reward models on fresh planted markets (mean ± standard error)", summarise_queues(rows)
    )
    for name, row in needed.items():
        print_line(
            f"{name}: the active order needs {row['share']:.2f} ± {row['share_se']:.2f} of the "
            "random order's answers between 150 and 500"
        )
    print_line(f"{content['seconds']:.0f} s, written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
