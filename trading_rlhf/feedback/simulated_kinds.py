"""What simulated traders answer beside verdicts: pairs, ratings, own weights and reasons.

Every kind follows from the desk's true probability p of approval. Flaws follow B-Pref (Lee et al.
2021, arXiv 2111.03026, section 4): answers are stochastic in the difference, ties near
indifference, and a share of mistakes; a spammer answers at random.
"""

from dataclasses import replace

import torch
from torch import Tensor

from trading_rlhf.feedback.simulated import SimulatedTrader, StyleDesk
from trading_rlhf.proposals import TradeTensors

__all__ = ["SIMULATED_TAGS", "compare", "desk_reasons", "give_reasons", "rate", "wanted_shares"]

SIMULATED_TAGS = ("too large", "against trend", "with trend", "chasing", "too risky")
"""Reasons of ``KNOWN_TAGS`` that the simulated desks have."""

_TIE = 0.5
"""Difference of true logits below which two trades are equally good."""
_CUTS = (-2.2, -0.62, 0.62, 2.2)
"""Logits between the stars: p = .1, .35, .65, .9."""
_STRONG = 0.5
"""Standard deviations from which a feature is a reason."""
_SHARES = 20
_TOLD = 0.7
"""Share of its reasons that a trader takes the trouble to give."""
_OWN_TAGS = {
    "trend": ("too large", "against trend", "with trend", "too risky"),
    "reversal": ("too large", "chasing"),
    "calm": ("too large", "too risky"),
}


def compare(
    trader: SimulatedTrader, first: Tensor, second: Tensor, generator: torch.Generator
) -> Tensor:
    """Which of two trades: ``[C]`` 0 the first, 1 equal, 2 the second.

    Args:
        trader: who answers; mistakes swap the two, a spammer draws one of the three.
        first: ``[C]`` true p of the trades shown first.
        second: ``[C]`` true p of the others.
        generator: source of chance.
    """
    if trader.desk is None:
        return torch.randint(0, 3, first.shape, generator=generator)
    difference = _logit(first) - _logit(second)
    draw, flip = torch.rand(2, *first.shape, generator=generator)
    takes_first = draw < torch.sigmoid(difference)
    takes_first ^= flip < trader.config.mistake
    return torch.where(difference.abs() < _TIE, 1, torch.where(takes_first, 0, 2))


def rate(trader: SimulatedTrader, p: Tensor, generator: torch.Generator) -> Tensor:
    """Stars ``[P]`` 1 to 5 of trades with true p ``[P]``; a mistake turns the scale round."""
    if trader.desk is None:
        return torch.randint(1, 6, p.shape, generator=generator)
    draw, flip = torch.rand(2, *p.shape, generator=generator)
    felt = _logit(p) + _logit(draw)
    stars = 1 + (felt.unsqueeze(-1) > torch.tensor(_CUTS)).sum(-1)
    return torch.where(flip < trader.config.mistake, 6 - stars, stars)


def wanted_shares(desk: StyleDesk, trades: TradeTensors, bar: float = 0.5) -> Tensor:
    """Largest share ``[P]`` of each proposed change whose true p is above a bar; 0 for none.

    Args:
        desk: the true desk.
        trades: the P trades.
        bar: true p that a trade needs.
    """
    held, change = trades.held[:, 0], trades.target - trades.held[:, 0]
    best = torch.zeros_like(change)
    for step in range(1, _SHARES + 1):
        share = step / _SHARES
        liked = replace(trades, target=held + share * change).approval(desk) > bar
        best = torch.where(liked, torch.full_like(best, share), best)
    return best


def desk_reasons(desk: StyleDesk, trades: TradeTensors) -> Tensor:
    """``[P, K]`` whether each of ``SIMULATED_TAGS`` is a true reason of this desk."""
    change = trades.target - trades.held[:, 0]
    side = change.sign()
    trend, reversal, volatility, _ = (trades.features[:, c] for c in desk.columns)
    found = {
        "too large": trades.target > 2.0 / trades.held.shape[-1],
        "against trend": side * trend < -_STRONG,
        "with trend": side * trend > _STRONG,
        "chasing": side * reversal > _STRONG,
        "too risky": (side > 0) & (volatility > _STRONG),
    }
    own = _OWN_TAGS[desk.style]
    return torch.stack([found[n] & torch.tensor(n in own) for n in SIMULATED_TAGS], -1)


def give_reasons(trader: SimulatedTrader, true: Tensor, generator: torch.Generator) -> Tensor:
    """Reasons given ``[P, K]``, out of the true ones.

    Args:
        trader: who answers; forgets some, and now and then gives a wrong one.
        true: ``[P, K]`` from ``desk_reasons``.
        generator: source of chance.
    """
    told, wrong = torch.rand(2, *true.shape, generator=generator)
    if trader.desk is None:
        return torch.lt(told, 1 / true.shape[-1])
    mistaken = wrong < trader.config.mistake / true.shape[-1]
    return torch.logical_xor(true & (told < _TOLD), mistaken)


def _logit(p: Tensor) -> Tensor:
    return torch.logit(p, eps=1e-6)
