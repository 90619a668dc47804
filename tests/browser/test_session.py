"""A reviewer's session: log in, answer by key, change one's mind, come back."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.services.desk_run import make_proposal
from trading_rlhf.services.runs import system_clock

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]
ATTACK = '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">'
# Done when an image asked for later has failed, and so any of the attack before it.
FAILED_IMAGE = "new Promise(done => { const i = new Image(); i.onerror = done; i.src = 'x'; })"
# Both before the page can hear of either, however slow the machine.
PRESS_TWICE = """key => { for (const _ of [1, 2]) for (const kind of ["keydown", "keyup"])
    document.body.dispatchEvent(
        new KeyboardEvent(kind, {key, code: "Key" + key.toUpperCase(), bubbles: true})); }"""


def headline(page: Page) -> str:
    return page.locator(".rv-head h1").inner_text()


def test_a_whole_session(desk: Any, open_tab: Tab, log_in: Tab, press: Any) -> None:
    until = system_clock() + timedelta(hours=2)
    live = make_proposal(desk.run.bars, 2400, "MSFT", "live", target=0.074, expires_at=until)
    desk.add(live)
    page = open_tab()
    statuses = []
    page.on("response", lambda r: statuses.append(r.status) if "/auth/login" in r.url else None)
    log_in(page, desk, password="not the password")
    expect(page.get_by_role("alert")).to_contain_text("Name and password must belong together")
    assert statuses[-1] == 401
    log_in(page, desk)

    first = headline(page)
    assert re.fullmatch(r"Buy [\d,]+ MSFT", first)
    press(page, "a")
    expect(page.locator(".rv-last")).to_contain_text(f"Approved: {first}")

    masked = headline(page)
    page.get_by_label("Note").click()
    page.keyboard.type("a x s z w: too much of it")
    page.get_by_text("too large").click()
    assert headline(page) == masked
    assert len(desk.answers(desk.run.ana)) == 1
    press(page, "x")
    expect(page.locator(".rv-last")).to_contain_text("a x s z w: too much of it")
    expect(page.get_by_label("Note")).to_have_value("")

    press(page, "z")
    assert headline(page) == masked
    page.reload()
    page.locator(".rv-head h1").wait_for()
    assert headline(page) == masked
    expect(page.locator(".rv-last")).to_contain_text(f"Approved: {first}")

    events = desk.answers(desk.run.ana)
    assert [(e.kind, e.payload.get("verdict"), e.payload.get("tags")) for e in events] == [
        ("verdict", "approve", []),
        ("verdict", "reject", ["too large"]),
        ("undo", None, None),
    ]
    assert events[0].subject == live.id
    assert events[1].subject == events[2].subject

    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in").wait_for()
    page.goto(desk.url)
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def test_resizing_by_keys(
    desk: Any, open_tab: Tab, log_in: Tab, press: Any, drawn: Callable[[Page], None]
) -> None:
    bo = desk.account("bo")
    page = log_in(open_tab(), desk, "bo")
    for key, words in (
        ("w", "50% of the proposed trade"),
        ("1", "25% of the proposed trade"),
        ("Escape", "Portfolio, % of equity"),
        ("w", "50% of the proposed trade"),
        ("3", "75% of the proposed trade"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_text(words)).to_be_visible()
        # A page that is being replaced still has its buttons, whose keys nobody hears any more.
        drawn(page)
    press(page, "w")
    (event,) = desk.answers(bo)
    assert event.payload["verdict"] == "resize"


def test_a_doubled_press_never_answers_a_trade_that_was_not_looked_at(
    desk: Any, open_tab: Tab, log_in: Tab, press: Any
) -> None:
    lea = desk.account("lea")
    page = log_in(open_tab(), desk, "lea")
    before = page.locator(".rv-side").text_content() or ""
    page.evaluate(PRESS_TWICE, "a")
    expect(page.locator(".rv-side")).not_to_have_text(before)
    # The server takes one after the other: with this answer, all that came before it are there.
    press(page, "x")
    assert [e.payload["verdict"] for e in desk.answers(lea)] == ["approve", "reject"]


def test_who_types_while_the_next_trade_arrives_goes_on_typing(
    desk: Any, open_tab: Tab, log_in: Tab, press: Any
) -> None:
    max_ = desk.account("max")
    page = log_in(open_tab(), desk, "max")
    page.keyboard.press("a")
    page.get_by_label("Note").focus()
    page.keyboard.type("a x a x a x a x", delay=60)
    page.locator(".rv-head h1").click()
    press(page, "s")
    assert [e.payload["verdict"] for e in desk.answers(max_)] == ["approve", "cannot_tell"]


def test_a_script_in_a_note_is_text(desk: Any, open_tab: Tab, log_in: Tab, press: Any) -> None:
    desk.account("cy")
    page = log_in(open_tab(), desk, "cy")
    page.get_by_label("Note").fill(ATTACK)
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".rv-last")).to_contain_text(ATTACK)
    page.evaluate(FAILED_IMAGE)
    assert page.evaluate("window.hacked") is None


def test_an_answer_after_the_deadline_is_refused_and_the_note_stays(
    desk: Any, open_tab: Tab, log_in: Tab
) -> None:
    bars = desk.run.bars
    # A busy machine may need longer than that to log somebody in.
    for seconds in (5, 20, 80):
        dee, page = desk.account(f"dee{seconds}"), open_tab()
        page.context.clear_cookies()
        soon = system_clock() + timedelta(seconds=seconds)
        bar = 2500 + seconds
        desk.add(make_proposal(bars, bar, "IBM", "live", target=0.1, expires_at=soon))
        log_in(page, desk, f"dee{seconds}")
        if "IBM" in headline(page):
            break
    assert "IBM" in headline(page)
    page.get_by_label("Note").fill("written for nothing?")
    while system_clock() < soon + timedelta(seconds=1):
        time.sleep(0.2)
    page.get_by_role("button", name="Approve").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("A live trade is answered before its deadline")
    expect(page.get_by_label("Note")).to_have_value("written for nothing?")
    assert desk.answers(dee) == []
    page.get_by_role("button", name="Next item").click()
    expect(alert).to_have_count(0)
    assert "Asset" in headline(page)


def test_a_session_that_ended_elsewhere_stores_nothing(
    desk: Any, open_tab: Tab, log_in: Tab
) -> None:
    eve = desk.account("eve")
    page = log_in(open_tab(), desk, "eve")
    other = page.context.new_page()
    other.goto(desk.url)
    other.get_by_role("button", name="Log out").click()
    other.get_by_role("button", name="Log in").wait_for()
    page.keyboard.press("a")
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    assert desk.answers(eve) == []


def test_a_forged_cookie_opens_nothing(desk: Any, open_tab: Tab) -> None:
    page = open_tab()
    cookie = {"name": "trlhf_session", "value": "forged.signature", "url": desk.url}
    page.context.add_cookies([cookie])
    page.goto(desk.url)
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    assert page.locator(".rv-head").count() == 0
