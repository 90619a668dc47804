"""Tests of a feature: it does not look ahead, and the level of prices says nothing.

Looking ahead shows when everything after t changes and something up to t changes with it.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.market.bars import PRICE_NAMES, Bars
from trading_rlhf.market.features import Feature, compute_feature
from trading_rlhf.types import FloatArray

__all__ = ["check_causal", "check_feature", "check_scale_invariant", "perturb_after"]

_TOLERANCE = 1e-4


def perturb_after(bars: Bars, t: int, generator: np.random.Generator) -> Bars:
    """Return bars that are equal up to t and differ in every array after it.

    Prices, volumes, dividends and splits change and some bars go missing. The product of the splits
    stays, since another product would mean other volumes before t.

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
    if n_bars - t > 2:
        for column in range(n_assets):
            one, other = generator.choice(np.arange(t + 1, n_bars), 2, replace=False)
            split[one, column] *= 2.0
            split[other, column] *= 0.5
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

    Args:
        feature: the feature, registered or not.
        bars: bars with every column the feature needs, longer than its lookback.
        generator: draws the bars t and what happens after them.
        cuts: how many bars t are tried.

    Raises:
        LookAheadError: a value changed; the message names the first one.
        DataError: the bars are too short to tell.
    """
    n_bars = len(bars.dates)
    if n_bars < feature.lookback + 2:
        raise DataError(
            f"checking {feature.name} takes {feature.lookback + 2} bars", str(n_bars), "Use more."
        )
    before = compute_feature(feature, bars)
    for t in generator.integers(feature.lookback, n_bars - 1, size=cuts):
        perturbed = perturb_after(bars, int(t), generator)
        after = compute_feature(feature, perturbed)
        old, new = before[: t + 1], after[: t + 1]
        changed = (old.view(np.int64) != new.view(np.int64)) & ~(np.isnan(old) & np.isnan(new))
        if changed.any():
            row, column = (int(i) for i in np.argwhere(changed)[0])
            raise LookAheadError(
                f"feature {feature.name} must depend on no later bar",
                f"bar {row} of {bars.symbols[column]} changed with the bars after {int(t)}",
                "Use only bars up to the one it is computed for.",
            )


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
