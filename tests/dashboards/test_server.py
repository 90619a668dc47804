"""The routes beside the pages, asked over HTTP: what they refuse, and in which words."""

import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPMessage
from pathlib import Path

import pytest

from tests.services.desk_run import PASSWORD, DeskRun, make_run
from tests.services.desk_server import serve
from trading_rlhf.feedback import create_account
from trading_rlhf.services.access import AccessService
from trading_rlhf.services.runs import open_run, system_clock
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import open_store


@dataclass(frozen=True)
class Reply:
    status: int
    headers: HTTPMessage
    text: str

    def cookie(self, name: str) -> str:
        """Value and attributes of a cookie that the reply sets."""
        found = [c for c in self.headers.get_all("Set-Cookie") or () if c.startswith(f"{name}=")]
        return found[0] if found else ""


class Browser:
    """Sends what a browser would, follows nothing and keeps no cookies by itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = urllib.request.build_opener(_NoRedirect)

    def ask(
        self, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.url + path, data, headers or {})
        try:
            with self.opener.open(request, timeout=120) as reply:
                return Reply(reply.status, reply.headers, reply.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read().decode())

    def log_in(self, name: str, password: str, headers: dict[str, str] | None = None) -> Reply:
        form = self.ask("/auth/login")
        cookie = form.cookie("trlhf_form").partition(";")[0]
        (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', form.text)
        return self.ask(
            "/auth/login",
            {"name": name, "password": password, "csrf": csrf},
            {"Cookie": cookie, **(headers or {})},
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@pytest.fixture(scope="module")
def keys() -> Secrets:
    return Secrets(b"audit key of the server's tests..", "session key of the server's tests.")


@pytest.fixture(scope="module")
def served_run(tmp_path_factory: pytest.TempPathFactory, keys: Secrets) -> DeskRun:
    live_until = system_clock() + timedelta(hours=2)
    path = tmp_path_factory.mktemp("served") / "desk"
    run = make_run(path, keys.audit_key, system_clock, live_until=live_until)
    with open_store(path / "store.db", keys.audit_key, system_clock) as store:
        create_account(store, "locked", PASSWORD, "reviewer")
    (path / "report.html").write_text("<p>the report</p>")
    return run


@pytest.fixture(scope="module")
def browser(
    served_run: DeskRun, keys: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    with serve(served_run.path, keys, tmp_path_factory.mktemp("log") / "server.log") as url:
        yield Browser(url)


def test_a_login_sets_a_cookie_that_scripts_and_other_sites_cannot_use(browser: Browser) -> None:
    reply = browser.log_in("ana", PASSWORD)
    assert reply.status == 303
    assert reply.headers["Location"] == "/"
    cookie = reply.cookie("trlhf_session")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie
    assert PASSWORD not in cookie


def test_under_tls_the_cookie_is_secure(browser: Browser) -> None:
    reply = browser.log_in("ana", PASSWORD, {"X-Forwarded-Proto": "https"})
    assert "Secure" in reply.cookie("trlhf_session")


@pytest.mark.parametrize("name", ["ana", "nobody", "<script>alert(1)</script>"])
def test_a_wrong_password_is_one_sentence_whoever_it_is(browser: Browser, name: str) -> None:
    reply = browser.log_in(name, "not the password")
    assert reply.status == 401
    assert reply.cookie("trlhf_session") == ""
    (sentence,) = re.findall(r'<p role="alert">(.*?)</p>', reply.text)
    assert sentence.startswith("Name and password must belong together")
    assert "<script>" not in reply.text
    browser.log_in("ana", PASSWORD)


def test_a_name_is_locked_after_too_many_failures(browser: Browser) -> None:
    for _ in range(5):
        assert browser.log_in("locked", "not the password").status == 401
    reply = browser.log_in("locked", PASSWORD)
    assert reply.status == 429
    assert "locked" in reply.text
    assert reply.cookie("trlhf_session") == ""


@pytest.mark.parametrize("csrf", ["", "made up"])
def test_a_form_from_elsewhere_is_refused(browser: Browser, csrf: str) -> None:
    form = {"name": "ana", "password": PASSWORD, "csrf": csrf}
    for headers in ({}, {"Cookie": f"trlhf_form={csrf}"}):
        reply = browser.ask("/auth/login", form, headers)
        assert reply.status == 403
        assert reply.cookie("trlhf_session") == ""


def test_a_huge_form_is_refused(browser: Browser) -> None:
    assert browser.ask("/auth/login", {"name": "a" * 20_000}).status == 413


def test_the_login_page_runs_no_script_and_fits_in_no_frame(browser: Browser) -> None:
    reply = browser.ask("/auth/login")
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"


def test_pages_fit_in_no_foreign_frame(browser: Browser) -> None:
    assert browser.ask("/").headers["Content-Security-Policy"] == "frame-ancestors 'self'"


def test_the_report_needs_a_login_and_cannot_touch_the_session(browser: Browser) -> None:
    assert browser.ask("/run/report.html").status == 303
    forged = browser.ask("/run/report.html", headers={"Cookie": "trlhf_session=abc.def"})
    assert forged.status == 303
    assert "the report" not in forged.text
    cookie = browser.log_in("ana", PASSWORD).cookie("trlhf_session").partition(";")[0]
    reply = browser.ask("/run/report.html", headers={"Cookie": cookie})
    assert (reply.status, reply.text) == (200, "<p>the report</p>")
    assert reply.headers["Content-Security-Policy"].startswith("sandbox allow-scripts")


def test_logging_out_needs_the_token_and_ends_the_session(
    browser: Browser, served_run: DeskRun, keys: Secrets
) -> None:
    cookie = browser.log_in("ana", PASSWORD).cookie("trlhf_session").partition(";")[0]
    run = open_run(served_run.path, keys, system_clock)
    access = AccessService(run, keys, system_clock)
    value = cookie.partition("=")[2]
    reviewer = access.reviewer(value)
    assert reviewer is not None
    headers = {"Cookie": cookie}
    assert browser.ask("/auth/logout", {}, headers).status == 403
    assert browser.ask("/auth/logout", headers=headers).status == 405
    assert access.reviewer(value) is not None
    reply = browser.ask("/auth/logout", {"csrf": reviewer.csrf}, headers)
    assert (reply.status, reply.headers["Location"]) == (303, "/auth/login")
    assert access.reviewer(value) is None
    run.close()


def test_a_missing_run_ends_the_server_with_one_sentence(tmp_path: Path, keys: Secrets) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dashboards.server"],
        env={
            "PATH": "/usr/bin",
            "TRLHF_RUN": str(tmp_path / "nowhere"),
            "TRLHF_AUDIT_KEY": keys.audit_key.decode(),
            "TRLHF_SESSION_KEY": keys.session_key,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The dashboard cannot start: a run directory must hold config")
    assert "Traceback" not in done.stderr
