"""What may not reach the browser is searched for in everything that does."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.services.runs import system_clock
from trading_rlhf.store import open_store

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]
AFTER = 250


def test_neither_symbol_nor_date_nor_any_later_close_reaches_the_browser(
    desk: Any, open_tab: Tab, log_in: Tab, press: Any
) -> None:
    page = open_tab()
    frames: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda data: frames.append(as_text(data))),
    )
    kim = desk.account("kim")
    log_in(page, desk, "kim")
    page.wait_for_timeout(700)
    chunks, sources = [frames[:]], [page.content()]
    for _ in range(4):
        frames.clear()
        press(page, "s")
        page.wait_for_timeout(700)
        chunks.append(frames[:])
        sources.append(page.content())
    sent = "\n".join([*sources, *(frame for chunk in chunks for frame in chunk)])

    run = desk.run
    with open_store(run.path / "store.db", desk.secrets.audit_key, system_clock) as store:
        review = ReviewDesk(store, system_clock)
        answered = review.proposals([event.subject for event in desk.answers(kim)])
        waiting = review.next_item(kim.id)
    for proposal, chunk in zip([*answered, waiting.proposal], chunks, strict=True):
        check_numbers(run, proposal, set(re.findall(r"\d+\.\d+", "\n".join(chunk))))
        assert proposal.id not in sent
        assert f"{run.bars.dates[proposal.bar]:%Y-%m-%d}" not in sent
    for symbol in run.bars.symbols:
        assert symbol not in sent


def check_numbers(run: Any, proposal: Any, numbers: set[str]) -> None:
    """Find the closes up to the decision among the numbers sent, and none of those after it."""
    t, column = proposal.bar, run.bars.symbols.index(proposal.symbol)
    closes = run.bars.raw_close[t - 40 : t + AFTER, column]
    rebased = [str(round(float(close / proposal.price * 100), 2)) for close in closes]
    assert set(rebased[:41]) <= numbers
    drawn = history(run, proposal)
    later = [number for number in rebased[41:] if number not in drawn and number[-3] == "."]
    assert len(later) > 20
    assert [number for number in later if number in numbers] == []
    assert f"{proposal.price:.2f}" not in numbers - drawn


def as_text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def history(run: Any, proposal: Any) -> set[str]:
    """Every rebased number that an item may draw: prices up to its decision and their mean."""
    known = run.bars.known_at(proposal.bar, run.bars.symbols.index(proposal.symbol), 141)
    mean = [known.close[i - 19 : i + 1].mean() for i in range(19, len(known.close))]
    series = (known.open, known.high, known.low, known.close, mean)
    return {str(round(float(v / proposal.price * 100), 2)) for values in series for v in values}
