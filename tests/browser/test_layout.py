"""One trade fits on one screen, on a desktop and on a phone, and nothing comes from elsewhere."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]
ANSWERS = ("Approve", "Reject", "Resize", "Cannot tell", "Undo")


def inside(page: Page, name: str) -> bool:
    box = page.get_by_role("button", name=name).bounding_box()
    size = page.viewport_size
    assert box is not None
    assert size is not None
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"]


def test_a_desktop_shows_everything_without_scrolling(
    desk: Any, open_tab: Tab, log_in: Tab
) -> None:
    desk.account("fay")
    page = log_in(open_tab(), desk, "fay")
    for selector in (".rv-head", ".js-plotly-plot", ".rv-figures", ".rv-traded", ".rv-side"):
        expect(page.locator(selector).first).to_be_in_viewport(ratio=1)
    expect(page.get_by_label("Note")).to_be_in_viewport(ratio=1)
    assert all(inside(page, name) for name in ANSWERS)
    heights = page.evaluate(
        "(() => { const e = document.querySelector('[data-testid=stMain]');"
        " return [e.scrollHeight, e.clientHeight]; })()"
    )
    assert heights[0] <= heights[1]
    truncated = page.evaluate(
        "[...document.querySelectorAll('.st-key-answers p')]"
        ".filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
    )
    assert truncated == []


def test_a_phone_keeps_the_answers_in_reach(desk: Any, open_tab: Tab, log_in: Tab) -> None:
    desk.account("gil")
    page = log_in(open_tab(390, 844), desk, "gil")
    assert all(inside(page, name) for name in ANSWERS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nothing_is_fetched_from_elsewhere_and_nothing_fails(
    desk: Any, open_tab: Tab, log_in: Tab
) -> None:
    desk.account("hal")
    page = open_tab()
    foreign, errors = [], []
    own = urlsplit(desk.url).netloc

    def note_request(url: str) -> None:
        if urlsplit(url).netloc not in ("", own):
            foreign.append(url)

    page.on("request", lambda request: note_request(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    log_in(page, desk, "hal")
    page.get_by_role("link", name="Results").click()
    expect(page.get_by_text("Nothing has been run yet")).to_be_visible()
    page.get_by_role("link", name="Review").click()
    page.locator(".rv-head h1").wait_for()
    assert foreign == []
    assert errors == []


def test_a_key_redraws_the_trade_alone(
    desk: Any, open_tab: Tab, log_in: Tab, press: Any, received: Callable[[Page], list[str]]
) -> None:
    """Seconds would depend on the machine; what the server sends again does not."""
    desk.account("ida")
    page = open_tab()
    frames = received(page)
    log_in(page, desk, "ida")
    assert "Log out" in "".join(frames)
    frames.clear()
    press(page, "s")
    sent = "".join(frames)
    assert page.locator(".rv-head h1").inner_text() in sent
    assert "Log out" not in sent


def test_the_report_is_embedded_and_can_be_downloaded(
    desk: Any, open_tab: Tab, log_in: Tab, drawn: Callable[[Page], None]
) -> None:
    desk.account("jo")
    report = desk.run.path / "report.html"
    report.write_text("<h1>What it found</h1><script>document.title='ran'</script>")
    page = log_in(open_tab(), desk, "jo")
    page.get_by_role("link", name="Results").click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="What it found")).to_be_visible()
    drawn(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the report").click()
    assert download.value.path().read_text() == report.read_text()
    report.unlink()
