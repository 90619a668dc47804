"""Puts one proposal into the words, numbers and series of the review page."""

import math
from collections.abc import Sequence
from datetime import datetime

from trading_rlhf.feedback import KNOWN_TAGS
from trading_rlhf.market import PriceHistory
from trading_rlhf.proposals import Proposal
from trading_rlhf.services.review_chart import price_chart, share_of_volume, yearly_volatility
from trading_rlhf.services.review_mask import Mask
from trading_rlhf.services.review_portfolio import holding_rows, needed_sales
from trading_rlhf.services.review_reasons import reason_bars, reason_total, why
from trading_rlhf.services.review_views import (
    Banner,
    Figure,
    ResizePreview,
    ResizeRange,
    ReviewItem,
    SimilarTrade,
)
from trading_rlhf.services.review_words import (
    dollars,
    headline,
    percent,
    step,
    until,
    weights,
    when,
)

__all__ = ["build_item", "preview"]

_BANNERS = {
    "live": Banner("live", "Live", "an approval lets this order go out"),
    "history": Banner("history", "History", "symbol and date are hidden, the price is rebased"),
    "practice": Banner("practice", "Practice", "has a known answer; symbol and date are hidden"),
}
_UNKNOWN = "n/a"
_SIBLINGS = 3


def build_item(
    proposal: Proposal,
    siblings: Sequence[Proposal],
    history: PriceHistory,
    mask: Mask,
    *,
    token: str,
    now: datetime,
    similar: Sequence[SimilarTrade] = (),
) -> ReviewItem:
    """Prepare one item for the screen.

    Args:
        proposal: the item.
        siblings: the other proposals of the same bar.
        history: bars of its asset up to the decision.
        mask: how it may be shown.
        token: makes a doubled submission one answer.
        now: the present.
        similar: like trades and what was said of them, as far as this reviewer may see it.
    """
    name = mask.name(proposal.symbol)
    trade = headline(proposal, proposal.target, name, mask.hidden)
    change = weights(proposal.held, proposal.target)
    return ReviewItem(
        proposal_id=proposal.id,
        token=token,
        shown_at=now,
        masked=mask.hidden,
        banner=_BANNERS[proposal.mode],
        buys=proposal.change > 0,
        headline=trade,
        weights=change,
        sentence=f"{trade}  {change}",
        decided=_decided(proposal, mask),
        deadline=_deadline(proposal, now),
        position=_position(proposal, mask),
        chart=price_chart(proposal, history, mask),
        figures=_figures(proposal, history, mask),
        why=why(proposal, name),
        reasons=reason_bars(proposal),
        total=reason_total(proposal),
        similar=tuple(similar),
        holdings=holding_rows(proposal, mask),
        siblings=_siblings(siblings, mask),
        warning=needed_sales(proposal, siblings, mask),
        resize=_resize_range(proposal),
        tags=KNOWN_TAGS,
    )


def preview(proposal: Proposal, mask: Mask, target: float) -> ResizePreview:
    """Say what a resized trade would be.

    Args:
        proposal: the item.
        mask: how it may be shown.
        target: the weight asked for (fraction of equity).
    """
    change = target - proposal.held
    share = change / proposal.change
    if not 0 < share <= 1:
        low, high = sorted((proposal.held, proposal.target))
        text = (
            f"Choose a weight between {percent(low)} and {percent(high)}, other than what is held."
        )
        return ResizePreview(text, "", False)
    trade = headline(proposal, target, mask.name(proposal.symbol), mask.hidden)
    cost = f"cost {proposal.cost * share * 1e4:.2f} bps of equity"
    size = f"{percent(share, 0)} of the proposed trade"
    money = "" if mask.hidden else f", {dollars(abs(change) * proposal.equity)}"
    return ResizePreview(
        f"{trade}  {weights(proposal.held, target)}", f"{size}{money}, {cost}", True
    )


def _decided(proposal: Proposal, mask: Mask) -> str:
    if mask.hidden:
        return "nothing after the decision is shown"
    return f"decided {when(proposal.decided_at)}, nothing later is shown"


def _deadline(proposal: Proposal, now: datetime) -> str:
    if proposal.mode != "live":
        return "no deadline"
    left = until(proposal.expires_at, now)
    return f"answer by {when(proposal.expires_at)} ({left}), else no trade"


def _position(proposal: Proposal, mask: Mask) -> str:
    if proposal.entry_price is None or abs(proposal.held) < 5e-5:
        return "No open position"
    side = "Long" if proposal.held > 0 else "Short"
    price = proposal.entry_price * mask.scale
    entry = f"{price:.1f} (100 = now)" if mask.hidden else f"${price:,.2f}"
    text = f"{side} {percent(abs(proposal.held))}, entered at {entry}"
    if proposal.open_profit is None:
        return text
    sign = "+" if proposal.open_profit > 0 else ""
    return f"{text}, profit {sign}{percent(proposal.open_profit)}"


def _figures(proposal: Proposal, history: PriceHistory, mask: Mask) -> tuple[Figure, ...]:
    volatility = yearly_volatility(history)
    traded = share_of_volume(proposal, history)
    digits = 1 if abs(proposal.change) >= 0.01 else 2
    size = percent(abs(proposal.change), digits) if mask.hidden else dollars(proposal.notional)
    cost = proposal.cost / abs(proposal.change) * 1e4 if proposal.change else 0.0
    return (
        Figure("Size", size, "Traded value, of equity or in USD."),
        Figure("Cost", f"{cost:.1f} bps", "Expected cost of the traded value."),
        Figure(
            "Volatility",
            _UNKNOWN if volatility is None else percent(volatility, 0),
            "Yearly, from the last 20 returns.",
        ),
        Figure(
            "Of day volume",
            _UNKNOWN if traded is None else _small_percent(traded),
            "The trade against the mean volume of 20 days.",
        ),
        Figure(
            "Conviction",
            percent(proposal.confidence, 0),
            "How far the agent goes towards its goal now.",
        ),
        Figure("Horizon", f"{proposal.horizon} bars", "Bars over which the outcome is counted."),
    )


def _small_percent(fraction: float) -> str:
    return "< 0.01%" if fraction < 1e-4 else percent(fraction, 2)


def _siblings(others: Sequence[Proposal], mask: Mask) -> tuple[str, ...]:
    """Say the largest of the bar's other proposals, and how many more there are."""
    largest = sorted(others, key=lambda other: -abs(other.change))
    lines = [
        f"{headline(other, other.target, mask.name(other.symbol), mask.hidden)} "
        f"{step(other.held, other.target)}"
        for other in largest[:_SIBLINGS]
    ]
    more = len(largest) - _SIBLINGS
    return (*lines, f"and {more} more") if more > 0 else tuple(lines)


def _resize_range(proposal: Proposal) -> ResizeRange:
    low, high = sorted((proposal.held, proposal.target))
    presets = (("quarter", 0.25), ("half", 0.5), ("three quarters", 0.75))
    return ResizeRange(
        # Rounded inwards: a weight on the page must not lie outside by a rounding error.
        minimum=math.ceil(low * 1e4) / 100,
        maximum=math.floor(high * 1e4) / 100,
        presets=tuple(
            (label, round((proposal.held + share * proposal.change) * 100, 2))
            for label, share in presets
        ),
    )
