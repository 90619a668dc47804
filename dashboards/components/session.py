"""Who is looking: the reviewer comes from the login cookie, never from the page."""

import os
from html import escape
from pathlib import Path

import streamlit as st

from trading_rlhf.services.access import COOKIE, AccessService, Reviewer
from trading_rlhf.services.learning import BackgroundFit
from trading_rlhf.services.review import ReviewService
from trading_rlhf.services.runs import Run, open_run, system_clock
from trading_rlhf.services.secrets import load_secrets

__all__ = [
    "access_service",
    "close_run",
    "current_reviewer",
    "require_reviewer",
    "review_service",
    "run_dir",
    "session_cookie",
    "show_account",
    "show_login_link",
]


def run_dir() -> Path:
    """Return the run that this dashboard serves."""
    return Path(os.environ.get("TRLHF_RUN", "runs/desk"))


@st.cache_resource(show_spinner=False)
def _open_run(path: str) -> Run:
    return open_run(path, load_secrets(), system_clock)


@st.cache_resource(show_spinner=False)
def _review_service(path: str) -> ReviewService:
    fit = BackgroundFit(path, load_secrets(), system_clock)
    return ReviewService(_open_run(path), system_clock, fit.start_if_due)


@st.cache_resource(show_spinner=False)
def _access_service(path: str) -> AccessService:
    return AccessService(_open_run(path), load_secrets(), system_clock)


def review_service() -> ReviewService:
    """Return the service behind the review page, one per server."""
    return _review_service(str(run_dir()))


def access_service() -> AccessService:
    """Return the service that knows who is logged in, one per server."""
    return _access_service(str(run_dir()))


def close_run() -> None:
    """Close the run and forget the services, when a server or a test ends."""
    _open_run(str(run_dir())).close()
    st.cache_resource.clear()


def session_cookie() -> str | None:
    """Return the cookie that came with this browser's connection."""
    return st.context.cookies.get(COOKIE)


def current_reviewer() -> Reviewer | None:
    """Ask the server who this browser is, on every action: a session may have ended meanwhile."""
    return access_service().reviewer(session_cookie())


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
