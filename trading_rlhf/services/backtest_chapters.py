"""Chapters of the backtest page that take a while: made when asked for, kept while they hold."""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pandas as pd
import plotly.io

from trading_rlhf.backtest import Plot, Report, Section, Table, report_json
from trading_rlhf.loop import (
    Context,
    cross_validate,
    forward_periods,
    plan_trainings,
    walk_forward,
)
from trading_rlhf.services.backtest_frontier import frontier_section, sweep_approval
from trading_rlhf.services.backtest_paths import paths_figures, paths_section
from trading_rlhf.services.backtest_walk_forward import forward_figures, forward_section
from trading_rlhf.store import canonical_json
from trading_rlhf.store.files import replace_text
from trading_rlhf.types import JsonDict, Progress

__all__ = ["Chapter", "Chapters", "chapter_file", "optional_chapters"]

Chapter: TypeAlias = Literal["walk-forward", "cpcv", "frontier"]
"""As the option of the command is called."""

_Made: TypeAlias = tuple[Section, JsonDict]


_ORDER: Final[tuple[Chapter, ...]] = ("frontier", "cpcv", "walk-forward")

_BULKY = ("dates", "returns")
"""Figures that are kept in the file only."""


@dataclass(frozen=True)
class Chapters:
    """What a backtest shows beside its arms.

    Attributes:
        sections: in the order of the page.
        said: what came out of those made now, and what of the others is not shown, in sentences.
        figures: of those made now, by name; per-bar figures are in the chapter's file only.
    """

    sections: list[Section]
    said: list[str]
    figures: JsonDict


@dataclass(frozen=True)
class _Kind:
    """A chapter that a backtest makes only when asked.

    Attributes:
        title: heading.
        offer: what its option would do, in a sentence that follows the command.
        make: makes the chapter and its figures for machines.
        check: refuses settings that do not fit the bars, before anything is trained.
        rests_on: kinds of stored policies and models that it is about, as streams and event kinds.
    """

    title: str
    offer: str
    make: Callable[[Context, Progress], _Made]
    check: Callable[[Context], object] | None = None
    rests_on: tuple[tuple[str, str], ...] = ()


def optional_chapters(
    context: Context, wanted: Collection[Chapter], progress: Progress
) -> Chapters:
    """Make what is wanted; of the rest, take what an earlier backtest kept, or say how to get it.

    A kept chapter holds as long as bars, settings and the policies that it is about are the same.

    Args:
        context: the run.
        wanted: chapters to make anew.
        progress: told about each.

    Raises:
        RunError: the run lacks what a wanted chapter is about.
        DataError: there are too few bars for the settings.
    """
    for name in wanted:
        check = _KINDS[name].check
        if check is not None:
            check(context)
    made: dict[Chapter, _Made] = {}
    # In this order trials are counted: what is judged by luck comes last.
    for name in _ORDER:
        if name in wanted:
            made[name] = _KINDS[name].make(context, progress)
            _keep(context, name, *made[name])
    rest = {name: _found(context, name) for name in _KINDS if name not in made}
    return Chapters(
        sections=[made[name][0] if name in made else rest[name][0] for name in _KINDS],
        said=[
            line
            for name in _KINDS
            for line in (made[name][0].lines if name in made else rest[name][1])
        ],
        figures={
            name.replace("-", "_"): {k: v for k, v in figures.items() if k not in _BULKY}
            for name, (_, figures) in made.items()
            if figures
        },
    )


def chapter_file(run: Path, name: Chapter) -> Path:
    """Where a chapter and its figures are kept."""
    return run / f"backtest_{name.replace('-', '_')}.json"


def _keep(context: Context, name: Chapter, section: Section, figures: JsonDict) -> None:
    page = report_json(Report("", [], [], sections=[section]))
    content = {"holds_for": _holds_for(context, name), "figures": figures, **page["sections"][0]}
    replace_text(chapter_file(context.folder, name), canonical_json(content))


def _found(context: Context, name: Chapter) -> tuple[Section, list[str]]:
    """The chapter of an earlier backtest, or how to get one, and what is to be said of it."""
    file, again = chapter_file(context.folder, name), f"'--{name}' makes it anew."
    if not file.exists():
        return _offer(context, name), []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        holds = content["holds_for"] == _holds_for(context, name)
        parts = [_part(part) for part in content["parts"]] if holds else []
        kept = Section(
            content["title"], [*content["lines"], f"Kept from an earlier backtest; {again}"], parts
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        problem = f"{_KINDS[name].title} is left out: {file.name} cannot be read; {again}"
        return _offer(context, name, problem), [problem]
    if holds:
        return kept, []
    problem = (
        f"{_KINDS[name].title} is left out: the one in {file.name} was made from other settings, "
        f"bars or policies; {again}"
    )
    return _offer(context, name, problem), [problem]


def _holds_for(context: Context, name: Chapter) -> str:
    """Hash of what a chapter depends on: bars, features, settings, policies and models."""
    events = [context.newest(*kind) for kind in _KINDS[name].rests_on]
    facts = {
        "data": context.bars.sha256,
        "features": [
            hashlib.sha256(Path(file).read_bytes()).hexdigest()
            for file in context.config.feature_files
        ],
        "settings": context.config.model_dump(mode="json", exclude={"folds"}),
        "policies": [None if event is None else event.payload["id"] for event in events],
    }
    return hashlib.sha256(canonical_json(facts).encode("ascii")).hexdigest()


def _part(part: JsonDict) -> Table | Plot:
    if "figure" in part:
        return Plot(part["title"], plotly.io.from_json(part["figure"]), part["note"])
    head, *columns = part["columns"]
    frame = pd.DataFrame(
        [row[1:] for row in part["rows"]],
        columns=columns,
        index=pd.Index([row[0] for row in part["rows"]], name=head),
    )
    return Table(part["title"], frame, part["note"])


def _offer(context: Context, name: Chapter, problem: str = "Not made yet.") -> Section:
    kind = _KINDS[name]
    command = f"trading-rlhf backtest --run {context.folder} --{name}"
    return Section(kind.title, [problem, f"'{command}' {kind.offer}"], [])


def _make_forward(context: Context, progress: Progress) -> _Made:
    walked = walk_forward(context, progress)
    return forward_section(walked, context.config.folds.rolling), forward_figures(walked)


def _make_paths(context: Context, progress: Progress) -> _Made:
    found = cross_validate(context, progress)
    return paths_section(found, context.config.folds), paths_figures(found)


def _make_frontier(context: Context, progress: Progress) -> _Made:
    return frontier_section(sweep_approval(context, progress)), {}


_KINDS: dict[Chapter, _Kind] = {
    "walk-forward": _Kind(
        "Walk-forward",
        "trains the base policy anew before each of several stretches and chains them to one path "
        "out of sample, beside equal weight and buy and hold; every training counts as a trial.",
        _make_forward,
        forward_periods,
    ),
    "cpcv": _Kind(
        "Cross-validation",
        "trains the base policy for every choice of groups of bars to test on (combinatorial "
        "purged cross-validation) and shows how results spread; every training counts as a trial.",
        _make_paths,
        plan_trainings,
    ),
    "frontier": _Kind(
        "Approval against profit",
        "tries other thresholds of the filter, and other prices and target approvals of shaping; "
        "every point of it counts as a trial.",
        _make_frontier,
        rests_on=(("policy", "base"), ("policy", "shaped"), ("reward_model", "fitted")),
    ),
}
