"""Tests of a feature: it does not look ahead, and the level of prices says nothing.

Looking ahead shows when everything after t changes, or is left out, and something up to t changes
with it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.market.bars import ARRAY_NAMES, PRICE_NAMES, Bars
from trading_rlhf.market.features import Feature, compute_feature
from trading_rlhf.types import FloatArray

__all__ = ["check_causal", "check_feature", "check_scale_invariant", "perturb_after"]

_TOLERANCE = 1e-4
_EVERY_BAR = 150
_EVENTS = 8


def perturb_after(bars: Bars, t: int, generator: np.random.Generator) -> Bars:
    """Return bars that are equal up to t and differ in every array after it.

    Prices, volumes, dividends and splits change and some bars go missing. The product of the splits
    stays, since another product would mean other volumes before t: of each two bars one has twice
    its split and the other half of it.

    Raises:
        DataError: t is not within the bars.
    """
    n_bars, n_assets = bars.shape
    if not 0 <= t < n_bars:
        raise DataError(f"t must lie in 0..{n_bars - 1}", str(t), "Choose a bar of these bars.")
    after = (np.arange(n_bars) > t)[:, None]
    factor = np.where(after, generator.uniform(0.5, 2.0, bars.shape), 1.0)
    gone = after & (generator.random(bars.shape) < 0.05)
    changes: dict[str, Any] = {
        name: np.where(gone, np.nan, array * factor)
        for name in (*PRICE_NAMES, "raw_close", "volume")
        if (array := getattr(bars, name)) is not None
    }
    split = np.array(bars.split)
    pairs = (n_bars - 1 - t) // 2
    first = np.where(generator.random((pairs, n_assets)) < 0.5, 2.0, 0.5)
    split[t + 1 : t + 1 + 2 * pairs : 2] *= first
    split[t + 2 : t + 2 + 2 * pairs : 2] /= first
    more = generator.uniform(0.1, 0.5, bars.shape)
    return replace(
        bars,
        **changes,
        split=split,
        dividend=np.where(after, bars.dividend + more, bars.dividend),
        tradable=bars.tradable & ~gone,
    )


def check_causal(
    feature: Feature, bars: Bars, generator: np.random.Generator, cuts: int = 8
) -> None:
    """Check that a feature is bit for bit the same up to t whatever happens after t.

    The bars after t change, and are left out where as many remain as the lookback asks for. On
    short bars t is every bar from the lookback on and every bar or some before it; on long ones it
    is the first bars and the last, some before splits, dividends and gaps and some at random, and
    then all of a short stretch.

    Args:
        feature: the feature, registered or not.
        bars: bars with every column the feature needs, longer than its lookback.
        generator: draws the bars t and what happens after them.
        cuts: how many bars t of long bars are drawn at random.

    Raises:
        LookAheadError: a value changed; the message names the first one.
        DataError: the bars are too short to tell, or two calls give different values.
    """
    n_bars, lookback = len(bars.dates), feature.lookback
    if n_bars < lookback + 2:
        raise DataError(
            f"checking {feature.name} takes {lookback + 2} bars", str(n_bars), "Use more."
        )
    length = lookback + _EVERY_BAR
    if n_bars <= length + 1:
        _check_cuts(feature, bars, _all_cuts(lookback, n_bars), generator)
        return
    drawn = generator.integers(lookback, n_bars - 1, size=cuts)
    events = _eventful(bars) - 1
    events = events[(events >= lookback) & (events < n_bars - 1)]
    chosen = generator.permutation(events)[:_EVENTS]
    _check_cuts(feature, bars, [0, lookback, n_bars - 2, *chosen, *drawn], generator)
    middle = int(events[0]) if events.size else int(drawn[0])
    start = min(max(0, middle - lookback - _EVERY_BAR // 2), n_bars - length)
    stretch = _rows(bars, start, start + length)
    _check_cuts(feature, stretch, _all_cuts(lookback, length), generator)


def _all_cuts(lookback: int, n_bars: int) -> list[int]:
    before = range(0, lookback, 1 + lookback // _EVERY_BAR)
    return [*before, *range(lookback, n_bars - 1)]


def _check_cuts(
    feature: Feature, bars: Bars, cuts: Iterable[int], generator: np.random.Generator
) -> None:
    before = compute_feature(feature, bars)
    if _first_change(before, compute_feature(feature, bars)) is not None:
        raise DataError(
            f"feature {feature.name} must be the same for the same bars",
            "other values at a second call",
            "Use nothing but the bars.",
        )
    for t in map(int, cuts):
        others = [perturb_after(bars, t, generator)]
        if t >= feature.lookback:
            others.append(_rows(bars, 0, t + 1))
        for other in others:
            cell = _first_change(before[: t + 1], compute_feature(feature, other)[: t + 1])
            if cell is not None:
                raise LookAheadError(
                    f"feature {feature.name} must depend on no later bar",
                    f"bar {cell[0]} of {bars.symbols[cell[1]]} changed with the bars after {t}",
                    "Use only bars up to the one it is computed for.",
                )


def _first_change(old: FloatArray, new: FloatArray) -> tuple[int, int] | None:
    """Return row and column of the first number that is not the same bit for bit."""
    changed = (old.view(np.int64) != new.view(np.int64)) & ~(np.isnan(old) & np.isnan(new))
    if not changed.any():
        return None
    row, column = np.argwhere(changed)[0]
    return int(row), int(column)


def _eventful(bars: Bars) -> npt.NDArray[np.intp]:
    """Return the rows with a split or dividend, or where a bar goes missing or comes back."""
    events = (bars.split != 1.0) | (bars.dividend > 0.0)
    events[1:] |= bars.tradable[1:] != bars.tradable[:-1]
    return np.flatnonzero(events.any(axis=1))


def _rows(bars: Bars, start: int, stop: int) -> Bars:
    """Return some bars as they stand; ``window`` would restate volume and so change its bits."""
    arrays: dict[str, Any] = {
        name: None if (array := getattr(bars, name)) is None else array[start:stop]
        for name in ARRAY_NAMES
    }
    return Bars(bars.dates[start:stop], bars.symbols, **arrays)


def check_scale_invariant(feature: Feature, bars: Bars, generator: np.random.Generator) -> None:
    """Check that prices * k with volume / k leave a feature as it is, k being each asset's own.

    Adjusted prices carry a factor that depends on later splits and dividends, so a feature of their
    level would tell of these.

    Args:
        feature: the feature, registered or not.
        bars: bars with every array the feature needs.
        generator: draws k between 1/8 and 8.

    Raises:
        DataError: a value changed; the message names the first one.
    """
    k = np.exp(generator.uniform(-np.log(8.0), np.log(8.0), size=bars.shape[1]))
    scaled: dict[str, FloatArray | None] = {
        name: None if (array := getattr(bars, name)) is None else array * k
        for name in (*PRICE_NAMES, "raw_close", "dividend")
    }
    volume = None if bars.volume is None else bars.volume / k
    before = compute_feature(feature, bars)
    after = compute_feature(feature, replace(bars, **scaled, volume=volume))  # type: ignore[arg-type]
    same = np.isclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
    if not same.all():
        row, column = (int(i) for i in np.argwhere(~same)[0])
        raise DataError(
            f"feature {feature.name} must not depend on the level of prices",
            f"{after[row, column]:g} instead of {before[row, column]:g} at bar {row} of "
            f"{bars.symbols[column]} with prices times {k[column]:.3g} and volume divided by it",
            "Use returns or ratios.",
        )


def check_feature(feature: Feature, bars: Bars, generator: np.random.Generator) -> None:
    """Check all that a feature must hold: it neither looks ahead nor depends on price levels.

    Args:
        feature: the feature, registered or not.
        bars: bars with every array the feature needs, longer than its lookback.
        generator: draws what is changed.

    Raises:
        LookAheadError: a value depends on a later bar.
        DataError: a value depends on the level of prices, or the feature cannot be computed.
    """
    check_causal(feature, bars, generator)
    check_scale_invariant(feature, bars, generator)
