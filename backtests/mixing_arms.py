"""What the study of mixing compares: pre-trained encoders, and policies that imitate resizes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from backtests.planted_desks import fit_all, known_moves, meet_trades
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Demonstrations,
    Policy,
    PolicyConfig,
    PretrainConfig,
    ProfitReward,
    TrainConfig,
    Walk,
    pretrain,
    start_training,
    train,
    walk,
)
from trading_rlhf.backtest import stack_policies
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.feedback.simulated import STYLES, Style, StyleDesk
from trading_rlhf.market import (
    DEFAULT_FEATURES,
    PlantedMarket,
    compute_features,
    load_sample,
    planted_market,
    time_split,
    warmup,
)
from trading_rlhf.proposals import HORIZON, TradeTensors
from trading_rlhf.reward import FitConfig, ModelDesk, SlicedDesk, Verdicts

__all__ = [
    "LESSONS",
    "PREPARED",
    "Answered",
    "MixingConfig",
    "World",
    "answer_trades",
    "make_world",
    "outcome_returns",
    "shape_arms",
    "train_arms",
    "walk_out_of_sample",
]

PREPARED = ("none", "next", "masked")
"""How an encoder was prepared before training."""

LESSONS = ("none", "resizes", "shuffled")
"""What a policy imitates while it is trained under the reward model."""

_SHARES = torch.linspace(0.1, 1.0, 10)
"""Parts of a proposed change among which a simulated reviewer chooses."""


class MixingConfig(BaseModel):
    """Settings of the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    markets: tuple[Literal["planted", "us4", "sp20"], ...] = Field(
        min_length=1, description="A planted market, or a bundled sample."
    )
    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds of policies and answers.")
    encoders: tuple[PolicyConfig, ...] = Field(
        min_length=1, description="Shapes of the policy; reviewers judge the first one's trades."
    )
    n_bars: int = Field(ge=300, description="Bars of the planted market and of each fresh one.")
    n_assets: int = Field(ge=2, description="Assets of the planted market.")
    length: int = Field(ge=10, description="Steps per episode on the fresh planted market.")
    train_fraction: float = Field(gt=0, lt=1, description="Earlier share of a sample's bars.")
    costs: CostModel = Field(CostModel(), description="What trades cost.")
    pretrain: PretrainConfig = Field(description="Pre-training; each task is tried.")
    train: TrainConfig = Field(description="Training of the base policies.")
    styles: tuple[Style, ...] = Field(STYLES, description="Hidden desks.")
    answers: int = Field(ge=30, description="Answers of each desk.")
    mistake: float = Field(0.1, ge=0, le=0.5, description="Share of wrong answers.")
    shape: TrainConfig = Field(description="Training under the reward model, with its imitation.")
    gate: GateConfig = Field(GateConfig(), description="How the desk acts.")
    fit: FitConfig = Field(FitConfig(), description="Fit of the reward model.")
    draws: int = Field(1000, ge=10, description="Resampled histories of an interval.")


@dataclass(frozen=True)
class World:
    """A market to train on, and one to report on.

    Attributes:
        name: "planted" or a sample's.
        market: what is trained on.
        bars: its decision bars that may be visited.
        test: what is reported on; prices in float64.
        start: ``[B]`` first decisions of the episodes there.
        length: decisions of each.
        planted: what is known of it; None for real prices.
        bars_per_year: for the Sharpe ratio.
    """

    name: str
    market: MarketTensors
    bars: range
    test: MarketTensors
    start: Tensor
    length: int
    planted: PlantedMarket | None
    bars_per_year: float


def make_world(name: str, config: MixingConfig) -> World:
    """A planted market with a fresh one beside it, or a sample split in time."""
    if name == "planted":
        (_, market), (fresh, test) = (_planted(seed, config) for seed in (1, 2))
        start = torch.arange(1, config.n_bars - config.length - 1, config.length)
        bars = range(1, config.n_bars)
        return World(
            name, market, bars, test, start, config.length, fresh, fresh.bars.bars_per_year
        )
    real = load_sample(name)
    market = MarketTensors.for_costs(real, compute_features(real, DEFAULT_FEATURES), config.costs)
    earlier, later = time_split(real.shape[0], config.train_fraction, HORIZON)
    bars = range(warmup(DEFAULT_FEATURES), earlier.stop)
    start = torch.tensor([later.start])
    length = real.shape[0] - later.start - 1
    return World(name, market, bars, market, start, length, None, real.bars_per_year)


def _planted(seed: int, config: MixingConfig) -> tuple[PlantedMarket, MarketTensors]:
    planted = planted_market(np.random.default_rng(seed), config.n_bars, config.n_assets)
    return planted, MarketTensors.from_bars(planted.bars, planted.features)


def train_arms(
    config: MixingConfig, world: World, encoder: PolicyConfig, on_step: Callable[[int], None]
) -> dict[str, Policy]:
    """Base policies by how their encoder was prepared; one member per seed.

    The same seed has the same first weights in each arm, and all are trained side by side on the
    same bars.
    """
    n_features = world.market.features.shape[-1]
    arms = []
    for task in PREPARED:
        members = [
            Policy(n_features, encoder, 1, torch.Generator().manual_seed(seed))
            for seed in config.seeds
        ]
        policy = stack_policies(members)
        if task != "none":
            settings = PretrainConfig(**{**config.pretrain.model_dump(), "task": task})
            chance = torch.Generator().manual_seed(5)
            pretrain(policy, world.market, world.bars, settings, chance)
        arms.append(policy)
    stacked = stack_policies(arms)
    train(
        start_training(stacked, config.train, torch.Generator().manual_seed(6)),
        world.market,
        world.bars,
        config.costs,
        config.train,
        ProfitReward(config.train.risk_aversion),
        on_step=on_step,
    )
    return _unstacked(stacked, PREPARED)


@dataclass(frozen=True)
class Answered:
    """What one hidden desk said of one seed's trades.

    Attributes:
        seed: position among the seeds.
        style: the desk's.
        desk: its true probability.
        verdicts: of the reward model's fit; a resize approves of the reviewer's own weight.
        bars: ``[R]`` decision bars of the resizes.
        held: ``[R, N]`` weights held then.
        asset: ``[R]`` which asset.
        change: ``[R]`` what was proposed (fraction of equity, signed).
        share: ``[R]`` how much of it was wanted.
    """

    seed: int
    style: Style
    desk: StyleDesk
    verdicts: Verdicts
    bars: Tensor
    held: Tensor
    asset: Tensor
    change: Tensor
    share: Tensor

    def wanted(self, share: Tensor) -> Tensor:
        """``[R, N]`` weights if those shares ``[R]`` of the changes are wanted, else NaN."""
        rows = torch.arange(len(self.asset))
        wanted = torch.full(self.held.shape, torch.nan)
        wanted[rows, self.asset] = self.held[rows, self.asset] + share * self.change
        return wanted


def answer_trades(config: MixingConfig, world: World, bases: Policy) -> list[Answered]:
    """Ask every hidden desk about trades that each base policy's gated portfolios meet.

    A desk that disapproves of a trade resizes it to the largest part that it approves of, where
    there is one.
    """
    cells = []
    for number, seed in enumerate(config.seeds):
        chance = torch.Generator().manual_seed(1000 + seed)
        met = meet_trades(
            bases.select([number]), world.market, world.bars, config.costs, config.gate,
            2 * config.answers, chance,
        )  # fmt: skip
        trades = met.trades(world.market.features)
        for style in config.styles:
            desk = StyleDesk.of(style, DEFAULT_FEATURES)
            chosen = torch.randperm(len(met.t), generator=chance)[: config.answers]
            asked = TradeTensors(
                trades.features[chosen], trades.held[chosen], trades.target[chosen],
                trades.bar[chosen],
            )  # fmt: skip
            share = _largest_approved(asked, desk)
            wrong = torch.rand(len(chosen), generator=chance) < config.mistake
            # A mistake takes the opposite of the right answer to the whole trade.
            share = torch.where(wrong, (share < 1).float(), share)
            before = asked.held[:, 0]
            change = asked.target - before
            said = replace(
                asked, target=torch.where(share > 0, before + share * change, asked.target)
            )
            resized = (share > 0) & (share < 1)
            cells.append(
                Answered(
                    number, style, desk, Verdicts.of_trades(said, share > 0), asked.bar[resized],
                    met.held[chosen][resized], met.asset[chosen][resized], change[resized],
                    share[resized],
                )
            )  # fmt: skip
    return cells


def _largest_approved(asked: TradeTensors, desk: StyleDesk) -> Tensor:
    """``[P]`` largest part of each change that the desk rather approves of; 0 where it has none."""
    before = asked.held[:, 0]
    largest = torch.zeros_like(before)
    for share in _SHARES:
        smaller = replace(asked, target=before + share * (asked.target - before))
        largest = torch.where(smaller.approval(desk) > 0.5, share, largest)
    return largest


def shape_arms(
    config: MixingConfig,
    world: World,
    bases: Policy,
    cells: list[Answered],
    on_step: Callable[[int], None],
) -> tuple[dict[str, Policy], ModelDesk]:
    """Policies by lesson, one member per cell, and the reward models that gate them all alike."""
    model = fit_all(config.fit, [cell.verdicts for cell in cells], shuffled=False)
    start = bases.select([cell.seed for cell in cells])
    stacked = stack_policies([start] * len(LESSONS))
    pessimistic = ModelDesk(model, config.fit.pessimism)
    train(
        start_training(stacked, config.shape, torch.Generator().manual_seed(99)),
        world.market,
        world.bars,
        config.costs,
        config.shape,
        ProfitReward(config.shape.risk_aversion),
        desk=SlicedDesk(tuple((len(cells), pessimistic) for _ in LESSONS)),
        gate=config.gate,
        anchor=stacked.select(list(range(stacked.members))),
        on_step=on_step,
        demonstrations=_lessons(cells),
    )
    return _unstacked(stacked, LESSONS), ModelDesk(model)


def _lessons(cells: list[Answered]) -> Demonstrations | None:
    """The resizes of all cells, each for its own policies; None where nobody resized."""
    sizes = [len(cell.bars) for cell in cells]
    if not sum(sizes):
        return None
    chance = torch.Generator().manual_seed(8)
    mixed = [cell.share[torch.randperm(len(cell.share), generator=chance)] for cell in cells]
    own = torch.cat([cell.wanted(cell.share) for cell in cells])
    others = torch.cat([cell.wanted(share) for cell, share in zip(cells, mixed, strict=True)])
    weight = torch.block_diag(*[torch.ones(1, size) for size in sizes])
    members = len(cells)
    return Demonstrations(
        torch.cat([cell.bars for cell in cells]),
        torch.cat([cell.held for cell in cells]),
        torch.cat([own.expand(2 * members, -1, -1), others.expand(members, -1, -1)]),
        torch.cat([torch.zeros_like(weight), weight, weight]),
    )


def walk_out_of_sample(
    config: MixingConfig,
    world: World,
    policies: list[Policy],
    filters: ModelDesk | None = None,
    cells: list[Answered] | None = None,
) -> Walk:
    """Walk policies over the later or fresh bars; the true desks decide where there are any.

    The S axis of the result follows ``policies``.
    """
    model = decider = None
    if filters is not None and cells is not None:
        model = SlicedDesk(tuple((len(cells), filters) for _ in policies))
        decider = SlicedDesk(tuple((1, cell.desk) for cell in cells) * len(policies))
    return walk(
        stack_policies(policies), world.test, world.start, world.length, config.costs, config.gate,
        model=model, decider=decider,
    )  # fmt: skip


def outcome_returns(config: MixingConfig, world: World, walked: Walk, members: range) -> Tensor:
    """Returns ``[D, T]`` of some members of a walk, episodes one after the other.

    On a planted market what was to be expected of each step, its variance taken off, without the
    luck of the path; on real prices what came.
    """
    rows = []
    for member in members:
        if world.planted is None:
            growth = walked.log_growth[:, member]
        else:
            expected, variance = known_moves(walked, member, world.planted, config.costs)
            growth = expected - variance / 2
        rows.append(growth.T.flatten().double().expm1())
    return torch.stack(rows)


def _unstacked(stacked: Policy, names: tuple[str, ...]) -> dict[str, Policy]:
    size = stacked.members // len(names)
    return {
        name: stacked.select(list(range(place * size, (place + 1) * size)))
        for place, name in enumerate(names)
    }
