"""One trade, one screen, one key per answer."""

from html import escape

import streamlit as st

from dashboards.components import bars, chart
from dashboards.components.session import (
    current_reviewer,
    require_reviewer,
    review_service,
    show_account,
    show_login_link,
)
from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.services.access import Reviewer
from trading_rlhf.services.review import Verdict
from trading_rlhf.services.review_views import Banner, LastAnswer, ReviewItem, ReviewPage

__all__: list[str] = []

_CHART_HEIGHT = 465
_STATE = st.session_state


def _load(reviewer: Reviewer) -> None:
    """Fetch the next item; fresh widgets (no note, no tags) come with it."""
    _STATE["page"] = review_service().page(reviewer.id)
    _STATE["reviewer"] = reviewer.id
    _STATE["round"] = _STATE.get("round", 0) + 1
    _STATE["resizing"] = False
    _STATE["error"] = ""


def _act(action: str, verdict: Verdict | None = None) -> None:
    """Run one key: ask the server who this is, do it, show the next item.

    An answer that is refused leaves item, note and tags as they are.
    """
    reviewer = current_reviewer()
    if reviewer is None:
        return  # the page says so when it is drawn
    try:
        if action == "undo":
            review_service().undo(reviewer.id, _STATE["page"].undo_token)
        elif verdict is not None:
            _submit(reviewer, verdict)
        _load(reviewer)
    except TradingRlhfError as error:
        _STATE["error"] = str(error)


def _submit(reviewer: Reviewer, verdict: Verdict) -> None:
    page: ReviewPage = _STATE["page"]
    if page.item is None:
        return
    review_service().submit(
        reviewer.id,
        page.item,
        verdict,
        stars=_value("stars"),
        tags=tuple(_value("tags") or ()),
        note=_value("note") or "",
        resize_percent=_value("weight") if verdict == "resize" else None,
    )


def _value(widget: str) -> object:
    return _STATE.get(_key(widget))


def _key(widget: str) -> str:
    return f"{widget}-{_STATE['round']}"


def _resize() -> None:
    """The first press asks for the weight, the second sends it."""
    if _STATE["resizing"]:
        _act("answer", "resize")
    else:
        _STATE["resizing"] = True


def _stop_resizing() -> None:
    _STATE["resizing"] = False


def _set_weight(weight: float) -> None:
    _STATE[_key("weight")] = weight


def _show_head(page: ReviewPage, item: ReviewItem) -> None:
    left, right = st.columns([9, 3], vertical_alignment="center", gap="medium")
    warning = f'<span class="rv-warning">{escape(item.warning)}</span>' if item.warning else ""
    side = "rv-buy" if item.buys else "rv-sell"
    left.html(
        f'<div class="rv-head {side}"><h1>{escape(item.headline)}</h1>'
        f'<span class="rv-weights">{escape(item.weights)}</span></div>'
        f'<div class="rv-facts">{_badge(page, item.banner)}'
        f"<b>{escape(item.deadline)}</b></div>"
        f'<div class="rv-facts"><span>{escape(item.position)}</span>'
        f'<span class="rv-dim">{escape(item.decided)}</span>{warning}</div>'
    )
    with right:
        _show_progress(page)


def _badge(page: ReviewPage, banner: Banner) -> str:
    simulated = '<b class="rv-badge rv-practice">Simulated desk</b>' if page.simulated else ""
    return (
        f'<span>{simulated}<b class="rv-badge rv-{banner.kind}">{escape(banner.title)}</b>'
        f"{escape(banner.text)}</span>"
    )


def _show_progress(page: ReviewPage) -> None:
    progress = page.progress
    st.html(
        f'<div class="rv-side"><b>{escape(progress.text)}</b>'
        f'<progress max="1" value="{progress.fraction}"></progress>'
        f'<span class="rv-dim">{escape(progress.queue)}</span></div>'
    )


def _show_body(item: ReviewItem) -> None:
    left, right = st.columns([7, 4], gap="medium")
    left.plotly_chart(
        chart.price_figure(item.chart),
        width="stretch",
        height=_CHART_HEIGHT,
        key="chart",
        config={"displayModeBar": False},
        alt=f"Price up to the decision. {item.sentence}",
    )
    with right:
        st.html(bars.figures_html(item.figures))
        st.html(bars.reasons_html(item.reasons))
        if _STATE["resizing"]:
            _show_resize(item)
        else:
            st.html(bars.holdings_html(item.holdings) + bars.siblings_html(item.siblings))


def _show_resize(item: ReviewItem) -> None:
    st.html('<div class="rv-title">Resize to another weight</div>')
    _STATE.setdefault(_key("weight"), item.resize.presets[1][1])
    weight = st.number_input(
        "Weight, % of equity",
        item.resize.minimum,
        item.resize.maximum,
        step=0.1,
        format="%.2f",
        key=_key("weight"),
    )
    shown = review_service().preview(item, weight)
    st.html(f"<b>{escape(shown.sentence)}</b><br><small>{escape(shown.detail)}</small>")
    row = st.container(horizontal=True, key="presets")
    for number, (label, preset) in enumerate(item.resize.presets, start=1):
        row.button(label, shortcut=str(number), on_click=_set_weight, args=(preset,))
    row.button("Back", shortcut="Esc", on_click=_stop_resizing)


def _show_answers(item: ReviewItem | None, last: LastAnswer | None) -> None:
    columns = st.container(key="answers").columns([3, 3, 3, 3, 2], gap="small")
    answers: tuple[tuple[str, str, Verdict], ...] = (
        ("Approve", "a", "approve"),
        ("Reject", "x", "reject"),
        ("Cannot tell", "s", "cannot_tell"),
    )
    for column, (label, key, verdict) in zip(
        (columns[0], columns[1], columns[3]), answers, strict=True
    ):
        column.button(
            label,
            shortcut=key,
            type="primary" if verdict == "approve" else "secondary",
            on_click=_act,
            args=("answer", verdict),
            disabled=item is None,
            width="stretch",
        )
    columns[2].button(
        "Send resize" if _STATE["resizing"] else "Resize",
        key="resize",
        shortcut="w",
        on_click=_resize,
        disabled=item is None,
        width="stretch",
    )
    columns[4].button(
        "Undo",
        shortcut="z",
        on_click=_act,
        args=("undo",),
        disabled=last is None,
        width="stretch",
    )


def _show_comments(item: ReviewItem, last: LastAnswer | None) -> None:
    st.pills(
        "Reasons",
        item.tags,
        selection_mode="multi",
        key=_key("tags"),
        on_change="ignore",
        label_visibility="collapsed",
    )
    rating, note, foot = st.columns([2.4, 5, 4.6], vertical_alignment="center", gap="small")
    with rating.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Rating", width="content")
        st.feedback("stars", key=_key("stars"), on_change="ignore")
    note.text_input(
        "Note",
        key=_key("note"),
        max_chars=1000,
        placeholder="Note: what should it do differently? (Tab leaves the field)",
        on_change="ignore",
        label_visibility="collapsed",
    )
    with foot:
        _show_last(last)


def _show_last(last: LastAnswer | None) -> None:
    """Show what undo would take back; a note is text, whatever it contains."""
    if last is not None:
        note = f"<div>“{escape(last.note)}”</div>" if last.note else ""
        st.html(f'<div class="rv-last">Undo takes back: {escape(last.text)}{note}</div>')


def _show_error() -> None:
    """Show the sentence; what was typed stays in its fields, so that nothing is lost."""
    if not _STATE["error"]:
        return
    text, button = st.columns([8, 2], vertical_alignment="center")
    text.html(f'<div class="rv-error" role="alert">{escape(_STATE["error"])}</div>')
    button.button(
        "Next item", key="skip", shortcut="n", on_click=_act, args=("next",), width="stretch"
    )


def _show_empty(page: ReviewPage) -> None:
    st.subheader("Nothing to review")
    st.write("The queue is empty. New proposals appear here as soon as they are made.")
    st.button("Look again", key="look", shortcut="n", on_click=_act, args=("next",))
    _show_progress(page)
    _show_answers(None, page.last)
    _show_last(page.last)


@st.fragment
def _panel() -> None:
    """Redrawn alone after each key, so that the next item is there at once."""
    reviewer = current_reviewer()
    if reviewer is None:
        show_login_link("Your session has ended. What you answered is stored.")
        return
    if _STATE.get("reviewer") != reviewer.id or "page" not in _STATE:
        try:
            _load(reviewer)
        except TradingRlhfError as error:
            st.html(f'<div class="rv-error" role="alert">{escape(str(error))}</div>')
            return
    page: ReviewPage = _STATE["page"]
    if page.item is None:
        _show_empty(page)
        return
    _show_error()
    _show_head(page, page.item)
    _show_body(page.item)
    _show_answers(page.item, page.last)
    _show_comments(page.item, page.last)


show_account(require_reviewer())
_panel()
