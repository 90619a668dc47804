"""What the commands of all studies share: options, settings, progress and the file of figures."""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trading_rlhf.cli.console import print_error
from trading_rlhf.store.files import replace_text
from trading_rlhf.types import Progress

__all__ = ["make_parser", "name_files", "read_settings", "save_figures", "teller"]

_HERE = Path(__file__).parent

Settings = TypeVar("Settings")


def make_parser(description: str) -> argparse.ArgumentParser:
    """The options of every study; ``name_files`` fills in the files that were not given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, help="YAML file with the study's settings")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def name_files(options: argparse.Namespace, name: str) -> None:
    """Put the usual files of a study where the options name none."""
    options.config = options.config or _HERE / f"configs/{name}.yaml"
    options.out = options.out or _HERE / f"results/{name}.json"


def read_settings(path: Path, build: Callable[[dict[str, Any]], Settings]) -> Settings | None:
    """Settings that ``build`` makes of a YAML file; None, with a sentence, where it cannot."""
    try:
        return build(yaml.safe_load(path.read_text()))
    except (OSError, TypeError, AttributeError, yaml.YAMLError, ValidationError) as error:
        print_error(f"Error: the study needs a valid configuration; {error}")
        return None


def save_figures(out: Path, begun: float, config: BaseModel, **figures: Any) -> dict[str, Any]:
    """Write a study's figures below their date, time and settings.

    Args:
        out: JSON file.
        begun: ``time.perf_counter()`` at the start.
        config: the settings.
        figures: what was found, plain JSON.

    Returns:
        All that was written.
    """
    content = {
        "date": datetime.now(UTC).date().isoformat(),  # noqa: TID251
        "seconds": round(time.perf_counter() - begun, 1),
        "config": config.model_dump(mode="json"),
        **figures,
    }
    replace_text(out, json.dumps(content, indent=1))
    return content


def teller(progress: Progress, stage: str, total: int) -> Callable[[int], None]:
    """Tell of what is done of a stage."""
    return lambda done: progress(stage, done, total)
