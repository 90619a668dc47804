"""Is a mix of every kind of answer worth as much as verdicts alone? Reward model only."""

from dataclasses import fields

import pandas as pd
import torch
from torch import Tensor

from backtests.planted_desks import StudyConfig, meet_trades
from trading_rlhf.agent import Policy
from trading_rlhf.env import MarketTensors
from trading_rlhf.feedback.simulated import SimulatedDeskConfig, SimulatedTrader, StyleDesk
from trading_rlhf.feedback.simulated_kinds import (
    SIMULATED_TAGS,
    compare,
    desk_reasons,
    give_reasons,
    rate,
    wanted_shares,
)
from trading_rlhf.market import DEFAULT_FEATURES
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    Answers,
    Comparisons,
    Fitted,
    ModelDesk,
    Ratings,
    Resizes,
    Tags,
    Verdicts,
    fit_reward_model,
)

__all__ = ["SECONDS", "compare_kinds", "kinds_summary"]

SECONDS = {"verdict": 6.0, "rating": 6.0, "pair": 10.0, "resize": 10.0, "reasons": 3.0}
"""Assumed time of a reviewer for each answer; reasons come on top of a verdict."""

_FRESH = 4000


def compare_kinds(
    config: StudyConfig, bases: Policy, market: MarketTensors, fresh: MarketTensors
) -> pd.DataFrame:
    """Fit every cell on verdicts alone and on mixes of as many answers; judge on a fresh market.

    Args:
        config: the study; ``config.kinds`` answers are given in each arm.
        bases: base policies, one per seed.
        market: where trades are asked about.
        fresh: where the models are judged.

    Returns:
        One row per (seed, style, arm): accuracy against the desk's majority, answers, seconds.
    """
    rows = []
    for number, seed in enumerate(config.seeds):
        base = bases.select([number])
        generator = torch.Generator().manual_seed(2000 + seed)
        pool, judged = (
            _pool(config, base, where, count, generator)
            for where, count in ((market, 4 * config.kinds), (fresh, _FRESH))
        )
        for style in config.styles:
            desk = StyleDesk.of(style, DEFAULT_FEATURES)
            trader = SimulatedTrader(
                "simulated", desk, SimulatedDeskConfig(style=style, mistake=config.mistake)
            )
            order = torch.randperm(len(pool.bar), generator=generator)
            mixed = [k for k in _ARMS if k != "verdicts"]
            for arm in ("verdicts", *mixed):
                drawn = torch.Generator().manual_seed(3000 + seed)
                answers, seconds = _answered(trader, desk, pool, order, config.kinds, arm, drawn)
                fitted = fit_reward_model(answers, config.fit, torch.Generator().manual_seed(seed))
                rows.append(
                    {
                        "seed": seed, "style": style, "arm": arm, "answers": config.kinds,
                        "seconds": seconds, "accuracy": _accuracy(fitted, judged, desk),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def kinds_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy per arm, its paired difference to verdicts, and reviewer minutes."""
    wide = rows.pivot(index=["seed", "style"], columns="arm", values="accuracy")
    seconds = rows.groupby("arm")["seconds"].mean()
    paired = wide.sub(wide["verdicts"], axis=0)
    table = pd.DataFrame(
        {
            "accuracy": wide.mean(), "minus_verdicts": paired.mean(), "se": paired.sem(),
            "minutes": seconds / 60,
        }
    )  # fmt: skip
    table["answers_per_minute"] = rows["answers"].iloc[0] / table["minutes"]
    return table.loc[list(_ARMS)]


# Shares of pairs and of ratings; the others are verdicts, given with an own weight where the arm
# has resizes and the desk wants less, and with reasons where it has tags.
_ARMS: dict[str, tuple[float, float, bool, bool]] = {
    "verdicts": (0.0, 0.0, False, False),
    "verdicts_pairs": (0.5, 0.0, False, False),
    "verdicts_ratings": (0.0, 0.5, False, False),
    "verdicts_resizes": (0.0, 0.0, True, False),
    "mix": (0.2, 0.2, True, True),
}


def _pool(
    config: StudyConfig,
    base: Policy,
    market: MarketTensors,
    count: int,
    generator: torch.Generator,
) -> TradeTensors:
    bars = range(1, config.n_bars)
    met = meet_trades(base, market, bars, config.costs, config.gate, count, generator)
    return met.trades(market.features)


def _some(pool: TradeTensors, index: Tensor) -> TradeTensors:
    return TradeTensors(*(getattr(pool, f.name)[index] for f in fields(TradeTensors)))


def _answered(
    trader: SimulatedTrader,
    desk: StyleDesk,
    pool: TradeTensors,
    order: Tensor,
    count: int,
    arm: str,
    generator: torch.Generator,
) -> tuple[Answers, float]:
    """The answers of an arm, and the seconds that they took."""
    pair_share, rating_share, resizing, tagging = _ARMS[arm]
    n_pairs, n_ratings = round(count * pair_share), round(count * rating_share)
    n_verdicts = count - n_pairs - n_ratings
    sizes = (n_verdicts, n_ratings, n_pairs, n_pairs)
    asked, rated, first, second = (
        _some(pool, part) for part in order[: sum(sizes)].split(list(sizes))
    )
    p = asked.approval(desk)
    mistaken = torch.rand(n_verdicts, generator=generator) < trader.config.mistake
    approved = (torch.rand(n_verdicts, generator=generator) < p) ^ mistaken
    share = wanted_shares(desk, asked)
    smaller = (share > 0) & (share < 1) & ~approved & ~mistaken & torch.tensor(resizing)
    held = asked.held[:, 0]
    own = torch.where(smaller, held + share * (asked.target - held), asked.target)
    answered = TradeTensors(asked.features, asked.held, own, asked.bar)
    seconds = {
        "verdict": n_verdicts - int(smaller.sum()), "resize": int(smaller.sum()),
        "rating": n_ratings, "pair": n_pairs, "reasons": n_verdicts * tagging,
    }  # fmt: skip
    answers = Answers(
        Verdicts.of_trades(answered, approved | smaller),
        1,
        Comparisons.of_trades(
            first, second,
            compare(trader, first.approval(desk), second.approval(desk), generator),
        ) if n_pairs else None,
        Ratings.of_trades(rated, rate(trader, rated.approval(desk), generator))
        if n_ratings else None,
        Resizes.of_trades(_some(asked, smaller), share[smaller], asked)
        if bool(smaller.any()) else None,
        Tags.of_trades(
            asked, give_reasons(trader, desk_reasons(desk, asked), generator), SIMULATED_TAGS
        ) if tagging else None,
    )  # fmt: skip
    return answers, sum(SECONDS[name] * number for name, number in seconds.items())


def _accuracy(fitted: Fitted, judged: TradeTensors, desk: StyleDesk) -> float:
    liked = judged.approval(desk) > 0.5
    return float(((judged.approval(ModelDesk(fitted.model)) > 0.5) == liked).float().mean())
