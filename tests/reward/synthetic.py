"""Answers to synthetic trades by a simulated desk whose taste is known."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.feedback.simulated import Style, StyleDesk
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import Verdicts

NAMES = ("trend_60", "reversal_5", "volatility_20", "trend_120", "return_1")
N_ASSETS = 6


@dataclass(frozen=True)
class Answered:
    """Trades, what the desk really thinks of them, and the answers it gave."""

    trades: TradeTensors
    true_p: Tensor
    verdicts: Verdicts


def random_trades(count: int, generator: torch.Generator) -> TradeTensors:
    """Trades over 3000 bars, from random portfolios that keep some cash."""
    held = torch.randn(count, N_ASSETS + 1, generator=generator).softmax(-1)[:, :N_ASSETS]
    change = 0.15 * torch.randn(count, generator=generator)
    return TradeTensors(
        torch.randn(count, len(NAMES), generator=generator),
        held,
        (held[:, 0] + change).clamp(0, 0.9),
        torch.randint(0, 3000, (count,), generator=generator),
    )


def answers(
    style: Style,
    count: int,
    seed: int,
    *,
    mistake: float = 0.1,
    reviewers: int = 1,
    spammer: int | None = None,
) -> Answered:
    """Answers with mistakes, reviewers taking turns; a spammer answers at random."""
    generator = torch.Generator().manual_seed(seed)
    trades = random_trades(count, generator)
    p = trades.approval(StyleDesk.of(style, NAMES))
    reviewer = torch.arange(count) % reviewers
    q = mistake + (1 - 2 * mistake) * p
    if spammer is not None:
        q = torch.where(reviewer == spammer, 0.5, q)
    approved = torch.rand(count, generator=generator) < q
    return Answered(trades, p, Verdicts.of_trades(trades, approved, reviewer))
