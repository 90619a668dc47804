"""A real browser against the real server process.

Without Chromium these tests are left out, except in CI, where a missing browser is a failure.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.services.desk_run import PASSWORD, DeskRun, make_proposal, make_run
from tests.services.desk_server import serve
from trading_rlhf.feedback import Account, ReviewDesk, create_account
from trading_rlhf.proposals import Proposal
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import Event, open_store, read_events

CHROMIUM = Path("/usr/bin/chromium")
# Without these Chromium looks for Google's hosts at every start.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
TIMEOUT_MS = 20_000


@dataclass(frozen=True)
class Desk:
    """A served run."""

    url: str
    run: DeskRun
    secrets: Secrets

    def account(self, name: str) -> Account:
        """Make another reviewer."""
        with open_store(self.run.path / "store.db", self.secrets.audit_key, system_clock) as store:
            return create_account(store, name, PASSWORD, "reviewer", display_name=name.title())

    def add(self, *proposals: Proposal) -> None:
        """Put proposals into the queue while the server runs."""
        with open_store(self.run.path / "store.db", self.secrets.audit_key, system_clock) as store:
            ReviewDesk(store, system_clock).add_proposals(proposals)

    def answers(self, reviewer: Account) -> list[Event]:
        """Everything that a reviewer did, except what was merely shown."""
        with (
            open_store(self.run.path / "store.db", self.secrets.audit_key, system_clock) as store,
            store.read() as session,
        ):
            events = read_events(session, "answer")
        return [e for e in events if e.actor == reviewer.id and e.kind != "shown"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        sentence = f"{CHROMIUM} is missing: nothing was tried in a browser (apt install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    with sync_playwright() as playwright:
        expect.set_options(timeout=TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a fresh browser without cookies, of a desktop's size unless told otherwise."""
    contexts = []

    def open_one(width: int = 1280, height: int = 800) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def press() -> Callable[[Page, str], None]:
    """Press a key outside of every field and wait until the next trade stands there."""

    def do(page: Page, key: str) -> None:
        before = page.locator(".rv-side").text_content() or ""
        page.keyboard.press(key)
        expect(page.locator(".rv-side")).not_to_have_text(before)

    return do


@pytest.fixture
def log_in() -> Callable[..., Page]:
    """Log in and wait for the first trade."""

    def do(page: Page, desk: Desk, name: str = "ana", password: str = PASSWORD) -> Page:
        page.goto(f"{desk.url}/auth/login")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        if password == PASSWORD:
            page.locator(".rv-head h1").wait_for()
            page.locator(".js-plotly-plot .main-svg").first.wait_for()
        return page

    return do


@pytest.fixture(scope="session")
def desk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A served desk with masked trades; a test that needs a live one adds it and uses it up."""
    folder = tmp_path_factory.mktemp("served")
    secrets = Secrets(b"audit key of the browser's tests", "session key of the browser tests")
    run = make_run(folder / "desk", secrets.audit_key, system_clock, live_until=None)
    with serve(run.path, secrets, folder / "server.log") as url:
        desk = Desk(url, run, secrets)
        symbols = ("IBM", "MSFT", "AAPL")
        desk.add(
            *(
                make_proposal(run.bars, 1300 + 20 * i, symbols[i % 3], target=0.1 + 0.005 * i)
                for i in range(40)
            )
        )
        yield desk
