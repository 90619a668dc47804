"""Verbs that work on a run, from the demo to its audit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter

from trading_rlhf.agent import join_ranks
from trading_rlhf.cli.console import (
    live_training,
    print_error,
    print_facts,
    print_frame,
    print_json,
    print_line,
    progress_bars,
)
from trading_rlhf.config import RunConfig
from trading_rlhf.errors import AuditError
from trading_rlhf.loop import figures_table, verdict_sentences
from trading_rlhf.services import stages
from trading_rlhf.services.backtest_chapters import Chapter
from trading_rlhf.services.backtests import arm_table, backtest_run, backtest_weights
from trading_rlhf.services.launch import open_dashboard
from trading_rlhf.services.secrets import load_secrets
from trading_rlhf.services.stages import Stage
from trading_rlhf.services.status import in_words
from trading_rlhf.services.status import status as read_status
from trading_rlhf.services.sweep import sweep_run
from trading_rlhf.types import JsonDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["audit", "backtest", "demo", "export", "learn", "propose", "review", "status", "train"]

Settings = Annotated[RunConfig | None, Parameter(name="*", group="Settings")]

_DESK = Path("runs/desk")


@contextmanager
def _stage(run: Path, config: Path | None, settings: RunConfig | None) -> Iterator[Stage]:
    given = {} if settings is None else settings.model_dump(exclude_unset=True)
    with progress_bars() as progress:
        yield Stage(run, load_secrets(), config, stages.flatten(given), progress)


def _print(title: str, facts: JsonDict, json: bool) -> None:
    if json:
        print_json(facts)
    else:
        print_facts(title, facts)


def demo(
    *,
    run: Path = Path("runs/demo"),
    config: Path | None = None,
    json: bool = False,
    settings: Settings = None,
) -> int:
    """Run the whole loop on bundled data with the simulated desk.

    Args:
        run: where it is written; an older demo there is replaced.
        config: YAML file with settings.
        json: print the figures as JSON.
        settings: dotted overrides.
    """
    with _stage(run, config, settings) as stage:
        summary = stages.demo(stage)
    if json:
        print_json(summary)
        return 0
    print_frame("Out of sample, the true (simulated) desk deciding", figures_table(summary))
    for sentence in verdict_sentences(summary):
        print_line(sentence)
    quality = summary["reward_model"]
    print_facts(
        "",
        {
            "answers": f"{summary['answers']} of a simulated desk ({summary['desk_style']})",
            "reward model": f"accuracy {quality['accuracy']:.3f}, ceiling "
            f"{quality['ceiling']:.3f}, ECE {quality['ece']:.3f} on {quality['tested_on']} trades",
            "replay": f"{summary['signals']} signals, {summary['orders']} orders, "
            f"{summary['fills']} fills",
            "audit": "unbroken" if summary["audit"]["ok"] else "BROKEN",
            "figures": run / "summary.json",
            "report": run / "report.html",
            "dashboard": "make review (a desk of your own)",
        },
    )
    return 0 if summary["audit"]["ok"] else 1


def train(
    *,
    run: Path = _DESK,
    config: Path | None = None,
    json: bool = False,
    settings: Settings = None,
) -> int:
    """Train a base policy on profit alone; goes on where a killed training stopped.

    Several processes share each batch where torchrun starts them: torchrun --standalone
    --nproc-per-node 2 -m -- trading_rlhf train --run runs/desk

    Args:
        run: the run; begun where there is none.
        config: YAML file with settings.
        json: print JSON.
        settings: dotted overrides, kept in the run's config.yaml.
    """
    given = {} if settings is None else settings.model_dump(exclude_unset=True)
    with join_ranks() as ranks, live_training(json or not ranks.first) as (progress, watch):
        stage = Stage(run, load_secrets(), config, stages.flatten(given), progress)
        if not ranks.first:
            stages.help_train(stage, ranks)
            return 0
        facts = stages.train(stage, watch, ranks)
    _print(f"Trained in {run}", facts, json)
    return 0


def propose(
    *,
    run: Path = _DESK,
    count: int = 40,
    live: bool = False,
    config: Path | None = None,
    json: bool = False,
    settings: Settings = None,
) -> int:
    """Put proposed trades into the review queue.

    Args:
        run: the run.
        count: how many trades from history.
        live: propose for the newest bar instead.
        config: YAML file with settings.
        json: print JSON.
        settings: dotted overrides.
    """
    with _stage(run, config, settings) as stage:
        facts = stages.propose(stage, count, live)
    _print("Proposed", facts, json)
    return 0


def review(
    *,
    run: Path = _DESK,
    demo_run: Path = Path("runs/demo"),
    count: int = 200,
    port: int = 8501,
    serve: bool = True,
    config: Path | None = None,
    settings: Settings = None,
) -> int:
    """Open the dashboard where people answer proposals.

    A new desk starts from the demo's base policy, without its simulated answers, and its first
    user's password is printed once.

    Args:
        run: the desk's run.
        demo_run: a finished demo, needed for a new desk only.
        count: questions put into an empty queue.
        port: port on 127.0.0.1.
        serve: start the server; otherwise only prepare the desk.
        config: YAML file with settings.
        settings: dotted overrides for a new desk.
    """
    with _stage(run, config, settings) as stage:
        stages.prepare_desk(stage, demo_run, count)
        password = stages.first_user(stage)
    if password is not None:
        print_line(f"First user: reviewer   password: {password}   (shown only this once)")
    if not serve:
        return 0
    print_line(f"Open http://127.0.0.1:{port}   (Ctrl+C stops the dashboard)")
    return open_dashboard(run, port)


def learn(
    *,
    run: Path = _DESK,
    simulated: bool = False,
    config: Path | None = None,
    json: bool = False,
    settings: Settings = None,
) -> int:
    """Fit the reward model on the answers so far and shape a policy by it.

    Args:
        run: the run.
        simulated: learn from the simulated desk's answers; they never mix with people's.
        config: YAML file with settings.
        json: print JSON.
        settings: dotted overrides.
    """
    with _stage(run, config, settings) as stage:
        facts = stages.fit(stage, simulated)
    _print("Learned", facts, json)
    return 0


def backtest(
    *,
    run: Path = _DESK,
    weights: Path | None = None,
    data: str = "us4",
    nan_holds: bool = False,
    walk_forward: bool = False,
    cpcv: bool = False,
    frontier: bool = False,
    sweep: Path | None = None,
    ray: str | None = None,
    workers: int | None = None,
    config: Path | None = None,
    json: bool = False,
    settings: Settings = None,
) -> int:
    """Backtest a run's policies out of sample, weights from a file, or a grid of settings.

    Args:
        run: the run.
        weights: CSV file with a date column and one column per symbol, instead of a run.
        data: bars for the weights: a bundled sample or a file.
        nan_holds: an empty weight holds the position.
        walk_forward: also train the base policy anew before each of several stretches and chain
            them to one path out of sample, see --folds; each training counts as a trial.
        cpcv: also train it for every choice of groups of bars to test on (combinatorial purged
            cross-validation), see --folds; each training counts as a trial.
        frontier: also try other thresholds of the filter, and other prices and target approvals of
            shaping, for approval against profit; each one counts as a trial.
        sweep: YAML grid, such as "train.iterations: [50, 250]" and "seeds: 5"; a base policy is
            trained and tested under each; started again, it goes on where it was killed.
        ray: sweep over Ray: "local", or the address of a cluster.
        workers: cells of the sweep at a time; as many as there are cores by default.
        config: YAML file with settings.
        json: print JSON.
        settings: dotted overrides.
    """
    asked: dict[Chapter, bool] = {
        "walk-forward": walk_forward, "cpcv": cpcv, "frontier": frontier,
    }  # fmt: skip
    chapters = [name for name, wanted in asked.items() if wanted]
    _check_choice(weights, sweep, scaled_out=ray is not None or workers is not None,
                  nan_holds=nan_holds, chapters=chapters)  # fmt: skip
    facts: JsonDict = {}
    with _stage(run, config, settings) as stage:
        if sweep is not None:
            table, facts = sweep_run(stage, sweep, ray=ray, workers=workers, announce=print_error)
        elif weights is not None:
            table, facts = backtest_weights(data, weights, stage, nan_holds)
        else:
            table, facts = backtest_run(stage, chapters)
    if sweep is not None:
        return _print_sweep(table, facts, json)
    if json:
        print_json({"measures": table.to_dict(orient="index"), **facts})
        return 0
    # Nobody here knows which bars the weights of a file were chosen on.
    heading = "Out of sample, all costs paid" if weights is None else "All costs paid"
    print_frame(heading, arm_table(table))
    for sentence in facts.get("summary", ()):
        print_line(sentence)
    shown = ("report", "bars", "symbols", "engine", "limit", "note")
    print_facts("", {name: facts[name] for name in shown if name in facts})
    return 0


def _check_choice(
    weights: Path | None,
    sweep: Path | None,
    *,
    scaled_out: bool,
    nan_holds: bool,
    chapters: Sequence[str],
) -> None:
    """Refuse options of a backtest that another kind of backtest would silently leave out."""
    wrong = None
    if sweep is None and scaled_out:
        wrong = "--ray and --workers belong to a sweep; got no --sweep. Name a grid."
    elif sweep is not None and weights is not None:
        wrong = "a backtest takes one of --sweep and --weights; got both. Drop one."
    elif nan_holds and weights is None:
        wrong = "--nan-holds belongs to --weights; got no --weights. Name a file."
    elif chapters and (sweep is not None or weights is not None):
        other = "--sweep" if weights is None else "--weights"
        wrong = f"--{chapters[0]} belongs to a run's backtest; got {other}. Drop one."
    if wrong is not None:
        # As any other wrong usage: exit 2.
        raise CycloptsError(msg=wrong)


def _print_sweep(ranking: "pd.DataFrame", facts: JsonDict, json: bool) -> int:
    """Print what a sweep found; 1 where a cell failed."""
    failed = facts["failed"]
    if json:
        print_json({"ranking": ranking.to_dict(), **facts})
    else:
        if len(ranking):
            print_frame("Settings by Sharpe ratio, out of sample, nobody refuses", ranking)
            print_line(f"The best cell: {facts['luck']}")
        print_facts("", {name: facts[name] for name in ("cells", "table", "note")})
    for sentence in failed:
        print_error(f"Failed: {sentence}")
    return 1 if failed else 0


def export(
    *,
    run: Path = _DESK,
    config: Path | None = None,
    json: bool = False,
    settings: Settings = None,
) -> int:
    """Release approved live proposals as signals and send them to the embedded paper broker.

    Args:
        run: the run.
        config: YAML file with settings.
        json: print JSON.
        settings: dotted overrides.
    """
    with _stage(run, config, settings) as stage:
        facts = stages.export(stage)
    _print("Exported", facts, json)
    return 0


audit = App(name="audit", help="Check the chain from data to fill.")


@audit.command
def verify(*, run: Path = Path("runs/demo"), json: bool = False) -> int:
    """Walk every event and compare it with the signed head; fails when a byte was changed.

    Args:
        run: the run.
        json: print JSON.
    """
    with _stage(run, None, None) as stage:
        report = stages.audit(stage)
    if json:
        print_json({"ok": report.ok, "events": report.streams, "problems": report.problems})
        return 0 if report.ok else 1
    print_facts(f"Audit of {run}", report.streams)
    if not report.ok:
        raise AuditError(
            "the chain of events must be unbroken",
            f"{len(report.problems)} problem(s): {' '.join(report.problems[:3])}".rstrip("."),
            "Restore the store and its head file from a backup.",
        )
    print_line("Unbroken: every event is as it was written.")
    return 0


def status(*, run: Path = _DESK, json: bool = False) -> int:
    """Show where a run stands.

    Args:
        run: the run.
        json: print JSON.
    """
    with _stage(run, None, None) as stage:
        facts = read_status(stage)
    _print(f"Status of {run}", facts if json else in_words(facts), json)
    return 0
