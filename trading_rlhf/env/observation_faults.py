"""Faults of what is seen: late, noisy, missing, stuck, padded or short; money stays true.

What is seen at t is made of bars up to t only, before and after a fault.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from trading_rlhf.env.challenge_setup import Challenge, Setup
from trading_rlhf.market import Bars
from trading_rlhf.types import BoolArray, FloatArray

__all__ = [
    "DroppedBars",
    "IrrelevantFeatures",
    "LimitedHistory",
    "ObservationDelay",
    "ObservationNoise",
    "StuckBars",
]

_SEEN = ("open", "high", "low", "close", "raw_close", "volume")
_HALF_LIFE = 20


@dataclass(frozen=True)
class ObservationDelay(Challenge):
    """Features arrive late.

    Attributes:
        bars: how many bars late.
    """

    bars: int
    name: ClassVar[str] = "observation_delay"
    label: ClassVar[str] = "data arrives late"

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Show at each test bar the features of an earlier one."""
        del generator
        rows = np.arange(setup.bars.shape[0])
        late = rows >= setup.test_bars.start
        source = np.where(late, np.maximum(rows - self.bars, 0), rows)
        return setup.seeing(setup.market.features.cpu().numpy()[source])

    def describe(self) -> str:
        """Say how late."""
        return f"{self.bars} bar{'s' if self.bars > 1 else ''} late"


@dataclass(frozen=True)
class ObservationNoise(Challenge):
    """Prices arrive with errors.

    Attributes:
        deviation: standard deviation of the error (multiples of the asset's volatility per bar).
    """

    deviation: float
    name: ClassVar[str] = "observation_noise"
    label: ClassVar[str] = "noisy prices"
    random: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Multiply each test bar's prices by one error per asset and compute features of that."""
        errors = generator.standard_normal(setup.bars.shape)
        errors *= self.deviation * _volatility(setup.bars)
        errors[: setup.test_bars.start] = 0.0
        factor = np.exp(errors)
        prices = [name for name in _SEEN if name != "volume"]
        seen = _changed(setup.bars, prices, lambda values: values * factor, setup.bars.tradable)
        return setup.seeing_bars(seen)

    def describe(self) -> str:
        """Say how large the errors are."""
        return f"off by {self.deviation:g} daily sd"


@dataclass(frozen=True)
class DroppedBars(Challenge):
    """Bars do not arrive; no order fills in them, while prices and money move on.

    Attributes:
        chance: that a gap begins at a bar of an asset.
        length: bars of each gap.
    """

    chance: float
    length: int
    name: ClassVar[str] = "dropped_bars"
    label: ClassVar[str] = "missing bars"
    random: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Hide bars as a feed with gaps does."""
        gone = _spans(setup, generator, self.chance, self.length)
        seen = _changed(
            setup.bars,
            _SEEN,
            lambda values: np.where(gone, np.nan, values),
            setup.bars.tradable & ~gone,
        )
        return setup.seeing_bars(seen, gone)

    def describe(self) -> str:
        """Say how often and how long."""
        return _often(self.chance, self.length)


@dataclass(frozen=True)
class StuckBars(Challenge):
    """The last bar is repeated as if it were new; no order fills, while prices move on.

    Attributes:
        chance: that a feed sticks at a bar of an asset.
        length: bars for which it sticks.
    """

    chance: float
    length: int
    name: ClassVar[str] = "stuck_bars"
    label: ClassVar[str] = "stuck prices"
    random: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Repeat the last fresh bar while a feed sticks."""
        stuck = _spans(setup, generator, self.chance, self.length)
        rows = np.where(stuck, 0, np.arange(len(stuck))[:, None])
        source = np.maximum.accumulate(rows, axis=0)
        seen = _changed(
            setup.bars,
            _SEEN,
            lambda values: np.take_along_axis(values, source, axis=0),
            np.take_along_axis(setup.bars.tradable, source, axis=0),
        )
        return setup.seeing_bars(seen, stuck)

    def describe(self) -> str:
        """Say how often and how long."""
        return _often(self.chance, self.length)


@dataclass(frozen=True)
class IrrelevantFeatures(Challenge):
    """Features that say nothing stand among those that do, in training and after it.

    Attributes:
        count: how many.
    """

    count: int
    name: ClassVar[str] = "irrelevant_features"
    label: ClassVar[str] = "irrelevant features"
    random: ClassVar[bool] = True
    retrains: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Append white noise with mean 0 and standard deviation 1."""
        noise = generator.standard_normal((*setup.bars.shape, self.count)).astype(np.float32)
        return setup.seeing(np.concatenate([setup.market.features.cpu().numpy(), noise], axis=2))

    def describe(self) -> str:
        """Say how many."""
        return f"{self.count} more inputs"


@dataclass(frozen=True)
class LimitedHistory(Challenge):
    """Less history to learn from: only the latest part of it.

    Attributes:
        share: of the training bars that is left.
        at_least: bars that are left in any case, as far as there are so many.
    """

    share: float
    at_least: int = 60
    name: ClassVar[str] = "limited_history"
    label: ClassVar[str] = "limited history"
    retrains: ClassVar[bool] = True

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Drop the older training bars."""
        del generator
        bars = setup.train_bars
        left = min(max(round(len(bars) * self.share), self.at_least), len(bars))
        return replace(setup, train_bars=bars[len(bars) - left :])

    def describe(self) -> str:
        """Say how much is left."""
        return f"latest {100 * self.share:g}%"


def _spans(setup: Setup, generator: np.random.Generator, chance: float, length: int) -> BoolArray:
    """``[T, N]`` bars within spans that begin anywhere among the test bars."""
    begins = generator.random(setup.bars.shape) < chance
    begins[: setup.test_bars.start] = False
    inside = begins.copy()
    for later in range(1, length):
        inside[later:] |= begins[:-later]
    return inside


def _changed(
    bars: Bars,
    names: Sequence[str],
    change: Callable[[FloatArray], FloatArray],
    tradable: BoolArray,
) -> Bars:
    """Bars with some columns changed, as far as there are such columns."""
    columns: dict[str, Any] = {
        name: change(array) for name in names if (array := getattr(bars, name)) is not None
    }
    return replace(bars, **columns, tradable=tradable)


def _volatility(bars: Bars) -> FloatArray:
    """``[T, N]`` standard deviation of log returns up to each bar; 0 where unknown."""
    close = pd.DataFrame(np.where(bars.tradable, bars.close, np.nan)).ffill()
    moves = np.diff(np.log(close.to_numpy()), axis=0, prepend=np.nan)
    weighted = pd.DataFrame(moves).ewm(halflife=_HALF_LIFE).std()
    return np.asarray(np.nan_to_num(weighted.to_numpy()))


def _often(chance: float, length: int) -> str:
    return f"{100 * chance:g}% of bars, for {length}"
