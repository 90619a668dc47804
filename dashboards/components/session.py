"""Who is looking: the reviewer comes from the login cookie, never from the page."""

import os
from html import escape
from pathlib import Path

import streamlit as st

from trading_rlhf.services.access import COOKIE, AccessService, Reviewer
from trading_rlhf.services.review import ReviewService
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.secrets import load_secrets

__all__ = ["access_service", "current_reviewer", "require_reviewer", "review_service", "run_dir"]


def run_dir() -> Path:
    """Return the run that this dashboard serves."""
    return Path(os.environ.get("TRLHF_RUN", "runs/desk"))


@st.cache_resource(show_spinner=False)
def _review_service(path: str) -> ReviewService:
    return ReviewService(path, load_secrets(), system_clock)


@st.cache_resource(show_spinner=False)
def _access_service(path: str) -> AccessService:
    return AccessService(path, load_secrets(), system_clock)


def review_service() -> ReviewService:
    """Return the service behind the review page, opened once per server."""
    return _review_service(str(run_dir()))


def access_service() -> AccessService:
    """Return the service that knows who is logged in, opened once per server."""
    return _access_service(str(run_dir()))


def current_reviewer() -> Reviewer | None:
    """Ask the server who this browser is, on every action: a session may have ended meanwhile."""
    return access_service().reviewer(st.context.cookies.get(COOKIE))


def require_reviewer() -> Reviewer:
    """Return who is logged in, or show a link to log in and stop."""
    reviewer = current_reviewer()
    if reviewer is None:
        show_login_link("Log in to see this page.")
        st.stop()
    return reviewer


def show_login_link(sentence: str) -> None:
    """Show where to log in, in this tab."""
    st.html(
        f'<div class="rv-login"><p>{escape(sentence)}</p>'
        '<a class="rv-button" href="/auth/login" target="_self">Log in</a></div>'
    )


def show_account(reviewer: Reviewer) -> None:
    """Show who is logged in and a way out."""
    st.html(
        f'<form class="rv-account" action="/auth/logout" method="post">'
        f'<input type="hidden" name="csrf" value="{escape(reviewer.csrf)}">'
        f"<span>{escape(reviewer.display_name)}</span>"
        '<button type="submit">Log out</button></form>'
    )
