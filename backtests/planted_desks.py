"""The experiment on planted markets: hidden desks, few answers, true desk deciding."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trading_rlhf.accounting import BARS_PER_YEAR, CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    Walk,
    start_training,
    train,
    walk,
)
from trading_rlhf.backtest import stack_policies
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.feedback.simulated import STYLES, RandomDesk, Style, StyleDesk, with_mistakes
from trading_rlhf.market import DEFAULT_FEATURES, PlantedMarket, planted_market
from trading_rlhf.market.synthetic import COMMON_NOISE, OWN_NOISE
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    FitConfig,
    ModelDesk,
    RewardModel,
    ShapedReward,
    ShapingConfig,
    SlicedDesk,
    Verdicts,
    fit_reward_model,
)
from trading_rlhf.types import Desk

__all__ = [
    "Cell",
    "Met",
    "StudyConfig",
    "ask",
    "fit_all",
    "known_figures",
    "known_moments",
    "known_moves",
    "make_market",
    "meet_trades",
    "shape_all",
    "train_bases",
]

OnStep = Callable[[int], None] | None

_WARMUP = 20
_ACCEPTANCE = 0.35
_EXPLORATION = 0.7


class StudyConfig(BaseModel):
    """Settings of the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds of policy and answers.")
    styles: tuple[Style, ...] = Field(STYLES, description="Hidden desks.")
    answers: tuple[int, ...] = Field(min_length=1, description="Numbers of verdicts.")
    n_bars: int = Field(ge=300, description="Bars of each market.")
    n_assets: int = Field(ge=2, description="Assets of each market.")
    train_market: int = Field(description="Seed of the market that is fitted on.")
    test_markets: tuple[int, ...] = Field(min_length=1, description="Seeds of fresh markets.")
    episodes: int = Field(ge=1, description="Episodes per fresh market.")
    length: int = Field(ge=10, description="Steps per episode.")
    mistake: float = Field(0.1, ge=0, le=0.5, description="Share of flipped answers.")
    kinds: int = Field(
        0, ge=0, description="Answers of the comparison of verdicts with a mix; 0 leaves it out."
    )
    costs: CostModel = Field(CostModel(), description="What trades cost.")
    policy: PolicyConfig = Field(PolicyConfig(), description="Shape of the policy.")
    train: TrainConfig = Field(TrainConfig(), description="Training of the base policies.")
    shape: TrainConfig = Field(TrainConfig(), description="Training under a desk.")
    gate: GateConfig = Field(GateConfig(), description="How the desk acts.")
    fit: FitConfig = Field(FitConfig(), description="Fit of the reward model.")
    shaping: ShapingConfig = Field(ShapingConfig(), description="Optional price.")


@dataclass(frozen=True)
class Met:
    """P proposed trades, each of one asset of a portfolio.

    Attributes:
        t: ``[P]`` decision bars.
        held: ``[P, N]`` weights held (fraction of equity).
        target: ``[P, N]`` weights wanted, of which only the trade's own is proposed.
        asset: ``[P]`` which asset is traded.
    """

    t: Tensor
    held: Tensor
    target: Tensor
    asset: Tensor

    def trades(self, features: Tensor) -> TradeTensors:
        """The trades in the features ``[T, N, F]`` of their market."""
        row = torch.arange(len(self.t))
        return TradeTensors.pick(features[self.t], self.held, self.target, self.t, row, self.asset)


@dataclass(frozen=True)
class Cell:
    """One seed under one hidden desk.

    Attributes:
        seed: position among the seeds.
        style: the desk's style.
        desk: its true probability.
        verdicts: the answers (S = 1).
    """

    seed: int
    style: Style
    desk: StyleDesk
    verdicts: Verdicts


def make_market(seed: int, config: StudyConfig) -> tuple[PlantedMarket, MarketTensors]:
    """A planted market and its tensors."""
    planted = planted_market(np.random.default_rng(seed), config.n_bars, config.n_assets)
    return planted, MarketTensors.from_bars(planted.bars, planted.features)


def train_bases(config: StudyConfig, market: MarketTensors, on_step: OnStep = None) -> Policy:
    """Profit-only policies, one per seed, trained side by side."""
    generator = torch.Generator().manual_seed(config.train_market)
    n_features = market.features.shape[-1]
    policy = Policy(n_features, config.policy, len(config.seeds), generator)
    training = start_training(policy, config.train, generator)
    train(
        training,
        market,
        range(1, config.n_bars),
        config.costs,
        config.train,
        ProfitReward(config.train.risk_aversion),
        on_step=on_step,
    )
    return policy


def ask(config: StudyConfig, bases: Policy, market: MarketTensors, answers: int) -> list[Cell]:
    """Ask every hidden desk about trades that a gated policy meets, and note the answers."""
    cells = []
    for number, seed in enumerate(config.seeds):
        generator = torch.Generator().manual_seed(1000 + seed)
        met = meet_trades(
            bases.select([number]), market, range(1, config.n_bars), config.costs, config.gate,
            2 * answers, generator,
        )  # fmt: skip
        pool = met.trades(market.features)
        for style in config.styles:
            desk = StyleDesk.of(style, DEFAULT_FEATURES)
            chosen = torch.randperm(len(pool.bar), generator=generator)[:answers]
            trades = TradeTensors(*(getattr(pool, f.name)[chosen] for f in fields(TradeTensors)))
            p = trades.approval(desk)
            q = with_mistakes(p, config.mistake)
            approved = torch.rand(answers, generator=generator) < q
            cells.append(Cell(number, style, desk, Verdicts.of_trades(trades, approved)))
    return cells


def meet_trades(
    policy: Policy,
    market: MarketTensors,
    bars: range,
    costs: CostModel,
    gate: GateConfig,
    portfolios: int,
    generator: torch.Generator,
) -> Met:
    """Trades proposed after a stretch of random refusals, with noise on the scores, mixed.

    Args:
        policy: a single policy (S = 1).
        market: where.
        bars: when.
        costs: what trades cost.
        gate: smallest trade and cool-down.
        portfolios: how many live side by side; each proposes several trades.
        generator: source of chance.
    """
    desk = RandomDesk(_ACCEPTANCE, generator)
    starts = torch.randint(bars.start, bars.stop - _WARMUP - 2, (portfolios,), generator=generator)
    lived = walk(policy, market, starts, _WARMUP, costs, gate, decider=desk)
    t = starts + _WARMUP
    held = lived.end.held.float()
    noise = _EXPLORATION * torch.randn(held.shape, generator=generator)
    with torch.no_grad():
        encoded = policy.encode_bars(market.features, t)
        target = policy.decide(encoded, held, noise).target
    held, target = held[0], target[0]
    row, asset = torch.nonzero((target - held).abs() >= gate.min_trade, as_tuple=True)
    mixed = torch.randperm(len(row), generator=generator)
    row, asset = row[mixed], asset[mixed]
    return Met(t[row], held[row], target[row], asset)


def fit_all(config: FitConfig, verdicts: list[Verdicts], *, shuffled: bool) -> RewardModel:
    """Reward models of all sets as one stacked fit; ``shuffled`` makes the placebos."""
    generator = torch.Generator().manual_seed(7 + shuffled)
    stacked = Verdicts(
        *(torch.cat([getattr(v, f.name) for v in verdicts]) for f in fields(Verdicts)[:-1]), 1
    )
    if shuffled:
        stacked = stacked.shuffled(generator)
    return fit_reward_model(stacked, config, generator).model


def shape_all(
    config: StudyConfig,
    bases: Policy,
    cells: list[Cell],
    models: list[RewardModel],
    market: MarketTensors,
    on_step: OnStep = None,
) -> list[Policy]:
    """Policies shaped by each stacked reward model, then by the true desks, from the bases.

    Returns:
        One stacked policy (S = cells) per model, then the oracle's.
    """
    start = bases.select([cell.seed for cell in cells])
    stacked = stack_policies([start] * (len(models) + 1))
    parts: list[tuple[int, Desk | None]] = [
        (len(cells), ModelDesk(model, config.fit.pessimism)) for model in models
    ]
    parts += [(1, cell.desk) for cell in cells]
    generator = torch.Generator().manual_seed(99)
    train(
        start_training(stacked, config.shape, generator),
        market,
        range(1, config.n_bars),
        config.costs,
        config.shape,
        ShapedReward(ProfitReward(config.shape.risk_aversion), config.shaping),
        desk=SlicedDesk(tuple(parts)),
        gate=config.gate,
        anchor=stacked.select(list(range(stacked.members))),
        on_step=on_step,
    )
    size = len(cells)
    groups = range(len(models) + 1)
    return [stacked.select(list(range(g * size, (g + 1) * size))) for g in groups]


def known_figures(
    walked: Walk, arm: int, planted: PlantedMarket, costs: CostModel
) -> tuple[float, float]:
    """Growth (bp a step) and yearly Sharpe ratio from the planted drift, without path luck.

    Args:
        walked: a walk over the planted market with fills at the last close.
        arm: index along S.
        planted: gives drift and volatility of the return into each bar.
        costs: trading costs.
    """
    mean, variance = known_moments(walked, arm, planted, costs)
    growth = mean - variance / 2
    return float(growth) * 1e4, float(mean / variance.sqrt()) * BARS_PER_YEAR**0.5


def known_moments(
    walked: Walk, arm: int, planted: PlantedMarket, costs: CostModel
) -> tuple[Tensor, Tensor]:
    """Mean net return of a step and its variance (scalars); arguments as of ``known_figures``."""
    expected, variance = known_moves(walked, arm, planted, costs)
    return expected.mean(), variance.mean()


def known_moves(
    walked: Walk, arm: int, planted: PlantedMarket, costs: CostModel
) -> tuple[Tensor, Tensor]:
    """Expected net return of each step and its variance, ``[K, B]``; see ``known_figures``."""
    weights = walked.held[:, arm] + walked.executed[:, arm]
    following = (walked.t + 1).numpy()
    drift = torch.tensor(planted.drift[following])
    scaled = weights * torch.tensor(planted.volatility[following])
    variance = OWN_NOISE**2 * scaled.square().sum(-1) + COMMON_NOISE**2 * scaled.sum(-1).square()
    change = walked.executed[:, arm]
    paid = (costs.rate(change) * change.abs()).sum(-1)
    return (weights * drift).sum(-1) - paid, variance
