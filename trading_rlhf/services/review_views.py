"""What the review page shows: plain records, ready to print, with no arithmetic left to do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = [
    "Banner",
    "Chart",
    "Figure",
    "HoldingRow",
    "LastAnswer",
    "ReasonBar",
    "ResizePreview",
    "ResizeRange",
    "ReviewItem",
    "ReviewPage",
    "ReviewProgress",
    "SimilarTrade",
    "Span",
]


@dataclass(frozen=True)
class Banner:
    """One line that says what an answer to this item does.

    Attributes:
        kind: "live", "history" or "practice".
        title: one word or two.
        text: the rest of the sentence.
    """

    kind: Literal["live", "history", "practice"]
    title: str
    text: str


@dataclass(frozen=True)
class Chart:
    """The bars up to the decision. Every series has one value per bar; None where none traded.

    Attributes:
        x: bars before the decision, ending at 0.
        x_range: ends of the x axis, with room for names to the right of the decision.
        labels: what a bar is called when pointed at: its date, or how many bars before.
        ticks: places on the x axis that carry a label.
        tick_labels: their labels.
        open, high, low: None where the data has closes only.
        close: price, or price rebased to 100 at the decision.
        volume: shares, or the ratio to the 20-day mean; None where the data has none.
        mean: mean of the last 20 closes.
        entry: price at which the open position was entered, on the same scale; None when flat.
        last: close at the decision.
        last_label: the same as text.
        last_above: its name stands above its line and that of the entry below, or the reverse.
        up: the trade buys.
        price_title: what the price axis shows.
        volume_title: what the volume axis shows.
        price_format: d3 format of prices.
        volume_format: d3 format of volume.
        fill_label: when the trade would be filled.
    """

    x: tuple[int, ...]
    x_range: tuple[float, float]
    labels: tuple[str, ...]
    ticks: tuple[int, ...]
    tick_labels: tuple[str, ...]
    open: tuple[float | None, ...] | None
    high: tuple[float | None, ...] | None
    low: tuple[float | None, ...] | None
    close: tuple[float | None, ...]
    volume: tuple[float | None, ...] | None
    mean: tuple[float | None, ...]
    entry: float | None
    last: float
    last_label: str
    last_above: bool
    up: bool
    price_title: str
    volume_title: str
    price_format: str
    volume_format: str
    fill_label: str


@dataclass(frozen=True)
class Figure:
    """One number with its name and a sentence on what it means."""

    label: str
    value: str
    help: str


@dataclass(frozen=True)
class Span:
    """A piece of a horizontal bar: where it starts and how long it is (percent of the track)."""

    start: float
    length: float


@dataclass(frozen=True)
class ReasonBar:
    """One part of the proposed change.

    Attributes:
        label: plain words.
        value: the input in standard deviations; empty for what is no input.
        amount: the part ("+3.10%" of equity); empty where the parts do not add up to the change.
        supports: it speaks for the trade: its bar points right.
        span: the bar.
        help: a sentence on what it means.
    """

    label: str
    value: str
    amount: str
    supports: bool
    span: Span
    help: str


@dataclass(frozen=True)
class SimilarTrade:
    """A trade much like the one on the screen, and what this reviewer said of it.

    Attributes:
        verdict: "Rejected".
        trade: side and weights ("a buy 3.0% → 7.4%"); neither symbol nor date.
        reasons: tags that were chosen; empty without any.
        note: what was written; empty without any (plain text, never markup).
    """

    verdict: str
    trade: str
    reasons: str
    note: str


@dataclass(frozen=True)
class HoldingRow:
    """One holding before and after this trade.

    Attributes:
        label: the asset, "cash" or "6 others".
        change: weight now, and after this trade alone where that differs ("3.0% → 7.4%").
        now_span: bar of the weight now; None for cash.
        after_span: bar of the weight after; None where the trade does not change it.
        traded: this row is what the trade changes.
    """

    label: str
    change: str
    now_span: Span | None
    after_span: Span | None
    traded: bool


@dataclass(frozen=True)
class ResizeRange:
    """Weights a reviewer may ask for instead (percent of equity).

    Attributes:
        minimum: lowest weight.
        maximum: highest weight.
        presets: (label, weight) of a quarter, half and three quarters of the change.
    """

    minimum: float
    maximum: float
    presets: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ResizePreview:
    """What a resized trade would be.

    Attributes:
        sentence: the trade in words.
        detail: its size and cost.
        allowed: False where the weight changes nothing or more than was proposed.
    """

    sentence: str
    detail: str
    allowed: bool


@dataclass(frozen=True)
class ReviewItem:
    """One proposed trade, everything a reviewer may see of it.

    ``proposal_id``, ``token`` and ``shown_at`` stay on the server.

    Attributes:
        proposal_id: which proposal is answered.
        token: makes a doubled key press one answer.
        shown_at: when it was handed out.
        masked: symbol and date are hidden.
        banner: what an answer does.
        buys: True when the weight rises.
        headline: the trade ("Buy 1,840 MSFT").
        weights: held and proposed weight ("3.0% → 7.4% of equity").
        sentence: both.
        decided: when it was decided, as far as that may be told.
        deadline: until when an answer counts.
        position: the open position, its entry and its profit.
        chart: bars up to the decision.
        figures: size, cost, volatility, ...
        why: the reasons in a sentence; empty for a trade that was stored without.
        reasons: the parts of the change, what moved the agent most first.
        total: what the parts add up to ("+4.40%"); empty where they do not.
        similar: the most similar trades that this reviewer answered, where that may be shown.
        holdings: the portfolio before and after.
        siblings: the other proposals of the same bar.
        warning: what must happen first ("Needs the sale of Asset C."); empty otherwise.
        resize: which other weights may be asked for.
        tags: reasons to choose from.
    """

    proposal_id: str
    token: str
    shown_at: datetime
    masked: bool
    banner: Banner
    buys: bool
    headline: str
    weights: str
    sentence: str
    decided: str
    deadline: str
    position: str
    chart: Chart
    figures: tuple[Figure, ...]
    why: str
    reasons: tuple[ReasonBar, ...]
    total: str
    similar: tuple[SimilarTrade, ...]
    holdings: tuple[HoldingRow, ...]
    siblings: tuple[str, ...]
    warning: str
    resize: ResizeRange
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ReviewProgress:
    """How far the reviewer is.

    Attributes:
        text: "7 of 30 until the first fit", or the newest reward model and how well it does.
        fraction: 0 to 1, for the progress bar.
        queue: how many items wait.
    """

    text: str
    fraction: float
    queue: str


@dataclass(frozen=True)
class LastAnswer:
    """The answer that an undo would take back.

    Attributes:
        text: verdict, trade and when.
        note: its note (plain text, never markup).
        similar: what was said of like trades; empty where there is nothing that may be shown.
    """

    text: str
    note: str
    similar: str


@dataclass(frozen=True)
class ReviewPage:
    """All of the page.

    Attributes:
        item: the next item; None when the queue is empty.
        progress: how far the reviewer is.
        last: the answer that an undo takes back, if any.
        view: names this view of the page, so that a doubled key press acts once.
        simulated: the run belongs to the simulated desk.
    """

    item: ReviewItem | None
    progress: ReviewProgress
    last: LastAnswer | None
    view: str
    simulated: bool
