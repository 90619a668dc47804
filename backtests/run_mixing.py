"""Does a pre-trained encoder help, or imitating resizes? Out of sample, paired, with intervals.

python -m backtests.run_mixing [--config FILE] [--out FILE] [--json]
"""

import json
import sys
import time

import pandas as pd
import torch
from torch import Tensor

from backtests.mixing_arms import (
    LESSONS,
    PREPARED,
    Answered,
    MixingConfig,
    World,
    answer_trades,
    make_world,
    outcome_returns,
    shape_arms,
    train_arms,
    walk_out_of_sample,
)
from backtests.studies import make_parser, name_files, read_settings, save_figures, teller
from trading_rlhf.accounting import sharpe_ratio
from trading_rlhf.agent import Policy, Walk
from trading_rlhf.backtest import figures, log_growth, paired_test
from trading_rlhf.cli.console import print_frame, print_line, progress_bars
from trading_rlhf.types import JsonDict, Progress

__all__ = ["main", "run_study"]

_BPS = 1e4


def run_study(config: MixingConfig, progress: Progress) -> list[JsonDict]:
    """Return one row per market, kind of policy and arm."""
    rows: list[JsonDict] = []
    for name in config.markets:
        world = make_world(name, config)
        for number, encoder in enumerate(config.encoders):
            label = encoder.encoder
            done = teller(progress, f"{name}, {label}: training", config.train.iterations)
            arms = train_arms(config, world, encoder, done)
            rows += _pretraining_rows(config, world, label, arms)
            if number == 0:
                rows += _imitation_rows(config, world, label, arms["none"], progress)
    return rows


def _pretraining_rows(
    config: MixingConfig, world: World, encoder: str, arms: dict[str, Policy]
) -> list[JsonDict]:
    walked = walk_out_of_sample(config, world, list(arms.values()))
    found = _returns(config, world, walked, PREPARED)
    facts: JsonDict = {"study": "pre-training", "market": world.name, "encoder": encoder}
    return [{**facts, **row} for row in _compared(config, world, found)]


def _imitation_rows(
    config: MixingConfig, world: World, encoder: str, bases: Policy, progress: Progress
) -> list[JsonDict]:
    cells = answer_trades(config, world, bases)
    done = teller(progress, f"{world.name}: shaping", config.shape.iterations)
    arms, filters = shape_arms(config, world, bases, cells, done)
    walked = walk_out_of_sample(config, world, list(arms.values()), filters, cells)
    found = _returns(config, world, walked, LESSONS)
    facts: JsonDict = {
        "study": "imitation",
        "market": world.name,
        "encoder": encoder,
        "answers": config.answers * len(cells),
        "resizes": sum(len(cell.bars) for cell in cells),
    }
    rows = [{**facts, **row} for row in _compared(config, world, found)]
    for row, approval in zip(rows, _approvals(walked, cells), strict=True):
        row.update(approval)
    return rows


def _returns(
    config: MixingConfig, world: World, walked: Walk, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """Returns ``[D, T]`` of each arm of a walk."""
    size = walked.log_growth.shape[1] // len(names)
    return {
        name: outcome_returns(config, world, walked, range(place * size, (place + 1) * size))
        for place, name in enumerate(names)
    }


def _compared(config: MixingConfig, world: World, found: dict[str, Tensor]) -> list[JsonDict]:
    """Figures of each arm, and what it has more than the one without, with an interval."""
    rows = []
    for name, returns in found.items():
        row: JsonDict = {"arm": name, "draws": len(returns), "bars": returns.shape[-1]}
        row["growth"] = float(log_growth(returns).mean()) * _BPS
        if world.planted is None:
            row["sharpe"] = float(sharpe_ratio(returns, world.bars_per_year).mean())
        if name != "none":
            row |= _difference(config, returns, found["none"])
        if name == "resizes":
            row["beyond_placebo"] = _difference(config, returns, found["shuffled"])
        rows.append(row)
    return rows


def _difference(config: MixingConfig, returns: Tensor, without: Tensor) -> JsonDict:
    """Growth of an arm ``[D, T]`` beyond another's, in basis points a step.

    The interval is over bars, by paired block bootstrap of the mean over the arm's policies (one
    per seed, or per seed and desk); the standard error is over those, of the difference of each.
    """
    mean, plain = (curves.log1p().mean(0).expm1() for curves in (returns, without))
    chance = torch.Generator().manual_seed(11)
    test = paired_test(mean, plain, chance, statistic=log_growth, draws=config.draws)
    each = log_growth(returns) - log_growth(without)
    return {
        "more": test.difference * _BPS,
        "low": test.low * _BPS,
        "high": test.high * _BPS,
        "p": test.p_greater,
        "policies_se": float(each.std() / len(each) ** 0.5) * _BPS if len(each) > 1 else None,
    }


def _approvals(walked: Walk, cells: list[Answered]) -> list[JsonDict]:
    """Approval by notional of each arm, and what it has more than the one without, over cells."""
    size = len(cells)
    values = [
        [figures(walked, place * size + cell).approval for cell in range(size)]
        for place in range(len(LESSONS))
    ]
    rows = []
    for arm in values:
        pairs = [
            (mine, plain) for mine, plain in zip(arm, values[0], strict=True)
            if mine is not None and plain is not None
        ]  # fmt: skip
        if not pairs:
            rows.append({"approval": None})
            continue
        own = pd.Series([mine for mine, _ in pairs])
        more = pd.Series([mine - plain for mine, plain in pairs])
        error = float(more.sem()) if len(more) > 1 else None
        rows.append(
            {"approval": float(own.mean()), "approval_more": float(more.mean()),
             "approval_more_se": error}
        )  # fmt: skip
    return rows


def table(rows: list[JsonDict], study: str) -> pd.DataFrame:
    """The rows of one study, for people."""
    shown = {}
    for row in rows:
        if row["study"] != study:
            continue
        line = {"growth": f"{row['growth']:.2f}"}
        line["sharpe"] = f"{row['sharpe']:.2f}" if "sharpe" in row else ""
        if study == "imitation":
            approval = row["approval"]
            line["approval"] = "not enough" if approval is None else f"{approval:.3f}"
        line["more (95%) ± error"] = _words(row) if "more" in row else ""
        if study == "imitation":
            beyond = row.get("beyond_placebo")
            line["than shuffled"] = "" if beyond is None else _words(beyond)
        kind = "" if study == "imitation" else f" {row['encoder']}"
        shown[f"{row['market']}{kind} {row['arm']}"] = line
    return pd.DataFrame(shown).T.rename_axis("market, arm")


def _words(difference: JsonDict) -> str:
    error = difference["policies_se"]
    spread = "" if error is None else f" ± {error:.2f}"
    return "{more:+.2f} ({low:+.2f}, {high:+.2f})".format(**difference) + spread


def verdicts(rows: list[JsonDict]) -> dict[str, str]:
    """In how many comparisons each arm was better, worse or neither, in a sentence.

    Better is what the interval over bars says and two standard errors over policies as well; for
    resizes it must hold against the shuffled ones, too.
    """
    said = {}
    for study, arm in [("pre-training", "next"), ("pre-training", "masked")] + [
        ("imitation", arm) for arm in LESSONS[1:]
    ]:
        own = [row for row in rows if row["study"] == study and row["arm"] == arm]
        signs = [_sign(row) for row in own]
        better, worse = signs.count(1), signs.count(-1)
        said[f"{study}, {arm}"] = (
            f"better in {better} of {len(own)}, worse in {worse}, neither in "
            f"{len(own) - better - worse}"
        )
    return said


def _sign(row: JsonDict) -> int:
    """1 where an arm is better than those it is compared with, -1 where it is worse than them."""
    compared = [row, row["beyond_placebo"]] if "beyond_placebo" in row else [row]
    doubts = [2 * (each["policies_se"] or 0.0) for each in compared]
    pairs = list(zip(compared, doubts, strict=True))
    if all(each["low"] > 0 and each["more"] > doubt for each, doubt in pairs):
        return 1
    return -int(all(each["high"] < 0 and each["more"] < -doubt for each, doubt in pairs))


def main(arguments: list[str] | None = None) -> int:
    """Run the study, print its tables and write its figures."""
    options = make_parser(__doc__.splitlines()[0]).parse_args(arguments)
    name_files(options, "mixing")
    config = read_settings(options.config, lambda values: MixingConfig(**values))
    if config is None:
        return 1
    begun = time.perf_counter()
    with progress_bars() as progress:
        rows = run_study(config, progress)
    content = save_figures(
        options.out, begun, config,
        processor_seconds=round(time.process_time(), 1), verdicts=verdicts(rows), rows=rows,
    )  # fmt: skip
    if options.json:
        print_line(json.dumps(content["verdicts"]))
        return 0
    for study in ("pre-training", "imitation"):
        title = f"{study}: growth out of sample (bp a step), and more than the arm without"
        print_frame(title, table(rows, study))
    for what, sentence in content["verdicts"].items():
        print_line(f"{what}: {sentence}.")
    print_line(f"{content['seconds']:.0f} s, written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
