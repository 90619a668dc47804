"""An attribution as a trader would say it."""

from collections.abc import Sequence

from trading_rlhf.proposals.proposal import Reason

__all__ = ["say_why"]

_LEVELS = ("volatility", "volume")
"""Inputs said as high or low; of all others the sign says which way the price went."""

_MIDDLE = 0.5  # standard deviations; nearer to the mean is neither high nor low
_FAR = 1.5
_SECOND_FOR = 0.25  # of the strongest: a weaker one would only pad the sentence
_SECOND_AGAINST = 0.5
_WORTH_SAYING = 0.1  # of all that speaks for the trade


def say_why(
    side: float, reasons: Sequence[Reason], other_assets: float, held: float, restraint: float
) -> str:
    """Say what speaks for a trade and what holds it back, without naming the asset.

    Args:
        side: positive for a buy, negative for a sale.
        reasons: the features that moved it most.
        other_assets: what the features of all other assets add to the change of weight.
        held: what it would want from what is held with every feature at its mean.
        restraint: what its gate then holds back.

    Returns:
        For example "60-day trend +1.8 sd, 20-day volatility low; held back by cost and caution".
    """
    direction = 1.0 if side > 0 else -1.0
    inputs = [(_input(reason), reason.contribution * direction) for reason in reasons]
    others, own = other_assets * direction, held * direction
    pro = [
        *inputs,
        (f"other assets {'weaker' if other_assets > 0 else 'stronger'}", others),
        (f"holds {'less' if held > 0 else 'more'} than usual", own),
    ]
    total = sum(amount for _, amount in pro if amount > 0)
    contra = [
        *inputs,
        (f"{'weaker' if other_assets > 0 else 'stronger'} other assets", others),
        (f"how {'little' if held > 0 else 'much'} is held", own),
        ("cost and caution", restraint * direction),
    ]
    said = ", ".join(_strongest(pro, 0.0, _SECOND_FOR)) or "no single signal"
    against = [(words, -amount) for words, amount in contra]
    back = ", ".join(_strongest(against, _WORTH_SAYING * total, _SECOND_AGAINST))
    return f"{said}; held back by {back}" if back else said


def _strongest(parts: list[tuple[str, float]], above: float, share: float) -> list[str]:
    """The strongest part above a size, and the next one where it has this share of it."""
    ordered = sorted((part for part in parts if part[1] > above), key=lambda part: -part[1])[:2]
    return [words for words, amount in ordered if amount >= share * ordered[0][1]]


def _input(reason: Reason) -> str:
    if not any(level in reason.label.lower() for level in _LEVELS):
        return f"{reason.label} {reason.value:+.1f} sd"
    if abs(reason.value) < _MIDDLE:
        return f"{reason.label} near its mean"
    word = "high" if reason.value > 0 else "low"
    return f"{reason.label} {'very ' if abs(reason.value) >= _FAR else ''}{word}"
