"""A challenger against the champion, on bars that neither was fitted on.

The place of AlphaGo Zero's evaluator (Silver et al. 2017, "Mastering the game of Go without human
knowledge", Nature 550, Methods): a newer policy is not used because it is newer, but once it has
won. Both walk the same validation bars under the same desk, so that what the market did to both
cancels; histories resampled in blocks from those bars say how much of the difference is luck.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trading_rlhf.agent import Policy, walk
from trading_rlhf.backtest import (
    ENOUGH_ITEMS,
    ArmFigures,
    PairedTest,
    figures,
    log_growth,
    paired_test,
)
from trading_rlhf.errors import RunError
from trading_rlhf.loop.context import Context
from trading_rlhf.reward import ModelDesk

__all__ = [
    "APPROVAL_LOSS",
    "FEWEST_BARS",
    "SIGNIFICANT",
    "Evaluation",
    "Side",
    "Verdict",
    "evaluate",
    "judge",
]

SIGNIFICANT = 0.1
"""A challenger's growth counts as higher below this one-sided p value."""

APPROVAL_LOSS = 0.02
"""Approval that a challenger may lose (2 points)."""

FEWEST_BARS = 60
"""Validation bars without which nothing is decided."""

_DRAWS = 2000
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Side:
    """One policy on the validation bars.

    Attributes:
        id: the policy.
        figures: through the desk; approval is None without a reward model or below 50 items.
        returns: ``[K]`` per-bar returns.
    """

    id: str
    figures: ArmFigures
    returns: Tensor


@dataclass(frozen=True)
class Evaluation:
    """What is known of a challenger and of the champion.

    Attributes:
        challenger: the policy that would reign.
        champion: the one that does; None for the first.
        growth: challenger less champion in mean log growth a bar; None for the first.
        reward_model: id of the desk's stand-in; None where nobody refuses.
        bars: returns K that were compared.
    """

    challenger: Side
    champion: Side | None
    growth: PairedTest | None
    reward_model: str | None
    bars: int

    @property
    def approval_change(self) -> float | None:
        """Challenger's approval less the champion's; None where one is not measured."""
        old = None if self.champion is None else self.champion.figures.approval
        new = self.challenger.figures.approval
        return None if old is None or new is None else new - old


@dataclass(frozen=True)
class Verdict:
    """Who reigns after an evaluation.

    Attributes:
        promoted: whether the challenger does.
        reason: "first, unopposed", "higher growth", or what the challenger lacks.
    """

    promoted: bool
    reason: str


def evaluate(
    context: Context, challenger: tuple[str, Policy], champion: tuple[str, Policy] | None
) -> Evaluation:
    """Walk both policies over the validation bars, the newest reward model deciding as the desk.

    Approval is that model's own probability. A policy shaped by it is flattered by it, which is
    why approval can only keep a challenger out here, never bring it in.

    Args:
        context: the run.
        challenger: id and single policy.
        champion: the same of the reigning one, or None.

    Raises:
        RunError: there are too few validation bars.
    """
    bars = context.validation_bars
    if len(bars) < FEWEST_BARS:
        raise RunError(
            f"a champion is chosen on at least {FEWEST_BARS} validation bars",
            f"{len(bars)}",
            "Train with a larger --validation-fraction or a longer history.",
        )
    stored = context.reward_model()
    desk = None if stored is None else ModelDesk(stored[0])
    new = _walked(context, *challenger, desk)
    old = None if champion is None else _walked(context, *champion, desk)
    growth = None
    if old is not None:
        generator = context.generator("promotion")
        growth = paired_test(
            new.returns, old.returns, generator, statistic=log_growth, confidence=0.9, draws=_DRAWS
        )
    model_id = None if stored is None else stored[1].id
    return Evaluation(new, old, growth, model_id, len(new.returns))


def judge(evaluation: Evaluation) -> Verdict:
    """Apply the rule: growth higher beyond luck, and approval not down by more than 2 points."""
    growth, champion = evaluation.growth, evaluation.champion
    if growth is None or champion is None:
        return Verdict(True, "first, unopposed")
    lacks = []
    if growth.difference <= 0.0:
        lacks.append("growth is not higher")
    elif growth.p_greater >= SIGNIFICANT:
        lacks.append(f"higher growth can be luck (p {growth.p_greater:.2f})")
    change = evaluation.approval_change
    if change is not None and change < -APPROVAL_LOSS - _ROUNDING:
        lacks.append(f"approval is down by {-100 * change:.1f} points")
    # A champion that was approved of is not given up for one of which nothing is known.
    if champion.figures.approval is not None and evaluation.challenger.figures.approval is None:
        shown = evaluation.challenger.figures.shown
        lacks.append(f"approval of {shown} trades is not measured, {ENOUGH_ITEMS} are needed")
    return Verdict(not lacks, " and ".join(lacks) or "higher growth")


def _walked(context: Context, name: str, policy: Policy, desk: ModelDesk | None) -> Side:
    """Each walk draws the same answers, and starts from cash."""
    config, bars = context.config, context.validation_bars
    walked = walk(
        policy, context.market, torch.tensor([bars.start]), len(bars) - 1, config.costs,
        config.gate, model=desk, decider=desk, capital=config.equity,
        generator=context.generator("reviews"),
    )  # fmt: skip
    found = figures(walked, 0, context.bars.bars_per_year)
    if desk is None or (found.approval is not None and math.isnan(found.approval)):
        found = replace(found, approval=None, approval_count=None)
    return Side(name, found, walked.log_growth[:, 0, 0].double().exp() - 1.0)
