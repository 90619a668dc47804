"""The backtest in a browser: drawn by what the server sends, readable on a desktop and a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.dashboards.test_backtest_page import write_backtest

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]


@pytest.fixture
def backtested(desk: Any) -> Iterator[Any]:
    """The served desk, with a backtest that is gone after the test."""
    write_backtest(desk.run.path)
    yield desk
    for name in ("backtest.json", "backtest.html"):
        (desk.run.path / name).unlink()


def test_the_backtest_is_drawn_and_nothing_comes_from_elsewhere(
    backtested: Any, open_tab: Tab, log_in: Tab, drawn: Callable[[Page], None], tmp_path: Path
) -> None:
    backtested.account("tom")
    page, foreign, errors = open_tab(), [], []
    own = urlsplit(backtested.url).netloc
    page.on("request", lambda r: foreign.append(r.url) if urlsplit(r.url).netloc != own else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    log_in(page, backtested, "tom")
    page.get_by_role("link", name="Backtest").click()
    expect(page.get_by_role("heading", name="Backtest of desk on us4")).to_be_visible()
    expect(page.get_by_text("Is it luck? DSR")).to_be_visible()
    # Four arms, each above as equity and below as drawdown.
    expect(page.locator(".js-plotly-plot .scatterlayer path.js-line")).to_have_count(8)
    page.get_by_text("Trades", exact=True).click()
    expect(page.locator(".updatemenu-header").first).to_be_visible()
    expect(page.get_by_text("Orders and closings")).to_be_visible()
    page.get_by_text("Month by month", exact=True).click()
    expect(page.locator(".heatmaplayer")).to_have_count(1)
    drawn(page)
    page.screenshot(path=tmp_path / "backtest.png")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as one file").click()
    assert download.value.path().read_text() == "<p>the page</p>"
    assert [url for url in foreign if not url.startswith(("blob:", "data:"))] == []
    assert errors == []


def test_a_phone_scrolls_tables_not_the_page(backtested: Any, open_tab: Tab, log_in: Tab) -> None:
    backtested.account("eva")
    page = log_in(open_tab(390, 844), backtested, "eva")
    page.goto(f"{backtested.url}/backtest")
    page.get_by_text("Is it luck?", exact=True).click()
    expect(page.get_by_text("Between arms, on the same bars")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
