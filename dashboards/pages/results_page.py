"""What the run found: its figures and its report."""

from html import escape

import streamlit as st

from dashboards.components.session import require_reviewer, run_dir, show_account
from dashboards.components.tables import facts_html, table_html
from dashboards.components.words import sentence
from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.services.results import headline, read_report, report_path

__all__: list[str] = []

_REPORT_HEIGHT = 1400


def _show_figures() -> None:
    try:
        figures = headline(run_dir())
    except TradingRlhfError as error:
        st.error(sentence(error))
        return
    if figures is None and report_path(run_dir()) is not None:
        return
    if figures is None:
        st.subheader("Nothing has been run yet")
        st.write(
            "This run has no results. They appear here after a backtest: "
            "run `trading-rlhf backtest` on it."
        )
        return
    st.subheader(figures.title)
    if figures.simulated:
        st.html(
            '<p><b class="rv-badge rv-practice">Simulated desk</b>'
            "The answers behind these figures come from simulated traders, not from people.</p>"
        )
    if figures.sentences:
        lines = "".join(f"<div>{escape(line)}</div>" for line in figures.sentences)
        st.html(f'<div class="rv-sentences">{lines}</div>')
    if figures.facts:
        st.html(facts_html(figures.facts))
    if figures.rows:
        st.html(table_html(figures.columns, figures.rows))


def _show_report() -> None:
    if report_path(run_dir()) is None:
        return
    st.download_button(
        "Download the report",
        lambda: read_report(run_dir()),
        file_name="report.html",
        mime="text/html",
        on_click="ignore",
    )
    st.iframe("/run/report.html", height=_REPORT_HEIGHT, alt="Report of the run")


show_account(require_reviewer())
_show_figures()
_show_report()
