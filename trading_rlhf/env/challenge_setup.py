"""What a challenge changes: a market as it is, as it is seen, and what is asked of a policy there.

The challenges are those of Dulac-Arnold, Mankowitz and Hester (2019), "Challenges of real-world
reinforcement learning", arXiv 1904.12901.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.dynamics import Ledger, MarketTensors
from trading_rlhf.env.gate import GateConfig
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig
from trading_rlhf.errors import DataError
from trading_rlhf.market import Bars

__all__ = ["Challenge", "Compute", "Setup", "cut_market", "join_markets", "make_setup"]

Compute: TypeAlias = Callable[[Bars], npt.NDArray[np.float32]]
"""Bars to features ``[T, N, F]``, each known at the close of its bar."""


@dataclass(frozen=True, eq=False)
class Setup:
    """A market and a task on it.

    Attributes:
        bars: prices as they are.
        compute: how features are made from bars.
        market: prices that move money, with the features that are seen.
        costs: cost model.
        gate: the desk's rules.
        train_bars: bars a policy may learn from.
        test_bars: bars it is judged on; nothing is disturbed before them.
        objective: what is scored.
        limits: what is watched, or None.
    """

    bars: Bars
    compute: Compute
    market: MarketTensors
    costs: CostModel
    gate: GateConfig
    train_bars: range
    test_bars: range
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    limits: ConstraintConfig | None = None

    def on_bars(self, bars: Bars) -> "Setup":
        """Return the setup on other bars, which both move money and are seen."""
        old = self.market
        device, dtype = str(old.overnight.device), old.overnight.dtype
        ledger: Ledger = "adjusted" if old.dividends is None else "raw"
        market = MarketTensors.for_costs(
            bars, self.compute(bars), self.costs, device, dtype, ledger=ledger
        )
        return replace(self, bars=bars, market=replace(market, cost_scale=old.cost_scale))

    def seeing(self, features: npt.NDArray[np.float32]) -> "Setup":
        """Return the setup with other features ``[T, N, F]`` in sight; money does not change."""
        seen = torch.tensor(features, dtype=torch.float32, device=self.market.features.device)
        return replace(self, market=replace(self.market, features=seen))

    def seeing_bars(self, bars: Bars, blocked: npt.NDArray[np.bool_] | None = None) -> "Setup":
        """Return the setup with features of other bars in sight; money does not change.

        Args:
            bars: what arrives.
            blocked: ``[T, N]`` bars at which no order can fill; None blocks nothing.
        """
        seen = self.seeing(self.compute(bars))
        if blocked is None:
            return seen
        open_ = torch.as_tensor(~blocked, device=self.market.fillable.device)
        return replace(seen, market=replace(seen.market, fillable=seen.market.fillable & open_))


class Challenge(ABC):
    """A difficulty of the real world, at one level; a pure change of a ``Setup``.

    Attributes:
        name: key in ``CHALLENGES``.
        label: plain words.
        random: whether two draws differ.
        retrains: whether a policy has to learn anew, because its inputs or lessons change.
        changes_task: whether the market stays and the yardstick changes.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    random: ClassVar[bool] = False
    retrains: ClassVar[bool] = False
    changes_task: ClassVar[bool] = False

    @abstractmethod
    def apply(self, setup: Setup, generator: np.random.Generator) -> Setup:
        """Return the setup under this challenge.

        Args:
            setup: the undisturbed setup, left as it is.
            generator: the only source of randomness.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say what happens at this level, in a few words."""


def make_setup(
    bars: Bars,
    compute: Compute,
    costs: CostModel,
    gate: GateConfig,
    train_bars: range,
    test_bars: range,
    market: MarketTensors | None = None,
) -> Setup:
    """Build an undisturbed setup.

    Args:
        bars: prices.
        compute: how features are made from bars.
        costs: cost model.
        gate: the desk's rules.
        train_bars: bars to learn from.
        test_bars: bars to be judged on.
        market: tensors of these bars and features; None builds them.

    Raises:
        DataError: the test bars lie outside the bars or are fewer than three.
    """
    n_bars = bars.shape[0]
    if len(test_bars) < 3 or test_bars.start < 1 or test_bars.stop > n_bars:
        raise DataError(
            f"a challenge needs three bars or more within 1..{n_bars - 1}",
            f"bars {test_bars.start} to {test_bars.stop - 1}",
            "Use more bars.",
        )
    if market is None:
        market = MarketTensors.for_costs(bars, compute(bars), costs)
    return Setup(bars, compute, market, costs, gate, train_bars, test_bars)


def cut_market(market: MarketTensors, bars: range) -> MarketTensors:
    """Return a market of these consecutive bars only."""
    cut: MarketTensors = _each_tensor(lambda parts: parts[0][bars.start : bars.stop], [market])
    return cut


def join_markets(markets: list[MarketTensors]) -> MarketTensors:
    """Lay markets of equal shape end to end, so that one walk runs through all of them at once.

    Bar t of the k-th market becomes bar ``k * T + t``; episodes must not cross a seam.
    """
    joined: MarketTensors = _each_tensor(torch.cat, markets)
    return joined


def _each_tensor(combine: Callable[[list[Tensor]], Tensor], parts: list[Any]) -> Any:
    """Combine the tensors of equal dataclasses field by field; what is no tensor stays."""
    first = parts[0]
    if isinstance(first, Tensor):
        return combine(parts)
    if is_dataclass(first) and not isinstance(first, type):
        names = [item.name for item in fields(first)]
        return replace(
            first,
            **{
                name: _each_tensor(combine, [getattr(part, name) for part in parts])
                for name in names
            },
        )
    return first
