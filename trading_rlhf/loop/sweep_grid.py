"""Grids of settings and seeds: which cells a sweep has, and which of them share a training."""

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_rlhf import __version__
from trading_rlhf.config import RunConfig, read_config
from trading_rlhf.errors import ConfigError
from trading_rlhf.store import canonical_json
from trading_rlhf.store.yaml_files import read_mapping
from trading_rlhf.types import JsonDict

__all__ = ["Cell", "Grid", "make_cells", "read_grid"]

_VARIED = (
    "features", "train_fraction", "validation_fraction", "equity", "histories", "block", "costs",
    "policy", "train", "gate.min_trade", "gate.delay", "gate.answer_rate", "gate.expiry",
)  # fmt: skip
"""What a base policy's training or its test reads; anything else would change nothing."""


_MOST_CELLS = 100_000
"""Each cell is a trained policy, a file of its own and a trial in the run's ledger."""


@dataclass(frozen=True)
class Grid:
    """What is tried.

    Attributes:
        name: the file's stem; the table is called so.
        settings: values by dotted name.
        seeds: seeds of every combination; empty means the run's own.
    """

    name: str
    settings: dict[str, list[Any]]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Cell:
    """One combination and seed.

    Attributes:
        key: hash of everything that its result depends on.
        training: hash of what its policy is trained from; equal ones share one training.
        config: settings of the run with these in place.
        settings: the varied ones by dotted name, as plain JSON.
    """

    key: str
    training: str
    config: RunConfig
    settings: JsonDict


def read_grid(path: Path) -> Grid:
    """Read a grid: lists of values by dotted setting, and ``seeds``, a count or a list.

    Raises:
        ConfigError: the file cannot be read, or is no such grid.
    """
    loaded = read_mapping(path, "a grid")
    if not loaded:
        raise ConfigError(
            "a grid holds settings with lists of values",
            f"{path} with {loaded!r}",
            "Write a line such as 'train.iterations: [50, 250]'.",
        )
    seeds = _seeds(loaded.pop("seeds", []))
    for name, values in loaded.items():
        _check_setting(name, values)
    _check_overlap(list(loaded))
    _check_size([*map(len, loaded.values()), max(len(seeds), 1)])
    return Grid(path.stem, loaded, seeds)


def make_cells(grid: Grid, config: RunConfig, data_sha256: str) -> list[Cell]:
    """Lay out a grid around a run's settings, seeds innermost.

    Args:
        grid: what is varied.
        config: the run's settings.
        data_sha256: hash of the run's bars.

    Raises:
        ConfigError: a setting is unknown or out of range, or two cells are the same.
    """
    own_features = [
        hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in config.feature_files
    ]
    facts: JsonDict = {
        "version": __version__,
        "data": data_sha256,
        "feature_files": own_features,
    }
    cells: dict[str, Cell] = {}
    for values in itertools.product(*grid.settings.values()):
        chosen = dict(zip(grid.settings, values, strict=True))
        for seed in grid.seeds or (config.seed,):
            changed = {**config.model_dump(mode="json"), "seed": seed, **chosen}
            cell = _cell(read_config(None, changed), grid, facts)
            if cell.key in cells:
                raise ConfigError(
                    "the cells of a grid must differ",
                    f"{canonical_json(cell.settings)} with seed {seed} twice",
                    "Give each value once.",
                )
            cells[cell.key] = cell
    return list(cells.values())


def _cell(config: RunConfig, grid: Grid, facts: JsonDict) -> Cell:
    settings = config.model_dump(mode="json")
    names = (
        "features", "train_fraction", "validation_fraction", "histories", "block", "policy",
        "train", "costs", "seed",
    )  # fmt: skip
    gate = {name: settings["gate"][name] for name in ("delay", "answer_rate", "expiry")}
    inputs = {
        **facts,
        **{name: settings[name] for name in names},
        "gate": gate,
        # The size of the account matters to costs in USD only.
        "equity": settings["equity"] if config.costs.needs_equity else None,
    }
    tested = {"equity": settings["equity"], "min_trade": settings["gate"]["min_trade"]}
    varied = {name: _look_up(settings, name) for name in grid.settings}
    return Cell(_hash(inputs | {"tested": tested}), _hash(inputs), config, varied)


def _hash(facts: JsonDict) -> str:
    return hashlib.sha256(canonical_json(facts).encode("ascii")).hexdigest()[:24]


def _look_up(settings: JsonDict, name: str) -> Any:
    value: Any = settings
    for part in _canonical(name).split("."):
        value = value[part]
    return value


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _check_setting(name: Any, values: Any) -> None:
    known = isinstance(name, str) and any(
        f"{_canonical(name)}.".startswith(f"{setting}.") for setting in _VARIED
    )
    if not known:
        raise ConfigError(
            "a sweep varies what the base policy's training and test read",
            str(name),
            f"Use settings of {', '.join(_VARIED)}, and seeds.",
        )
    if not isinstance(values, list) or not values:
        raise ConfigError(
            f"{name} must be a list of values",
            repr(values),
            f"Write it as '{name}: [{'...' if isinstance(values, list) else values}]'.",
        )


def _check_overlap(names: list[str]) -> None:
    """A section and one of its settings, or two spellings: one would undo the other."""
    for one, other in itertools.combinations(sorted(names, key=_canonical), 2):
        if f"{_canonical(other)}.".startswith(f"{_canonical(one)}."):
            raise ConfigError(
                "the settings of a grid must not overlap",
                f"{one} and {other}",
                "Leave one of them out.",
            )


def _check_size(lengths: list[int]) -> None:
    cells = math.prod(lengths)
    if cells > _MOST_CELLS:
        raise ConfigError(
            f"a grid may have {_MOST_CELLS:,} cells at most",
            f"{' x '.join(f'{length:,}' for length in lengths)} = {cells:,}",
            "Vary less, or sweep in parts: what several grids share is run once.",
        )


def _seeds(given: Any) -> Sequence[int]:
    if type(given) is int and 1 <= given <= _MOST_CELLS:
        return range(given)
    if isinstance(given, list) and all(type(seed) is int for seed in given):
        return given
    raise ConfigError(
        f"seeds must be a count from 1 to {_MOST_CELLS:,} or a list of whole numbers",
        repr(given),
        "Write 'seeds: 5' or 'seeds: [0, 7]'.",
    )
