"""The challenges of real-world reinforcement learning, each easy, medium and hard.

Delays, noise, gaps, stuck values and irrelevant inputs take the sizes of the realworldrl_suite's
combined challenges (Dulac-Arnold et al. 2019, arXiv 1904.12901), except that delays are shorter,
since one bar here is a day.
"""

from typing import Any, Final

import numpy as np

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.challenge_setup import Challenge, Compute, make_setup
from trading_rlhf.env.gate import GateConfig
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig
from trading_rlhf.env.observation_faults import (
    DroppedBars,
    IrrelevantFeatures,
    LimitedHistory,
    ObservationDelay,
    ObservationNoise,
    StuckBars,
)
from trading_rlhf.env.task_changes import OtherAims, WatchedLimits
from trading_rlhf.env.vector_env import VectorMarketEnv
from trading_rlhf.env.world_changes import DriftingCosts, RegimeShift, ReviewDelay
from trading_rlhf.errors import ConfigError
from trading_rlhf.market import DEFAULT_FEATURES, Bars, compute_features, warmup

__all__ = ["CHALLENGES", "LEVELS", "challenge", "challenge_env"]

LEVELS: Final = ("easy", "medium", "hard")


def _levels(easy: Challenge, medium: Challenge, hard: Challenge) -> dict[str, Challenge]:
    return dict(zip(LEVELS, (easy, medium, hard), strict=True))


def _limits(drawdown: float, exposure: float, turnover: float) -> WatchedLimits:
    limits = ConstraintConfig(max_drawdown=drawdown, max_exposure=exposure, max_turnover=turnover)
    return WatchedLimits(limits)


def _aims(variance: float, turnover: float, drawdown: float) -> OtherAims:
    return OtherAims(ObjectiveConfig(variance=variance, turnover=turnover, drawdown=drawdown))


CHALLENGES: Final[dict[str, dict[str, Challenge]]] = {
    levels["easy"].name: levels
    for levels in (
        _levels(ReviewDelay(1), ReviewDelay(3), ReviewDelay(6)),
        _levels(ObservationDelay(1), ObservationDelay(3), ObservationDelay(6)),
        _levels(ObservationNoise(0.1), ObservationNoise(0.3), ObservationNoise(1.0)),
        _levels(DroppedBars(0.01, 1), DroppedBars(0.05, 5), DroppedBars(0.1, 10)),
        _levels(StuckBars(0.01, 1), StuckBars(0.05, 5), StuckBars(0.1, 10)),
        _levels(DriftingCosts(2.0), DriftingCosts(4.0), DriftingCosts(10.0)),
        _levels(
            RegimeShift(1.25, 0.5, -0.05), RegimeShift(1.5, 0.0, -0.1), RegimeShift(2.0, -0.5, -0.2)
        ),
        _levels(_limits(0.3, 1.0, 0.3), _limits(0.2, 0.95, 0.15), _limits(0.1, 0.8, 0.05)),
        _levels(_aims(1.0, 0.0, 0.0), _aims(3.0, 0.001, 0.0), _aims(5.0, 0.003, 0.02)),
        _levels(IrrelevantFeatures(10), IrrelevantFeatures(20), IrrelevantFeatures(50)),
        _levels(LimitedHistory(0.5), LimitedHistory(0.25), LimitedHistory(0.1)),
    )
}
"""Challenges by name and level."""


def challenge(name: str, level: str) -> Challenge:
    """Return a challenge at a level.

    Args:
        name: such as "observation_noise".
        level: "easy", "medium" or "hard".

    Raises:
        ConfigError: there is no such challenge or level.
    """
    if name not in CHALLENGES:
        raise ConfigError(
            f"a challenge must be one of {', '.join(CHALLENGES)}", name, "Choose one of them."
        )
    if level not in LEVELS:
        raise ConfigError(f"a level must be one of {', '.join(LEVELS)}", level, "Choose one.")
    return CHALLENGES[name][level]


def challenge_env(
    bars: Bars,
    costs: CostModel,
    challenge: Challenge,
    generator: np.random.Generator,
    *,
    num_envs: int = 1,
    compute: Compute = compute_features,
    first_bar: int | None = None,
    gate: GateConfig | None = None,
    **settings: Any,
) -> VectorMarketEnv:
    """Build an environment in which a challenge holds from the first start on.

    Args:
        bars: prices as they are.
        costs: cost model.
        challenge: from ``challenge``.
        generator: the only source of the challenge's randomness.
        num_envs: B; all episodes share one draw.
        compute: how features are made from bars.
        first_bar: earliest start; None is the default features' warm-up.
        gate: the desk's rules.
        settings: further arguments of ``VectorMarketEnv``.
    """
    first = max(warmup(DEFAULT_FEATURES) if first_bar is None else first_bar, 1)
    span = range(first, bars.shape[0])
    gate = gate if gate is not None else GateConfig()
    setup = challenge.apply(make_setup(bars, compute, costs, gate, span, span), generator)
    return VectorMarketEnv(
        setup.bars,
        setup.costs,
        num_envs,
        market=setup.market,
        gate=setup.gate,
        first_bar=setup.train_bars.start,
        objective=setup.objective,
        limits=setup.limits,
        **settings,
    )
