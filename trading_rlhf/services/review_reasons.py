"""Why a trade is proposed, as rows that add up to it and as a sentence."""

from trading_rlhf.proposals import Proposal, Reason
from trading_rlhf.services.review_views import ReasonBar, Span
from trading_rlhf.services.review_words import does

__all__ = ["reason_bars", "reason_total", "why"]

_FLAT = 5e-5  # below this an amount prints as 0.00


def why(proposal: Proposal, name: str) -> str:
    """Say why, as a trader would; empty for a trade stored before there were explanations.

    Args:
        proposal: the trade.
        name: the asset as this reviewer may see it.
    """
    if proposal.explanation is None:
        return ""
    return f"{does(proposal.held, proposal.target)} {name}: {proposal.explanation.sentence}."


def reason_total(proposal: Proposal) -> str:
    """Print what the rows add up to; empty where they do not add up."""
    return "" if proposal.explanation is None else _amount(proposal.change)


def reason_bars(proposal: Proposal) -> tuple[ReasonBar, ...]:
    """One row per reason, then the rest of the change; the longest bar fills its half."""
    parts = [
        (reason.label, f"{reason.value:+.1f} sd", reason.contribution, _help(reason))
        for reason in proposal.reasons
    ]
    rest = proposal.explanation
    if rest is not None:
        others = rest.other_signals + rest.other_assets
        further = (
            ("all other signals", others, "Its further signals, and those of all other assets."),
            ("what is held", rest.held, "Where it would go from here if every signal were usual."),
            (
                "cost and caution",
                rest.restraint,
                "The part of the way that it does not go now, whatever the signals.",
            ),
        )
        parts += [(label, "", part, text) for label, part, text in further if abs(part) >= _FLAT]
    strongest = max((abs(amount) for _, _, amount, _ in parts), default=0.0)
    side = 1 if proposal.change > 0 else -1
    bars = []
    for label, value, amount, text in parts:
        length = 50 * abs(amount) / strongest if strongest else 0.0
        supports = amount * side >= 0
        start = 50.0 if supports else 50.0 - length
        bars.append(
            ReasonBar(
                label=label,
                value=value,
                amount="" if rest is None else _amount(amount),
                supports=supports,
                span=Span(round(start, 1), round(length, 1)),
                help=text,
            )
        )
    return tuple(bars)


def _help(reason: Reason) -> str:
    if reason.latest is None or abs(reason.latest - reason.contribution) < _FLAT:
        return "Its part of the change, % of equity."
    return f"Its part of the change, of which the last bar {_amount(reason.latest)}."


def _amount(weight: float) -> str:
    """Print a part of a change of weight ("+3.10%"), a minus as one."""
    return f"{weight * 100:+.2f}%" if abs(weight) >= _FLAT else "0.00%"
