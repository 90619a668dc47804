"""The dashboard: pages to review proposed trades, with results of the run, with its backtest."""

from pathlib import Path

import streamlit as st

__all__: list[str] = []

_HERE = Path(__file__).parent

# A file, not a name from the icon font: that would be fetched from elsewhere by every browser.
st.set_page_config(
    "Trade review",
    page_icon=_HERE / "components" / "icon.png",
    layout="wide",
    initial_sidebar_state="collapsed",
)
st.html(_HERE / "components" / "style.css")
st.navigation(
    [
        st.Page(
            _HERE / "pages" / "review_page.py",
            title="Review",
            url_path="review",
            default=True,
        ),
        st.Page(
            _HERE / "pages" / "results_page.py",
            title="Results",
            url_path="results",
        ),
        st.Page(
            _HERE / "pages" / "backtest_page.py",
            title="Backtest",
            url_path="backtest",
        ),
    ],
    position="top",
).run()
