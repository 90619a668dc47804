"""A user's own features, from a Python file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from trading_rlhf.errors import DataError, TradingRlhfError
from trading_rlhf.market.causality import check_feature
from trading_rlhf.market.features import (
    Feature,
    FeatureRegistry,
    default_registry,
    error_words,
)
from trading_rlhf.market.synthetic import gbm_market

__all__ = ["load_feature_file", "registry_with"]

_BARS_BEYOND_LOOKBACK = 120


def load_feature_file(path: str | Path, registry: FeatureRegistry) -> tuple[Feature, ...]:
    """Run a Python file and let its ``register(registry)`` add features.

    The file is code and runs with the rights of whoever names it. It looks like this::

        from trading_rlhf.market import Feature

        def register(registry):
            registry.register(
                Feature("gap", 0, "day's move", "close / open - 1", lambda b: b.close / b.open - 1)
            )

    Returns:
        The features that it added, not yet checked.

    Raises:
        DataError: the file is missing, cannot be run, has no ``register``, adds nothing, changes
            other features, or takes a taken name; one sentence each.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "a file of features must be readable",
            f"{path}: {getattr(error, 'strerror', None) or error}",
            "Check the path.",
        ) from None
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102
        register = getattr(module, "register", None)
        if not callable(register):
            raise DataError(
                "it must define register(registry)", "no such function", "Write one that adds them."
            )
        added = _added(register, registry)
        for feature in added:
            registry.register(feature)
        return added
    except TradingRlhfError as error:
        raise DataError(f"{path.name}: {error.must}", error.got, error.remedy) from None
    except KeyboardInterrupt:
        raise
    # Not only Exception: a file that calls sys.exit(0) must not look like success.
    except BaseException as error:
        words = error_words(error)
        if isinstance(error, SyntaxError):
            words = f"{type(error).__name__} in line {error.lineno}: {error.msg}"
        raise DataError(
            f"{path.name} must run without an error", words, "Correct the file."
        ) from error


def _added(
    register: Callable[[FeatureRegistry], object], registry: FeatureRegistry
) -> tuple[Feature, ...]:
    """Call a user's function with a copy of the registry and return what it added."""
    before = {name: registry.get(name) for name in registry.names()}
    copy = FeatureRegistry(before.values())
    register(copy)
    after = {name: copy.get(name) for name in copy.names()}
    changed = [name for name, feature in before.items() if after.get(name) is not feature]
    if changed:
        raise DataError(
            "register must leave other features as they are", changed[0], "Choose another name."
        )
    added = tuple(feature for name, feature in after.items() if name not in before)
    if not added:
        raise DataError(
            "register must add a feature", "none", "Call registry.register(Feature(...))."
        )
    return added


def registry_with(files: Sequence[str | Path]) -> FeatureRegistry:
    """Return a new registry with the features of this package and of a user's files.

    Each of the user's features is checked on a simulated market, which is the same every time.

    Raises:
        DataError: a file cannot be used, or a feature depends on the level of prices.
        LookAheadError: a feature depends on a later bar.
    """
    registry = default_registry()
    for path in files:
        for feature in load_feature_file(path, registry):
            generator = np.random.default_rng(0)
            bars = gbm_market(generator, feature.lookback + _BARS_BEYOND_LOOKBACK, n_assets=3)
            check_feature(feature, bars, generator)
    return registry
