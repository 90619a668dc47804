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
from dashboards.components.words import sentence
from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.services.access import Reviewer
from trading_rlhf.services.review import Verdict
from trading_rlhf.services.review_views import Banner, LastAnswer, ReviewItem, ReviewPage

__all__: list[str] = []

_CHART_HEIGHT = 465
_LINE_HEIGHT = 20  # of what stands below the chart, which gives way to it
_STATE = st.session_state


def _load(reviewer: Reviewer) -> None:
    """Fetch the next item and empty the fields.

    The fields keep their keys: were they made anew, somebody who is already typing would lose the
    cursor, and the next letters would be answers.
    """
    _STATE["page"] = review_service().page(reviewer.id)
    _STATE["reviewer"] = reviewer.id
    _STATE["resizing"] = False
    _STATE["error"] = ""
    _STATE["note"], _STATE["tags"], _STATE["stars"] = "", [], None


def _act(page: ReviewPage, action: str, verdict: Verdict | None = None) -> None:
    """Run one key: ask the server who this is, do it, show the next item.

    The key belongs to the view it was drawn on: a press that arrives after the next item has been
    fetched would answer what nobody has looked at, so it does nothing. An answer that is refused
    leaves item, note and tags as they are.
    """
    reviewer = current_reviewer()
    if reviewer is None or _STATE["page"].view != page.view:
        return
    try:
        if action == "undo":
            review_service().undo(reviewer.id, page.view)
        elif verdict is not None and page.item is not None:
            _submit(reviewer, page, page.item, verdict)
        _load(reviewer)
    except TradingRlhfError as error:
        _STATE["error"] = sentence(error)


def _submit(reviewer: Reviewer, page: ReviewPage, item: ReviewItem, verdict: Verdict) -> None:
    review_service().submit(
        reviewer.id,
        item,
        verdict,
        stars=_STATE["stars"],
        tags=tuple(_STATE["tags"] or ()),
        note=_STATE["note"] or "",
        resize_percent=_STATE[_key(page, "weight")] if verdict == "resize" else None,
    )


def _key(page: ReviewPage, widget: str) -> str:
    """Name a widget that must not outlive the view that it was drawn on."""
    return f"{widget}-{page.view}"


def _resize(page: ReviewPage) -> None:
    """The first press asks for the weight, the second sends it."""
    if _STATE["resizing"]:
        _act(page, "answer", "resize")
    else:
        _STATE["resizing"] = True


def _stop_resizing() -> None:
    _STATE["resizing"] = False


def _set_weight(page: ReviewPage, weight: float) -> None:
    _STATE[_key(page, "weight")] = weight


def _show_head(page: ReviewPage, item: ReviewItem) -> None:
    left, right = st.columns([8, 4], vertical_alignment="center", gap="medium")
    warning = f'<span class="rv-warning">{escape(item.warning)}</span>' if item.warning else ""
    why = f'<div class="rv-why">{escape(item.why)}</div>' if item.why else ""
    side = "rv-buy" if item.buys else "rv-sell"
    left.html(
        f'<div class="rv-head {side}"><h1>{escape(item.headline)}</h1>'
        f'<span class="rv-weights">{escape(item.weights)}</span></div>'
        f'{why}<div class="rv-facts">{_badge(page, item.banner)}'
        f'<span class="rv-deadline-{item.banner.kind}">{escape(item.deadline)}</span></div>'
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


def _show_body(page: ReviewPage, item: ReviewItem) -> None:
    left, right = st.columns([7, 4], gap="medium")
    below = _LINE_HEIGHT * (len(item.similar) + 2) if item.similar else 0
    left.plotly_chart(
        chart.price_figure(item.chart),
        width="stretch",
        height=_CHART_HEIGHT - below,
        key="chart",
        config={"displayModeBar": False},
        alt=f"Price up to the decision. {item.sentence}",
    )
    if item.similar:
        left.html(bars.similar_html(item.similar))
    with right:
        st.html(bars.figures_html(item.figures))
        st.html(bars.reasons_html(item.reasons, item.total))
        if _STATE["resizing"]:
            _show_resize(page, item)
        else:
            st.html(bars.holdings_html(item.holdings) + bars.siblings_html(item.siblings))


def _show_resize(page: ReviewPage, item: ReviewItem) -> None:
    st.html('<div class="rv-title">Resize to another weight</div>')
    _STATE.setdefault(_key(page, "weight"), item.resize.presets[1][1])
    weight = st.number_input(
        "Weight, % of equity",
        item.resize.minimum,
        item.resize.maximum,
        step=0.1,
        format="%.2f",
        key=_key(page, "weight"),
    )
    shown = review_service().preview(item, weight)
    st.html(f"<b>{escape(shown.sentence)}</b><br><small>{escape(shown.detail)}</small>")
    row = st.container(horizontal=True, key="presets")
    for number, (label, preset) in enumerate(item.resize.presets, start=1):
        row.button(label, shortcut=str(number), on_click=_set_weight, args=(page, preset))
    row.button("Back", shortcut="Esc", on_click=_stop_resizing)


def _show_answers(page: ReviewPage) -> None:
    columns = st.container(key="answers").columns([3, 3, 3, 3, 2], gap="small")
    answers: tuple[tuple[str, str, Verdict], ...] = (
        ("Approve", "a", "approve"),
        ("Reject", "x", "reject"),
        ("Cannot tell", "s", "cannot_tell"),
    )
    places = (columns[0], columns[1], columns[3])
    for column, (label, shortcut, verdict) in zip(places, answers, strict=True):
        column.button(
            label,
            key=_key(page, verdict),
            shortcut=shortcut,
            type="primary" if verdict == "approve" else "secondary",
            on_click=_act,
            args=(page, "answer", verdict),
            disabled=page.item is None,
            width="stretch",
        )
    columns[2].button(
        "Send resize" if _STATE["resizing"] else "Resize",
        key=_key(page, "resize"),
        shortcut="w",
        on_click=_resize,
        args=(page,),
        disabled=page.item is None,
        width="stretch",
    )
    columns[4].button(
        "Undo",
        key=_key(page, "undo"),
        shortcut="z",
        on_click=_act,
        args=(page, "undo"),
        disabled=page.last is None,
        width="stretch",
    )


def _show_comments(item: ReviewItem, last: LastAnswer | None) -> None:
    st.pills(
        "Reasons",
        item.tags,
        selection_mode="multi",
        key="tags",
        on_change="ignore",
        label_visibility="collapsed",
    )
    rating, note, foot = st.columns([2.4, 5, 4.6], vertical_alignment="center", gap="small")
    with rating.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Rating", width="content")
        st.feedback("stars", key="stars", on_change="ignore")
    note.text_input(
        "Note",
        key="note",
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
        similar = f"<div>{escape(last.similar)}</div>" if last.similar else ""
        st.html(f'<div class="rv-last">Undo takes back: {escape(last.text)}{note}{similar}</div>')


def _show_error(page: ReviewPage) -> None:
    """Show the sentence; what was typed stays in its fields, so that nothing is lost."""
    # The place is always there: elements below it must not move, or old ones linger beside new.
    place = st.container(key="error")
    if not _STATE["error"]:
        return
    text, button = place.columns([8, 2], vertical_alignment="center")
    text.html(f'<div class="rv-error" role="alert">{escape(_STATE["error"])}</div>')
    button.button(
        "Next item", key="skip", shortcut="n", on_click=_act, args=(page, "next"), width="stretch"
    )


def _show_empty(page: ReviewPage) -> None:
    st.subheader("Nothing to review")
    st.write("The queue is empty. New proposals appear here as soon as they are made.")
    st.button("Look again", key="look", shortcut="n", on_click=_act, args=(page, "next"))
    _show_progress(page)
    _show_answers(page)
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
            st.html(f'<div class="rv-error" role="alert">{escape(sentence(error))}</div>')
            return
    page: ReviewPage = _STATE["page"]
    if page.item is None:
        _show_empty(page)
        return
    _show_error(page)
    _show_head(page, page.item)
    _show_body(page, page.item)
    _show_answers(page)
    _show_comments(page.item, page.last)


show_account(require_reviewer())
_panel()
