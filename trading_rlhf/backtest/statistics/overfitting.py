"""Probability of backtest overfitting by combinatorially symmetric cross-validation.

Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest overfitting", Journal
of Computational Finance 20 (4): the strategy that is best on half of the blocks is ranked on the
other half, for every choice of half. A Sharpe ratio needs only a block's sum and sum of squares,
so each half is a matrix product over blocks instead of a pass over bars.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray

__all__ = ["Overfitting", "overfitting_probability"]

_MOST_BLOCKS = 20
"""184,756 splits; the next step is 705,432."""

_SCORES_AT_ONCE = 1_000_000
_ROUNDING = 1e-12
_TIE = 1e-10
"""Sharpe ratios per bar closer than this are equal: matrix products round as they like."""


@dataclass(frozen=True)
class Overfitting:
    """What became, out of sample, of the strategy that was best in sample.

    Attributes:
        pbo: share of splits in which it ranked below the median out of sample (0..1).
        logits: ``[C]`` log odds of its relative rank out of sample, one per split.
        in_sample: ``[C]`` its Sharpe ratio per bar in sample.
        out_of_sample: ``[C]`` the same out of sample.
        slope: least-squares slope of ``out_of_sample`` on ``in_sample`` (performance degradation);
            NaN where ``in_sample`` does not vary.
        loss_probability: share of splits in which it lost money out of sample (0..1).
        splits: number of splits C.
    """

    pbo: float
    logits: FloatArray
    in_sample: FloatArray
    out_of_sample: FloatArray
    slope: float
    loss_probability: float
    splits: int


def overfitting_probability(returns: Tensor, blocks: int = 16) -> Overfitting:
    """Probability that the best of several strategies in sample is below their median after.

    Args:
        returns: ``[B, T]`` per-bar returns of B strategies over the same bars: strategies first.
        blocks: number of contiguous blocks of bars, even; 16 give 12,870 splits.

    Raises:
        AccountingError: shape, number of blocks or a value is out of range.
    """
    _check(returns, blocks)
    picks = list(combinations(range(blocks), blocks // 2))
    tested = torch.zeros(len(picks), blocks, dtype=torch.float64)
    tested.scatter_(1, torch.tensor(picks), 1.0)
    moments = _Moments.of(returns.double(), blocks)
    step = max(1, _SCORES_AT_ONCE // len(returns))
    tested = tested.to(returns.device)
    parts = [_score(moments, tested[i : i + step]) for i in range(0, len(picks), step)]
    logits, inside, outside = (
        torch.cat(values).cpu().numpy() for values in zip(*parts, strict=True)
    )
    spread = float(inside.var())
    joint = float(((inside - inside.mean()) * (outside - outside.mean())).mean())
    return Overfitting(
        pbo=float((logits < 0).mean()),
        logits=logits,
        in_sample=inside,
        out_of_sample=outside,
        slope=joint / spread if spread > 0 else float("nan"),
        loss_probability=float((outside < 0).mean()),
        splits=len(picks),
    )


@dataclass(frozen=True)
class _Moments:
    """Sums over each block.

    ``totals`` are of returns, ``sums`` and ``squares`` of returns less the strategy's mean, which
    keeps the digits of the variance: ``[S, B]`` each; ``counts`` is ``[S]`` bars.
    """

    totals: Tensor
    sums: Tensor
    squares: Tensor
    counts: Tensor

    @classmethod
    def of(cls, returns: Tensor, blocks: int) -> "_Moments":
        parts = (returns - returns.mean(-1, keepdim=True)).tensor_split(blocks, -1)
        return cls(
            torch.stack([part.sum(-1) for part in returns.tensor_split(blocks, -1)]),
            torch.stack([part.sum(-1) for part in parts]),
            torch.stack([part.square().sum(-1) for part in parts]),
            returns.new_tensor([part.shape[-1] for part in parts]),
        )

    def sharpe(self, chosen: Tensor) -> Tensor:
        """Sharpe ratios per bar ``[C, B]`` over the blocks that ``[C, S]`` marks with 1."""
        count = (chosen @ self.counts).unsqueeze(-1)
        sums, squares = chosen @ self.sums, chosen @ self.squares
        residual = squares - sums.square() / count
        # Below this share of the squares there is only rounding: the strategy did not move.
        moved = residual > _ROUNDING * squares
        deviation = torch.where(moved, residual / (count - 1), 1.0).sqrt()
        return torch.where(moved, chosen @ self.totals / count / deviation, 0.0)


def _score(moments: _Moments, tested: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logit, Sharpe ratio in sample and out of sample of each split's best in sample."""
    inside, outside = moments.sharpe(1.0 - tested), moments.sharpe(tested)
    best_inside = inside.amax(-1, keepdim=True)
    best = (inside >= best_inside - _TIE).byte().argmax(-1, keepdim=True)
    best_outside = outside.gather(-1, best)
    below = (outside < best_outside - _TIE).sum(-1)
    level = ((outside - best_outside).abs() <= _TIE).sum(-1)
    rank = below + (level.double() + 1) / 2
    odds = rank / (outside.shape[-1] + 1 - rank)
    return odds.log(), best_inside.squeeze(-1), best_outside.squeeze(-1)


def _check(returns: Tensor, blocks: int) -> None:
    if returns.ndim != 2 or len(returns) < 2:
        raise AccountingError(
            "overfitting is measured on [strategies, bars] of at least two strategies",
            f"shape {tuple(returns.shape)}",
            "Pass one row of returns per strategy.",
        )
    if blocks % 2 or not 2 <= blocks <= _MOST_BLOCKS:
        raise AccountingError(
            f"blocks must be even and between 2 and {_MOST_BLOCKS}", str(blocks), "Use 16."
        )
    if returns.shape[1] < 2 * blocks:
        raise AccountingError(
            "each block needs two bars",
            f"{returns.shape[1]} bars for {blocks} blocks",
            "Use more bars or fewer blocks.",
        )
    if not bool(torch.isfinite(returns).all()):
        raise AccountingError(
            "returns must be finite",
            "NaN or an infinite number",
            "Leave out strategies without a full curve.",
        )
