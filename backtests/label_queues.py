"""How many answers each order of asking needs: random against active, on planted markets.

Only reward models are fitted here. They are judged on trades that the policies meet on fresh
markets, by how often they name the hidden desk's majority answer.
"""

from dataclasses import dataclass, fields
from itertools import product

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from backtests.planted_desks import StudyConfig, fit_all, make_market, meet_trades
from trading_rlhf.agent import Policy
from trading_rlhf.env import MarketTensors
from trading_rlhf.feedback.queue import expected_value, most_instructive
from trading_rlhf.feedback.simulated import StyleDesk, with_mistakes
from trading_rlhf.market import DEFAULT_FEATURES
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import RewardModel, Verdicts
from trading_rlhf.types import Progress

__all__ = ["QUEUES", "QueueConfig", "answers_needed", "queue_curves", "summarise_queues"]

QUEUES = ("random", "active")
_CELL = ["seed", "style"]
_MEASURES = ("accuracy", "accuracy_notional", "log_loss")


class QueueConfig(BaseModel):
    """Settings of the comparison of the two orders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: tuple[int, ...] = Field(
        (50, 100, 150, 200, 300, 500), min_length=2, description="Where the curves are measured."
    )
    pool: int = Field(2000, ge=100, description="Trades that wait to be asked about.")
    tested: int = Field(4000, ge=100, description="Trades per fresh market that judge a model.")
    active_from: int = Field(100, ge=30, description="Answers that are random in both orders.")
    every: int = Field(20, ge=1, description="Answers between two fits of the active order.")
    random_share: float = Field(0.25, ge=0, lt=1, description="Share kept apart and random.")
    draws: int = Field(1, ge=1, description="Times that each desk's answers are drawn anew.")
    nearness: float = Field(1.0, ge=0, description="Distance within which trades are alike.")
    by_notional: float = Field(0.5, ge=0, le=1, description="Exponent of the traded notional.")


@dataclass(frozen=True)
class _Pool:
    """Trades of one cell with the answers they would get.

    Attributes:
        seed: position among the seeds.
        style: the desk's.
        draw: number of this draw of the desk's answers.
        verdicts: inputs and answers of all trades (S = 1).
        notional: ``[P]`` size of each trade (fraction of equity).
        apart: ``[P]`` kept apart for random draws.
        order: ``[P]`` the random order.
    """

    seed: int
    style: str
    draw: int
    verdicts: Verdicts
    notional: Tensor
    apart: Tensor
    order: Tensor


def queue_curves(
    config: StudyConfig, settings: QueueConfig, bases: Policy, progress: Progress
) -> pd.DataFrame:
    """Fit reward models along both orders; one row per (queue, answers, cell).

    The first ``active_from`` answers are the same in both. The active order then picks by the
    members' disagreement, fitted anew every few answers, and draws a share at random from trades
    that were kept apart, as the review desk does.

    Args:
        config: markets, desks, fit.
        settings: of the comparison.
        bases: policies whose trades are asked about (one per seed).
        progress: told about each fit.
    """
    _, market = make_market(config.train_market, config)
    pools = _pools(config, settings, bases, market)
    tests = [_tests(config, settings, bases, seed) for seed in config.test_markets]
    rows = []
    last, done = max(settings.answers), 0
    fits = len(settings.answers) + len(_stops(settings))
    asked = [pool.order[:last] for pool in pools]
    for number in settings.answers:
        model = _fit(config, pools, [order[:number] for order in asked])
        rows += _measure("random", number, model, pools, tests)
        done += 1
        progress("reward models, random order", done, fits)
    asked = [pool.order[: settings.active_from] for pool in pools]
    generator = torch.Generator().manual_seed(5)
    for number in _stops(settings):
        if number <= settings.active_from:
            chosen = [order[:number] for order in asked]
            model = _fit(config, pools, chosen)
        else:
            more = number - len(asked[0])
            asked = [
                _ask_active(settings, pool, order, model.only(place), more, generator)
                for place, (pool, order) in enumerate(zip(pools, asked, strict=True))
            ]
            model = _fit(config, pools, asked)
        if number in settings.answers:
            rows += _measure("active", number, model, pools, tests)
        done += 1
        progress("reward models, active order", done, fits)
    return pd.DataFrame(rows)


def _stops(settings: QueueConfig) -> list[int]:
    """Numbers of answers at which the active order fits: to be measured, or to go on from."""
    last = max(settings.answers)
    regular = range(settings.active_from, last + 1, settings.every)
    return sorted({*settings.answers, *regular, settings.active_from})


def _pools(
    config: StudyConfig, settings: QueueConfig, bases: Policy, market: MarketTensors
) -> list[_Pool]:
    pools = []
    for number, seed in enumerate(config.seeds):
        generator = torch.Generator().manual_seed(3000 + seed)
        trades = _meet(config, bases, number, market, settings.pool, generator)
        notional = (trades.target - trades.held[:, 0]).abs()
        for style, draw in product(config.styles, range(settings.draws)):
            p = trades.approval(StyleDesk.of(style, DEFAULT_FEATURES))
            q = with_mistakes(p, config.mistake)
            approved = torch.rand(len(q), generator=generator) < q
            apart = torch.rand(len(q), generator=generator) < settings.random_share
            order = torch.randperm(len(q), generator=generator)
            verdicts = Verdicts.of_trades(trades, approved)
            pools.append(_Pool(number, style, draw, verdicts, notional, apart, order))
    return pools


def _meet(
    config: StudyConfig,
    bases: Policy,
    number: int,
    market: MarketTensors,
    count: int,
    generator: torch.Generator,
) -> TradeTensors:
    met = meet_trades(
        bases.select([number]), market, range(1, config.n_bars), config.costs, config.gate,
        count, generator,
    )  # fmt: skip
    trades = met.trades(market.features)
    if len(trades.bar) < count:
        raise ValueError(f"{count} trades are wanted, the policy meets {len(trades.bar)}")
    return TradeTensors(*(getattr(trades, f.name)[:count] for f in fields(TradeTensors)))


@dataclass(frozen=True)
class _Tests:
    """Trades of one fresh market, ``[cells, P, ...]``."""

    inputs: Tensor
    notional: Tensor
    p: Tensor


def _tests(config: StudyConfig, settings: QueueConfig, bases: Policy, seed: int) -> _Tests:
    _, market = make_market(seed, config)
    inputs, notional, true_p = [], [], []
    for number, policy_seed in enumerate(config.seeds):
        generator = torch.Generator().manual_seed(4000 + policy_seed)
        trades = _meet(config, bases, number, market, settings.tested, generator)
        for style, _ in product(config.styles, range(settings.draws)):
            p = trades.approval(StyleDesk.of(style, DEFAULT_FEATURES))
            inputs.append(Verdicts.of_trades(trades, p > 0.5).inputs[0])
            notional.append((trades.target - trades.held[:, 0]).abs())
            true_p.append(p)
    return _Tests(torch.stack(inputs), torch.stack(notional), torch.stack(true_p))


def _fit(config: StudyConfig, pools: list[_Pool], asked: list[Tensor]) -> RewardModel:
    sets = [pool.verdicts.rows(order[None]) for pool, order in zip(pools, asked, strict=True)]
    return fit_all(config.fit, sets, shuffled=False)


def _ask_active(
    settings: QueueConfig,
    pool: _Pool,
    asked: Tensor,
    model: RewardModel,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """Add ``count`` trades to those asked: some drawn from what was kept apart, the rest picked."""
    free = torch.ones(len(pool.notional), dtype=torch.bool)
    free[asked] = False
    turns = torch.rand(count, generator=generator) < settings.random_share
    unseen = pool.order[(free & pool.apart)[pool.order]]
    drawn = unseen[: int(turns.sum())]
    open_ = torch.nonzero(free & ~pool.apart).flatten()
    inputs = pool.verdicts.inputs[0]
    p = torch.sigmoid(model.logits_of_inputs(inputs[open_][None, None]))[0]
    value = expected_value(
        p.std(0).double().numpy(),
        pool.notional[open_].double().numpy() ** settings.by_notional,
        np.full(len(open_), np.inf),
        np.ones(len(open_)),
    )
    picked, _ = most_instructive(
        value,
        inputs[open_].double().numpy(),
        inputs[torch.cat([asked, drawn])].double().numpy(),
        count - len(drawn),
        settings.nearness,
    )
    return torch.cat([asked, drawn, open_[picked]])


def _measure(
    queue: str, answers: int, model: RewardModel, pools: list[_Pool], tests: list[_Tests]
) -> list[dict]:
    """One row per cell, fresh markets averaged."""
    found = []
    for test in tests:
        stated = torch.sigmoid(model.logits_of_inputs(test.inputs.unsqueeze(1)).mean(1))
        right = ((stated > 0.5) == (test.p > 0.5)).double()
        clipped = stated.clamp(1e-6, 1 - 1e-6)
        loss = -(test.p * clipped.log() + (1 - test.p) * (1 - clipped).log())
        weighted = (right * test.notional).sum(1) / test.notional.sum(1)
        found.append(torch.stack([right.mean(1), weighted, loss.mean(1)], -1))
    figures = torch.stack(found).mean(0).tolist()
    return [
        {
            "queue": queue, "answers": answers, "seed": pool.seed, "style": pool.style,
            "draw": pool.draw,
            **dict(zip(_MEASURES, row, strict=True)),
        }
        for pool, row in zip(pools, figures, strict=True)
    ]  # fmt: skip


def answers_needed(rows: pd.DataFrame, measure: str = "accuracy") -> dict[str, float]:
    """Answers that the active order needs for what random reaches, as a share of random's.

    For each number of random answers from 150 to 500 the active curve (mean over cells, made
    monotone, linear in between) is read at the same accuracy; the shares are averaged. Where it
    is not reached, the largest number that was measured counts, so that the share is a lower
    bound; this is rare unless the active order is worse.

    Returns:
        ``share`` and its standard error ``share_se`` from 200 bootstrap draws over cells (seed and
        style; draws of answers are averaged first), and
        ``not_reached``, the share of those draws in which some accuracy was not reached.
    """
    table = rows.pivot_table(index=_CELL, columns=["queue", "answers"], values=measure)
    share, reached = _share(table.mean())
    generator = np.random.default_rng(0)
    draws = [
        _share(table.iloc[generator.integers(len(table), size=len(table))].mean())
        for _ in range(200)
    ]
    return {
        "share": share,
        "share_se": float(np.std([one for one, _ in draws], ddof=1)),
        "not_reached": float(np.mean([not one for _, one in draws])) if reached else 1.0,
    }


def _share(mean: pd.Series) -> tuple[float, bool]:
    active = mean["active"].sort_index().cummax()
    random = mean["random"].sort_index().cummax()
    shares, reached = [], True
    for answers in random.index[(random.index >= 150) & (random.index <= 500)]:
        wanted = random[answers]
        reached &= bool(active.iloc[-1] >= wanted)
        # Of equal accuracies the fewest answers: a later one adds nothing.
        level, first = np.unique(active.to_numpy(), return_index=True)
        shares.append(float(np.interp(wanted, level, active.index.to_numpy()[first])) / answers)
    return float(np.mean(shares)), reached


def summarise_queues(rows: pd.DataFrame) -> pd.DataFrame:
    """Both curves and their paired difference, mean ± standard error.

    Over cells (seed and style); draws of answers are averaged first.
    """
    table = {}
    for answers, part in rows.groupby("answers"):
        entry = {}
        for measure in _MEASURES:
            wide = part.pivot_table(index=_CELL, columns="queue", values=measure)
            for name in QUEUES:
                entry[f"{measure}, {name}"] = _with_error(wide[name])
            entry[f"{measure}, active - random"] = _with_error(wide["active"] - wide["random"])
        table[f"{answers} answers"] = entry
    return pd.DataFrame(table).T


def _with_error(values: pd.Series) -> str:
    error = values.sem()
    return f"{values.mean():.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")
