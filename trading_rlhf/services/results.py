"""What a finished run reports: its figures and its page."""

import json
from dataclasses import dataclass
from pathlib import Path

from trading_rlhf.errors import RunError
from trading_rlhf.types import JsonDict

__all__ = ["Headline", "headline", "summary", "read_report", "report_path"]


@dataclass(frozen=True)
class Headline:
    """The run's main figures, ready to print.

    Attributes:
        simulated: the answers came from the simulated desk.
        title: the run's name.
        facts: (name, value) pairs of what was run.
        columns: heads of the table.
        rows: one row per arm, each as long as ``columns``; empty when there are none.
        notes: sentences that belong to the table.
    """

    simulated: bool
    title: str
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


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
    """Return the run's ``report.html``, or None when there is none."""
    file = Path(run_dir) / "report.html"
    return file if file.is_file() else None


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
    return Headline(bool(content.get("simulated")), Path(run_dir).name, (), (), (), ())
