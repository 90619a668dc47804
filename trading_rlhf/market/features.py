"""Causal features: what the policy sees of each asset at the close of each bar.

A feature at bar t depends on bars up to t only; ``causality.check_causal`` tests that. A missing
bar counts as an unchanged price. r is the log return from close to close.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trading_rlhf.errors import DataError, TradingRlhfError
from trading_rlhf.market.bars import ARRAY_NAMES, Bars
from trading_rlhf.market.gaps import carry_forward
from trading_rlhf.types import FloatArray

__all__ = [
    "Feature",
    "FeatureRegistry",
    "compute_feature",
    "compute_features",
    "default_registry",
    "error_words",
    "warmup",
    "DEFAULT_FEATURES",
    "OHLCV_FEATURES",
]

DEFAULT_FEATURES: Final = ("trend_60", "reversal_5", "volatility_20", "trend_120", "return_1")
OHLCV_FEATURES: Final = (*DEFAULT_FEATURES, "volume_20", "range_20")

_LIMIT = 3.0
_FLOOR = 1e-4
_TYPICAL_VOLATILITY = 0.015
_SPREAD_OF_LOG_VOLATILITY = 0.45
_CELLS_IN_CACHE = 32_768
_NAME = re.compile(r"\w[\w.+-]*")
_LONGEST_LOOKBACK = 20_000


@dataclass(frozen=True)
class Feature:
    """One causal number per bar and asset.

    Attributes:
        name: key in the registry ("trend_60").
        lookback: bars before t that it needs; it can be computed from bar index ``lookback`` on.
        label: plain words ("60-day trend").
        formula: how it is computed, for the reader.
        compute: bars to ``[T, N]``, NaN where it cannot be computed yet.
        needs: arrays of the bars, beside the close, without which it cannot be computed.
    """

    name: str
    lookback: int
    label: str
    formula: str
    compute: Callable[[Bars], FloatArray]
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what a user wrote.

        Raises:
            DataError: a field is not what it must be.
        """
        whole = isinstance(self.lookback, int) and not isinstance(self.lookback, bool)
        needs = isinstance(self.needs, tuple | list) and all(n in ARRAY_NAMES for n in self.needs)
        for holds, must, got in (
            (_is_line(self.name) and _NAME.fullmatch(self.name), "name must be a word", self.name),
            (
                whole and 0 <= self.lookback <= _LONGEST_LOOKBACK,
                f"lookback must be zero or more whole bars, {_LONGEST_LOOKBACK} at most",
                self.lookback,
            ),
            (_is_line(self.label), "label must be a line of text", self.label),
            (_is_line(self.formula), "formula must be a line of text", self.formula),
            (callable(self.compute), "compute must be a function of bars", self.compute),
            (needs, f"needs must be a tuple of some of {', '.join(ARRAY_NAMES)}", self.needs),
        ):
            if not holds:
                raise DataError(f"a feature's {must}", repr(got)[:80], "Correct it.")

    def lacks(self, bars: Bars) -> tuple[str, ...]:
        """Return which of the needed arrays these bars do not have."""
        return tuple(name for name in self.needs if getattr(bars, name) is None)


class FeatureRegistry:
    """Features by name."""

    def __init__(self, features: Iterable[Feature] = ()) -> None:
        self._features: dict[str, Feature] = {}
        for feature in features:
            self.register(feature)

    def register(self, feature: object) -> None:
        """Add a feature.

        Raises:
            DataError: it is no feature, or the name is taken.
        """
        if not isinstance(feature, Feature):
            kind = type(feature).__name__
            raise DataError("only a Feature can be registered", kind, "Write Feature(...).")
        if feature.name in self._features:
            raise DataError("a feature's name must be new", feature.name, "Choose another name.")
        self._features[feature.name] = feature

    def get(self, name: str) -> Feature:
        """Return the feature of that name.

        Raises:
            DataError: there is none.
        """
        if name not in self._features:
            known = ", ".join(self._features)
            raise DataError(f"a feature must be one of {known}", name, "Choose one of them.")
        return self._features[name]

    def names(self) -> tuple[str, ...]:
        """Return all names in order of registration."""
        return tuple(self._features)


def default_registry() -> FeatureRegistry:
    """Return a new registry with the features of this module."""
    return FeatureRegistry(
        [
            _trend(60, scale=60),
            Feature(
                "reversal_5",
                20,
                "5-day move",
                "sum of the last 5 r / (sd20 * sqrt(5))",
                lambda bars: _clip(_move(bars, 5, scale=20)),
            ),
            Feature(
                "volatility_20",
                20,
                "20-day volatility",
                f"log(sd20 / {_TYPICAL_VOLATILITY}) / {_SPREAD_OF_LOG_VOLATILITY}",
                lambda bars: _clip(
                    np.log(_volatility(_returns(bars), 20) / _TYPICAL_VOLATILITY)
                    / _SPREAD_OF_LOG_VOLATILITY
                ),
            ),
            _trend(120, scale=60),
            Feature(
                "return_1",
                20,
                "last day's return",
                "r / sd20",
                lambda bars: _clip(_move(bars, 1, scale=20)),
            ),
            Feature(
                "volume_20",
                19,
                "volume against 20 days",
                "(log volume - mean of 20) / sd of 20",
                _volume_20,
                needs=("volume",),
            ),
            Feature(
                "range_20",
                19,
                "place in the 20-day range",
                "2 * (close - low20) / (high20 - low20) - 1",
                _range_20,
                needs=("high", "low"),
            ),
        ]
    )


def compute_features(
    bars: Bars, names: Sequence[str] = DEFAULT_FEATURES, registry: FeatureRegistry | None = None
) -> npt.NDArray[np.float32]:
    """Compute features for every bar and asset.

    Args:
        bars: T bars of N assets.
        names: F names in the registry, in the order of the last axis.
        registry: where the names are looked up; the default registry if None.

    Returns:
        ``[T, N, F]``, 0 where a feature cannot be computed yet or the asset is not tradable.

    Raises:
        DataError: an unknown name, bars without a needed column, or a feature that fails or returns
            another shape or an infinite value.
    """
    registry = registry or default_registry()
    result = np.zeros((*bars.shape, len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        values = compute_feature(registry.get(name), bars)
        result[:, :, i] = np.where(np.isfinite(values) & bars.tradable, values, 0.0)
    return result


def compute_feature(feature: Feature, bars: Bars) -> FloatArray:
    """Compute one feature, whose function may be a user's and wrong.

    Returns:
        ``[T, N]``, NaN where it cannot be computed yet.

    Raises:
        DataError: the bars lack an array it needs, or the function fails or returns another shape,
            an infinite value or no numbers.
    """
    if lacks := feature.lacks(bars):
        must = f"feature {feature.name} needs {' and '.join(lacks)}"
        raise DataError(must, "bars without", "Leave it out.")
    try:
        returned = np.asarray(feature.compute(bars))
        if np.iscomplexobj(returned):
            raise TypeError("complex numbers")
        values = np.asarray(returned, dtype=np.float64)
    except (TradingRlhfError, KeyboardInterrupt):
        raise
    # Not only Exception: a function that calls sys.exit(0) must not look like success.
    except BaseException as error:
        raise DataError(
            f"feature {feature.name} must return numbers for these bars",
            error_words(error),
            "Correct its compute function.",
        ) from error
    if values.shape != bars.shape or np.isinf(values).any():
        got = "an infinite value" if values.shape == bars.shape else f"shape {values.shape}"
        raise DataError(
            f"feature {feature.name} must return finite or missing numbers of shape {bars.shape}",
            got,
            "Correct its compute function.",
        )
    return values


def error_words(error: BaseException) -> str:
    """Say in one line what a user's code raised."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def warmup(names: Sequence[str], registry: FeatureRegistry | None = None) -> int:
    """Return the index of the first bar at which all these features can be computed."""
    registry = registry or default_registry()
    return max((registry.get(name).lookback for name in names), default=0)


def _is_line(text: object) -> bool:
    return isinstance(text, str) and text.strip() != "" and text.isprintable()


def _trend(days: int, scale: int) -> Feature:
    return Feature(
        f"trend_{days}",
        days,
        f"{days}-day trend",
        f"sum of the last {days} r / (sd{scale} * sqrt({days}))",
        lambda bars: _clip(_move(bars, days, scale)),
    )


def _move(bars: Bars, days: int, scale: int) -> FloatArray:
    """Return the move over some days in standard deviations of such moves."""
    r = _returns(bars)
    moved: FloatArray = _rolling(np.add, r, days) / (_volatility(r, scale) * days**0.5)
    return moved


def _volume_20(bars: Bars) -> FloatArray:
    assert bars.volume is not None  # noqa: S101 - stated in needs
    # A bar without trade repeats the volume before it, so that no unit of volume is special.
    log_volume = np.log(carry_forward(np.where(bars.volume > 0.0, bars.volume, np.nan)))
    mean = _rolling(np.add, log_volume, 20) / 20
    variance = _rolling(np.add, log_volume**2, 20) / 20 - mean**2
    return _clip((log_volume - mean) / (np.sqrt(np.maximum(variance, 0.0)) + _FLOOR))


def _range_20(bars: Bars) -> FloatArray:
    assert bars.high is not None and bars.low is not None  # noqa: S101, PT018 - stated in needs
    close = carry_forward(bars.close)
    highest = _rolling(np.maximum, np.where(np.isnan(bars.high), close, bars.high), 20)
    lowest = _rolling(np.minimum, np.where(np.isnan(bars.low), close, bars.low), 20)
    width = highest - lowest
    place = 2.0 * (close - lowest) / np.where(width > 0.0, width, 1.0) - 1.0
    return np.where(width == 0.0, 0.0, np.clip(place, -1.0, 1.0))


def _returns(bars: Bars) -> FloatArray:
    """Return ``[T, N]`` log returns, NaN at the first bar of each asset."""
    return np.diff(np.log(carry_forward(bars.close)), axis=0, prepend=np.nan)


def _volatility(r: FloatArray, days: int) -> FloatArray:
    """Return the root mean square of returns, with a floor for prices that do not move."""
    return np.sqrt(_rolling(np.add, r**2, days) / days) + _FLOOR


def _rolling(combine: np.ufunc, values: FloatArray, days: int) -> FloatArray:
    """Combine each bar with the ``days - 1`` before it, always in the same order.

    A running total would carry rounding from bar to bar, so that a value would depend on where the
    data begins. The rows are done in blocks that stay in the processor's cache.
    """
    result = np.full_like(values, np.nan)
    rows = max(1, _CELLS_IN_CACHE // values.shape[1])
    for first in range(0, len(values) - days + 1, rows):
        total = result[first + days - 1 : first + days - 1 + rows]
        total[:] = values[first : first + len(total)]
        for k in range(first + 1, first + days):
            combine(total, values[k : k + len(total)], out=total)
    return result


def _clip(values: FloatArray) -> FloatArray:
    return np.clip(values, -_LIMIT, _LIMIT)
