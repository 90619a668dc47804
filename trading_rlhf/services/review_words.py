"""Trades, weights and times in the words of a desk."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from trading_rlhf.proposals import Proposal

__all__ = [
    "ago",
    "does",
    "dollars",
    "headline",
    "percent",
    "step",
    "until",
    "weights",
    "when",
    "VERDICTS",
]

VERDICTS = {
    "approve": "Approved",
    "reject": "Rejected",
    "resize": "Resized",
    "cannot_tell": "Could not tell",
}

_DOES = {
    "Buy": "Buys",
    "Cover": "Covers",
    "Cover and buy": "Covers and buys",
    "Sell": "Sells",
    "Sell all": "Sells all of",
    "Sell and short": "Sells and shorts",
    "Short": "Shorts",
}

_EXCHANGE = ZoneInfo("America/New_York")
_SMALL = 0.01
_FLAT = 5e-5  # below this a weight prints as 0.0%


def percent(weight: float, digits: int = 1) -> str:
    """Print a fraction as percent, without a minus before zero."""
    text = f"{weight * 100:.{digits}f}"
    return f"{text.lstrip('-')}%" if float(text) == 0 else f"{text}%"


def step(held: float, target: float) -> str:
    """Print a change of weight ("3.0% → 7.4%"), a small one with two digits."""
    digits = 1 if abs(target - held) >= _SMALL else 2
    return f"{percent(held, digits)} → {percent(target, digits)}"


def weights(held: float, target: float) -> str:
    """Print a change of weight ("3.0% → 7.4% of equity")."""
    return f"{step(held, target)} of equity"


def headline(proposal: Proposal, target: float, name: str, masked: bool) -> str:
    """Say the trade as a trader would ("Buy 1,840 MSFT", masked "Buy Asset B").

    Args:
        proposal: the proposed trade.
        target: weight to reach (fraction of equity): the proposal's own or a resized one.
        name: the asset as this reviewer may see it.
        masked: leave out the number of shares, which would tell the price.
    """
    verb = _verb(proposal.held, target)
    if masked:
        return f"{verb} {name}"
    shares = abs(target - proposal.held) * proposal.equity / proposal.price
    return f"{verb} {shares:,.{0 if shares >= 10 else 2}f} {name}"


def does(held: float, target: float) -> str:
    """Say what the trade does ("Buys", "Sells all of")."""
    return _DOES[_verb(held, target)]


def _verb(held: float, target: float) -> str:
    if target > held:
        if held >= 0:
            return "Buy"
        return "Cover and buy" if target > _FLAT else "Cover"
    if held <= 0:
        return "Short"
    if target < -_FLAT:
        return "Sell and short"
    return "Sell all" if target <= _FLAT else "Sell"


def dollars(amount: float) -> str:
    """Print money in three digits ("$39.8k")."""
    for size, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(amount) >= size:
            return f"${amount / size:,.1f}{letter}"
    return f"${amount:,.0f}"


def when(moment: datetime) -> str:
    """Print a moment in exchange time ("Mon 28 Sep 09:30 New York")."""
    return f"{moment.astimezone(_EXCHANGE):%a %d %b %H:%M} New York"


def until(moment: datetime, now: datetime) -> str:
    """Say how long it is until a moment ("in 2 h 5 min"); "expired" once it has passed."""
    left = moment - now
    if left <= timedelta(0):
        return "expired"
    minutes = int(left.total_seconds() // 60)
    if minutes >= 48 * 60:
        return f"in {minutes // (24 * 60)} days"
    hours, minutes = divmod(minutes, 60)
    return f"in {hours} h {minutes} min" if hours else f"in {minutes} min"


def ago(moment: datetime, now: datetime) -> str:
    """Say how long ago a moment was ("5 min ago")."""
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    hours = minutes // 60
    return f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"
