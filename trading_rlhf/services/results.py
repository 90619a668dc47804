"""What a finished run reports: its figures and its page."""

import json
from dataclasses import dataclass
from pathlib import Path

from trading_rlhf.errors import RunError
from trading_rlhf.loop import figures_table, verdict_sentences
from trading_rlhf.types import JsonDict

__all__ = ["Headline", "headline", "summary", "read_report", "report_path"]


@dataclass(frozen=True)
class Headline:
    """The run's main figures, ready to print.

    Attributes:
        simulated: the answers came from the simulated desk.
        title: the run's name.
        facts: name and value of what was run.
        sentences: the result in words.
        columns: heads of the table.
        rows: one row per arm, each as long as ``columns``; empty when there are none.
    """

    simulated: bool
    title: str
    facts: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary(run_dir: str | Path) -> JsonDict | None:
    """Read ``summary.json``; None when nothing has been run yet.

    Raises:
        RunError: the file is not JSON.
    """
    file = Path(run_dir) / "summary.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} must be JSON", str(error), "Run the study again.") from None
    if not isinstance(content, dict):
        raise RunError(f"{file} must hold names and values", "something else", "Run it again.")
    return content


def report_path(run_dir: str | Path) -> Path | None:
    """Return the run's report: of its whole loop, else of its last backtest; None without any."""
    files = (Path(run_dir) / name for name in ("report.html", "backtest.html"))
    return next((file for file in files if file.is_file()), None)


def read_report(run_dir: str | Path) -> bytes:
    """Return the run's report for download.

    Raises:
        RunError: there is none.
    """
    path = report_path(run_dir)
    if path is None:
        raise RunError("a report must exist", f"none in {run_dir}", "Run a backtest first.")
    return path.read_bytes()


def headline(run_dir: str | Path) -> Headline | None:
    """Prepare the run's main figures; None when nothing has been run yet.

    Raises:
        RunError: the summary cannot be read.
    """
    content = summary(run_dir)
    if content is None:
        return None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    sentences: tuple[str, ...] = ()
    if "approval" in content:
        try:
            table = figures_table(content)
            sentences = tuple(verdict_sentences(content))
        except (KeyError, TypeError, ValueError):
            raise RunError(
                "summary.json must hold every figure of every arm",
                f"an incomplete one in {run_dir}",
                "Run the backtest again.",
            ) from None
        columns = ("arm", *(str(name) for name in table.columns))
        rows = tuple(
            (str(name), *(str(cell) for cell in row))
            for name, row in zip(table.index, table.to_numpy(), strict=True)
        )
    return Headline(
        simulated=bool(content.get("simulated")),
        title=f"Results of {Path(run_dir).resolve().name}",
        facts=_facts(content),
        sentences=sentences,
        columns=columns,
        rows=rows,
    )


def _facts(content: JsonDict) -> tuple[tuple[str, str], ...]:
    """Name what the figures rest on, as far as the summary holds it."""
    data, model = content.get("data") or {}, content.get("reward_model") or {}
    facts = []
    if data.get("name"):
        assets = len(data.get("symbols", ()))
        facts.append(("Data", f"{data['name']}, {assets} assets, {data.get('bars', 0):,} bars"))
    if "answers" in content:
        facts.append(("Answers", f"{content['answers']:,}"))
    if model.get("accuracy") is not None:
        ceiling = model.get("ceiling")
        best = "" if ceiling is None else f" (reviewers' own ceiling {ceiling:.2f})"
        facts.append(("Reward model accuracy", f"{model['accuracy']:.2f}{best}"))
    if "signals" in content:
        facts.append(("Paper trading", f"{content['signals']} signals, {content['fills']} fills"))
    if isinstance(content.get("audit"), dict):
        whole = content["audit"].get("ok")
        facts.append(("Audit chain", "whole" if whole else "broken"))
    if "seed" in content:
        facts.append(("Seed", str(content["seed"])))
    return tuple(facts)
