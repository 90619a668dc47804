"""The simulated desk: traders with hidden styles and human flaws.

A benchmark and a test fixture, labelled as simulated wherever it shows. Flaws follow B-Pref
(Lee et al. 2021, arXiv 2111.03026, section 4): mistakes and skips near indifference; a spammer
answers at random.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trading_rlhf.errors import ConfigError

__all__ = [
    "STYLES",
    "RandomDesk",
    "SimulatedDeskConfig",
    "SimulatedTrader",
    "Style",
    "StyleDesk",
    "make_desk",
    "with_mistakes",
]

Style = Literal["trend", "reversal", "calm"]
STYLES: tuple[Style, ...] = get_args(Style)

_STYLE_FEATURES = ("trend_60", "reversal_5", "volatility_20", "trend_120")


class SimulatedDeskConfig(BaseModel):
    """Who answers in a simulation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: Style = Field("trend", description="What the desk likes, hidden from the agent.")
    traders: int = Field(3, ge=1, le=20, description="Honest traders of that style.")
    spammers: int = Field(0, ge=0, le=20, description="Reviewers who answer at random.")
    mistake: float = Field(0.1, ge=0, le=0.5, description="Share of flipped answers.")
    skip: float = Field(
        0.3, ge=0, le=1, description="Chance of 'cannot tell' when the desk is nearly indifferent."
    )
    indifference: float = Field(
        0.05, ge=0, le=0.5, description="Distance of p from one half that counts as indifferent."
    )


@dataclass(frozen=True)
class StyleDesk:
    """The desk's true probability of approval; hidden from the agent, known to the benchmark.

    Attributes:
        style: what it likes.
        columns: positions of trend, reversal, volatility and slow trend among the features.
    """

    style: Style
    columns: tuple[int, int, int, int]

    @classmethod
    def of(cls, style: Style, feature_names: tuple[str, ...]) -> "StyleDesk":
        """Build for named features.

        Raises:
            ConfigError: a feature that the styles judge by is missing.
        """
        missing = [name for name in _STYLE_FEATURES if name not in feature_names]
        if missing:
            raise ConfigError(
                f"the simulated desk judges by {', '.join(_STYLE_FEATURES)}",
                f"features without {', '.join(missing)}",
                "Add them to the features of the run.",
            )
        trend, reversal, volatility, slow = (feature_names.index(n) for n in _STYLE_FEATURES)
        return cls(style, (trend, reversal, volatility, slow))

    def __call__(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        """True p ``[..., N]`` of trades from held to target, with features ``[..., N, F]``."""
        side = (target - held).sign()
        buy, sell = side.clamp(min=0), (-side).clamp(min=0)
        trend, reversal, volatility, slow = (features[..., c] for c in self.columns)
        n_assets = held.shape[-1]
        # Every style dislikes more than twice the equal weight in one asset.
        crowded = (target - 2.0 / n_assets).clamp(min=0) * 1.5 * n_assets
        if self.style == "trend":
            utility = 1.8 * side * trend - buy * volatility.clamp(min=0)
        elif self.style == "reversal":
            utility = -1.8 * side * reversal + 0.3
        else:
            wild = (volatility + 0.3).clamp(min=0)
            utility = 0.8 - 2.0 * buy * wild + 0.8 * sell * volatility + 0.4 * side * slow
        return torch.sigmoid(2.0 * (utility - crowded))


P = TypeVar("P", float, Tensor)


def with_mistakes(p: P, mistake: float) -> P:
    """Probability that an answer is approve when a share of answers is flipped, given true p."""
    return mistake + (1 - 2 * mistake) * p


@dataclass(frozen=True)
class RandomDesk:
    """Approves at random; with the cool-down this refuses for stretches, as a desk does.

    Attributes:
        acceptance: share approved.
        generator: draws the answers.
    """

    acceptance: float
    generator: torch.Generator

    def __call__(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        """Return 0 or 1 for each trade, ``[..., N]``."""
        del features, target
        return (torch.rand(held.shape, generator=self.generator) < self.acceptance).float()


@dataclass(frozen=True)
class SimulatedTrader:
    """One simulated reviewer.

    Attributes:
        name: account name; starts with "simulated".
        desk: what it likes; None answers at random.
        config: its flaws.
    """

    name: str
    desk: StyleDesk | None
    config: SimulatedDeskConfig

    def approval(self, p: float) -> float:
        """Probability that the answer, mistakes included, is approve, given true p."""
        if self.desk is None:
            return 0.5
        return with_mistakes(p, self.config.mistake)

    def verdict(
        self, p: float, generator: torch.Generator
    ) -> Literal["approve", "reject", "cannot_tell"]:
        """Answer a trade whose true probability of approval is p."""
        skip, draw = torch.rand(2, generator=generator).tolist()
        indifferent = abs(p - 0.5) < self.config.indifference
        if self.desk is not None and indifferent and skip < self.config.skip:
            return "cannot_tell"
        return "approve" if draw < self.approval(p) else "reject"


def make_desk(
    config: SimulatedDeskConfig, feature_names: tuple[str, ...]
) -> tuple[StyleDesk, list[SimulatedTrader]]:
    """The true desk of a simulation and the reviewers who answer for it."""
    desk = StyleDesk.of(config.style, feature_names)
    honest = [
        SimulatedTrader(f"simulated-{config.style}-{i + 1}", desk, config)
        for i in range(config.traders)
    ]
    spam = [
        SimulatedTrader(f"simulated-spammer-{i + 1}", None, config) for i in range(config.spammers)
    ]
    return desk, honest + spam
