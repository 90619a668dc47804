"""What the run's policies would have earned: the backtest, chapter by chapter."""

from html import escape

import streamlit as st

from dashboards.components.session import require_reviewer, run_dir, show_account
from dashboards.components.tables import facts_html, table_html, tiles_html
from dashboards.components.words import sentence
from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.services.backtest_view import (
    BacktestView,
    ViewPart,
    backtest_view,
    read_backtest_page,
)

__all__: list[str] = []

_RESTS_ON = "What this rests on"


def _show() -> None:
    try:
        view = backtest_view(run_dir())
    except TradingRlhfError as error:
        st.error(sentence(error))
        return
    if view is None:
        st.subheader("No backtest yet")
        st.write(f"Run `trading-rlhf backtest --run {run_dir()}`, then load this page again.")
        return
    _show_summary(view)
    _show_chapter(view)
    st.download_button(
        "Download as one file",
        lambda: read_backtest_page(run_dir()),
        file_name="backtest.html",
        mime="text/html",
        on_click="ignore",
    )


def _show_summary(view: BacktestView) -> None:
    st.subheader(view.title)
    first, *others = view.summary
    lines = "".join(f"<div>{escape(line)}</div>" for line in others)
    st.html(f'<div class="rv-sentences"><p class="rv-first">{escape(first)}</p>{lines}</div>')
    st.html(tiles_html(view.tiles))
    warnings = "".join(f'<p class="rv-caution">{escape(line)}</p>' for line in view.warnings)
    st.html(f"<div>{warnings}</div>")


def _show_chapter(view: BacktestView) -> None:
    titles = [section.title for section in view.sections]
    chosen = st.pills(
        "Chapter", [*titles, _RESTS_ON], default=titles[0], label_visibility="collapsed"
    )
    # A second press on a chapter takes the choice back.
    chosen = chosen or titles[0]
    if chosen == _RESTS_ON:
        st.html(facts_html(view.facts))
    for number, section in enumerate(view.sections):
        if section.title == chosen:
            for line in section.lines:
                st.html(f"<p>{escape(line)}</p>")
            for place, part in enumerate(section.parts):
                _show_part(part, f"part-{number}-{place}")


def _show_part(part: ViewPart, key: str) -> None:
    if part.title:
        st.html(f'<h4 class="rv-part">{escape(part.title)}</h4>')
    if part.figure is not None:
        st.plotly_chart(part.figure, key=key, config={"displayModeBar": False})
    else:
        st.html(table_html(part.columns, part.rows))
    if part.note:
        st.html(f'<p class="rv-note">{escape(part.note)}</p>')


show_account(require_reviewer())
_show()
