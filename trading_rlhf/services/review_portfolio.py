"""The portfolio before and after one trade."""

from collections.abc import Sequence

from trading_rlhf.proposals import Proposal
from trading_rlhf.services.review_mask import Mask
from trading_rlhf.services.review_views import HoldingRow, Span
from trading_rlhf.services.review_words import percent, step

__all__ = ["holding_rows", "needed_sales"]

_ROWS = 5
_NO_CASH = -1e-6


def holding_rows(proposal: Proposal, mask: Mask) -> tuple[HoldingRow, ...]:
    """List the largest holdings, the rest and cash, before and after this trade alone.

    The traded asset always has its own row.
    """
    now = dict(proposal.portfolio)
    now.setdefault(proposal.symbol, proposal.held)
    after = {**now, proposal.symbol: proposal.target}
    by_size = sorted(
        (symbol for symbol in now if symbol != proposal.symbol and abs(now[symbol]) > 5e-5),
        key=lambda symbol: (-abs(now[symbol]), mask.name(symbol)),
    )
    shown, rest = by_size[: _ROWS - 1], by_size[_ROWS - 1 :]
    entries = [(mask.name(proposal.symbol), proposal.held, proposal.target)]
    entries += [(mask.name(symbol), now[symbol], after[symbol]) for symbol in shown]
    if rest:
        total = sum(now[symbol] for symbol in rest)
        entries.append((f"{len(rest)} others", total, total))
    low = min(0.0, *(min(entry[1:]) for entry in entries))
    high = max(0.0, *(max(entry[1:]) for entry in entries))
    rows = [
        HoldingRow(
            label=label,
            change=percent(before) if before == then else step(before, then),
            now_span=_span(before, low, high),
            after_span=None if before == then else _span(then, low, high),
            traded=place == 0,
        )
        for place, (label, before, then) in enumerate(entries)
    ]
    # Cash has no bar: in a portfolio that is mostly cash it would dwarf what is held.
    cash = step(1 - sum(now.values()), 1 - sum(after.values()))
    return (*rows, HoldingRow("cash", cash, None, None, traded=False))


def needed_sales(proposal: Proposal, siblings: Sequence[Proposal], mask: Mask) -> str:
    """Say which sales of the same bar must pay for this trade; empty when cash suffices."""
    if proposal.change <= 0:
        return ""
    held = dict(proposal.portfolio)
    held[proposal.symbol] = proposal.target
    if 1 - sum(held.values()) >= _NO_CASH:
        return ""
    sales = [mask.name(other.symbol) for other in siblings if other.change < 0]
    if not sales:
        return "There is not enough cash for all of it; it will be scaled down."
    return f"Needs the sale of {' and '.join(sales[:3])}."


def _span(weight: float, low: float, high: float) -> Span:
    """Place a bar on a track from ``low`` to ``high``, starting at zero."""
    width = (high - low) or 1.0
    start = (min(weight, 0.0) - low) / width
    return Span(round(start * 100, 1), round(abs(weight) / width * 100, 1))
