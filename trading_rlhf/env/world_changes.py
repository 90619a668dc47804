"""Changes of the world itself: slower review, dearer trading, another regime."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from trading_rlhf.env.challenge_setup import Challenge, Setup
from trading_rlhf.market import Bars
from trading_rlhf.market.bars import PRICE_NAMES
from trading_rlhf.types import BoolArray, FloatArray

__all__ = ["DriftingCosts", "RegimeShift", "ReviewDelay"]


@dataclass(frozen=True)
class ReviewDelay(Challenge):
    """The desk takes its time, so that orders fill later.

    Attributes:
        bars: a review lasts.
    """

    bars: int
    name: ClassVar[str] = "action_delay"
    label: ClassVar[str] = "slow review"

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Set the gate's delay."""
        del generator
        patience = max(setup.gate.expiry, self.bars)
        gate = setup.gate.model_copy(update={"delay": self.bars, "expiry": patience})
        return replace(setup, gate=gate)

    def describe(self) -> str:
        """Say how long."""
        return f"{self.bars} bar{'s' if self.bars > 1 else ''} of review"


@dataclass(frozen=True)
class DriftingCosts(Challenge):
    """Trading becomes dearer from bar to bar.

    Attributes:
        factor: what trading costs are multiplied by at the last test bar.
    """

    factor: float
    name: ClassVar[str] = "drifting_costs"
    label: ClassVar[str] = "rising costs"

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Scale trading costs, growing by the same share each test bar."""
        del generator
        market, test = setup.market, setup.test_bars
        grown = np.ones(market.shape[0])
        grown[test.start :] = self.factor ** np.linspace(0.0, 1.0, market.shape[0] - test.start)
        scale = torch.as_tensor(grown, dtype=market.days.dtype, device=market.days.device)
        if market.cost_scale is not None:
            scale = scale * market.cost_scale
        return replace(setup, market=replace(market, cost_scale=scale))

    def describe(self) -> str:
        """Say how dear."""
        return f"up to {self.factor:g} times"


@dataclass(frozen=True)
class RegimeShift(Challenge):
    """From a third of the test bars on, the market moves in another way.

    A log return r with the mean m of the bars before becomes ``drift * m + volatility * d``, where
    d is the deviation r - m with ``persistence`` of the deviation before added to it, scaled back
    to the same variance.

    Attributes:
        volatility: multiple of the deviation from the mean.
        drift: multiple of the mean.
        persistence: share of a bar's deviation that carries over to the next.
    """

    volatility: float
    drift: float
    persistence: float
    name: ClassVar[str] = "regime_shift"
    label: ClassVar[str] = "another regime"

    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Change prices, what is seen of them and what they earn."""
        del generator
        start = setup.test_bars.start + len(setup.test_bars) // 3
        return setup.on_bars(self._shifted(setup.bars, start))

    def describe(self) -> str:
        """Say what becomes of volatility, drift and persistence."""
        return (
            f"volatility x{self.volatility:g}, drift x{self.drift:g}, carry {self.persistence:+g}"
        )

    def _shifted(self, bars: Bars, start: int) -> Bars:
        close = pd.DataFrame(np.where(bars.tradable, bars.close, np.nan)).ffill().to_numpy()
        previous = np.vstack([np.full((1, bars.shape[1]), np.nan), close[:-1]])
        moves = np.log(close / previous)
        # A missing bar moves nothing, and a first bar has nothing to move from.
        moving = bars.tradable & np.isfinite(moves)
        moving[:start] = False
        moves = np.nan_to_num(moves)
        new = self._moves(moves, moving, start)
        total = np.cumsum(new - moves, axis=0)
        offset = np.vstack([np.zeros((1, bars.shape[1])), total[:-1]])
        shift = new - self.volatility * moves

        def moved(prices: FloatArray) -> FloatArray:
            # Every price of a bar moves alike, so that the high stays above the low.
            inside = np.log(prices / previous)
            there = previous * np.exp(offset + self.volatility * inside + shift)
            return np.asarray(np.where(moving, there, prices * np.exp(offset)))

        columns: dict[str, Any] = {
            name: moved(array) for name in PRICE_NAMES if (array := getattr(bars, name)) is not None
        }
        return replace(bars, **columns, raw_close=bars.raw_close * np.exp(total))

    def _moves(self, moves: FloatArray, moving: BoolArray, start: int) -> FloatArray:
        """Log returns ``[T, N]`` of the new regime where ``moving``, else the old ones."""
        mean = moves[:start].mean(axis=0)
        fresh = np.sqrt(1.0 - self.persistence**2)
        deviation = np.zeros(moves.shape[1])
        new = moves.copy()
        for t in range(start, len(moves)):
            carried = self.persistence * deviation + fresh * (moves[t] - mean)
            deviation = np.where(moving[t], carried, deviation)
            moved = self.drift * mean + self.volatility * deviation
            new[t] = np.where(moving[t], moved, moves[t])
        return new
