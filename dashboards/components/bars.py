"""Numbers and small bars drawn as plain HTML: quicker than a chart and read by screen readers."""

from collections.abc import Sequence
from html import escape

from trading_rlhf.services.review_views import (
    Figure,
    HoldingRow,
    ReasonBar,
    SimilarTrade,
    Span,
)

__all__ = ["figures_html", "reasons_html", "holdings_html", "siblings_html", "similar_html"]


def figures_html(figures: Sequence[Figure]) -> str:
    """Return a grid of named numbers; pointing at one explains it."""
    cells = "".join(
        f'<div title="{escape(f.help)}"><span>{escape(f.label)}</span>'
        f"<b>{escape(f.value)}</b></div>"
        for f in figures
    )
    return f'<div class="rv-figures">{cells}</div>'


def reasons_html(reasons: Sequence[ReasonBar], total: str = "") -> str:
    """Return one bar per part, to the right for the trade and to the left against it.

    Args:
        reasons: the parts.
        total: what they add up to; empty where they do not.
    """
    title = f"Why the agent wants {f'{escape(total)} of equity' if total else 'it'}"
    if not reasons:
        return f'<div class="rv-title">{title}</div><p class="rv-dim">not stated</p>'
    rows = "".join(
        f'<div class="rv-row rv-reason" title="{escape(r.help)}">'
        f'<span class="rv-label">{escape(r.label)}</span>'
        f'<span class="rv-track rv-middle">{_piece(r.span, "rv-for" if r.supports else "rv-not")}'
        f'</span><span class="rv-value">{escape(r.value)}</span>'
        f'<span class="rv-value">{escape(r.amount)}</span></div>'
        for r in reasons
    )
    key = '<span class="rv-key">against ◂ ▸ for</span>'
    return f'<div class="rv-title">{title} {key}</div>{rows}'


def similar_html(similar: Sequence[SimilarTrade]) -> str:
    """Return the reviewer's own answers to like trades; empty when there are none."""
    if not similar:
        return ""
    lines = "".join(f"<div>{_similar(trade)}</div>" for trade in similar)
    title = "Your answers to the trades most like it"
    return f'<div class="rv-title">{title}</div><div class="rv-similar">{lines}</div>'


def holdings_html(holdings: Sequence[HoldingRow]) -> str:
    """Return one row per holding with its weight now and after the trade."""
    rows = "".join(
        f'<div class="rv-row{" rv-traded" if h.traded else ""}">'
        f'<span class="rv-label">{escape(h.label)}</span><span class="rv-track">'
        f"{_pieces(h)}</span>"
        f'<span class="rv-value">{escape(h.change)}</span></div>'
        for h in holdings
    )
    key = '<span class="rv-key"><i class="rv-now"></i>now <i class="rv-after"></i>after</span>'
    return f'<div class="rv-title">Portfolio, % of equity {key}</div>{rows}'


def siblings_html(siblings: Sequence[str]) -> str:
    """Return the other proposals of the bar; empty when there are none."""
    if not siblings:
        return ""
    lines = "".join(f"<div>{escape(line)}</div>" for line in siblings)
    return f'<div class="rv-title">Also proposed that day</div><div class="rv-list">{lines}</div>'


def _similar(trade: SimilarTrade) -> str:
    reasons = f": {escape(trade.reasons)}" if trade.reasons else ""
    note = f" “{escape(trade.note)}”" if trade.note else ""
    return f"<b>{escape(trade.verdict)}</b> {escape(trade.trade)}{reasons}{note}"


def _pieces(row: HoldingRow) -> str:
    if row.now_span is None:
        return ""
    if row.after_span is None:
        return _piece(row.now_span, "rv-same")
    return _piece(row.now_span, "rv-now") + _piece(row.after_span, "rv-after")


def _piece(span: Span, kind: str) -> str:
    return f'<i class="{kind}" style="left:{span.start}%;width:{span.length}%"></i>'
