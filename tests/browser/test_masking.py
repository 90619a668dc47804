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
AFTER = 60


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
    sources = [page.content()]
    for _ in range(4):
        press(page, "s")
        page.wait_for_timeout(700)
        sources.append(page.content())
    sent = "\n".join(frames + sources)
    # Only what was sent: the page itself also holds the coordinates of everything drawn.
    numbers = set(re.findall(r"\d+\.\d+", "\n".join(frames)))

    run = desk.run
    with open_store(run.path / "store.db", desk.secrets.audit_key, system_clock) as store:
        ids = [event.subject for event in desk.answers(kim)]
        review = ReviewDesk(store, system_clock)
        waiting = review.next_item(kim.id)
        shown = [*review.proposals(ids), waiting.proposal]
    assert len(shown) == 5
    for proposal in shown:
        column = run.bars.symbols.index(proposal.symbol)
        closes = run.bars.raw_close[:, column]
        rebased = [str(round(float(c / proposal.price * 100), 2)) for c in closes]
        t = proposal.bar
        # The search would find what is there: the closes up to the decision are.
        assert sum(number in numbers for number in rebased[t - 40 : t]) == 40
        assert proposal.id not in sent
        assert f"{proposal.price:.2f}" not in numbers
        assert f"{run.bars.dates[t]:%Y-%m-%d}" not in sent
        drawn = {number for item in shown for number in history(run, item)}
        later = [n for n in rebased[t + 1 : t + AFTER] if n not in drawn and n[-3] == "."]
        assert len(later) > AFTER / 4
        assert [number for number in later if number in numbers] == []
    for symbol in run.bars.symbols:
        assert symbol not in sent


def as_text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def history(run: Any, proposal: Any) -> set[str]:
    """Every rebased number that an item may draw: prices up to its decision and their mean."""
    known = run.bars.known_at(proposal.bar, run.bars.symbols.index(proposal.symbol), 141)
    mean = [known.close[i - 19 : i + 1].mean() for i in range(19, len(known.close))]
    series = (known.open, known.high, known.low, known.close, mean)
    return {str(round(float(v / proposal.price * 100), 2)) for values in series for v in values}
