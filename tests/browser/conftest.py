"""A real browser against the real server process.

Without Chromium these tests are left out, except in CI, where a missing browser is a failure.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

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
# Passed only by a page that will never come: a busy machine may take ten times as long as usual.
TIMEOUT_MS = 90_000

# A busy browser hears keys only a while after it has drawn the buttons that they belong to.
DRAWN = """() =>
    document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
    && (!document.querySelector(".rv-head")
        || document.querySelectorAll("[class*=st-key-approve-]").length === 1
        && window.hotkeys.getAllKeyCodes().some(key => key.shortcut === "a"))"""
NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


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


@pytest.fixture(scope="session")
def window(chromium: Browser) -> BrowserContext:
    """One window for all tests: it need not fetch and compile the scripts of the page again."""
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    return context


@pytest.fixture
def open_tab(window: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Open a tab without cookies, of a desktop's size unless told otherwise."""

    def open_one(width: int = 1280, height: int = 800) -> Page:
        page = window.new_page()
        page.set_viewport_size({"width": width, "height": height})
        return page

    window.clear_cookies()
    yield open_one
    for page in window.pages:
        page.close()


def wait_until_drawn(page: Page) -> None:
    """Wait until all is sent, the buttons before are gone and those that stand there hear keys."""
    page.wait_for_function(DRAWN)
    page.evaluate(NEXT_FRAME)


@pytest.fixture
def drawn() -> Callable[[Page], None]:
    return wait_until_drawn


@pytest.fixture
def press() -> Callable[[Page, str], None]:
    """Press a key outside of every field and wait until the next trade stands there."""

    def do(page: Page, key: str) -> None:
        wait_until_drawn(page)
        before = page.locator(".rv-side").text_content() or ""
        page.keyboard.press(key)
        expect(page.locator(".rv-side")).not_to_have_text(before)
        wait_until_drawn(page)

    return do


@pytest.fixture
def received() -> Callable[[Page], list[str]]:
    """Collect what the server sends to a page, from its first request on."""

    def collect(page: Page) -> list[str]:
        frames: list[str] = []

        def note(data: str | bytes) -> None:
            frames.append(data if isinstance(data, str) else data.decode("utf-8", "replace"))

        page.on("websocket", lambda socket: socket.on("framereceived", note))
        return frames

    return collect


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
            wait_until_drawn(page)
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
