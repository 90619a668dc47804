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
    desk: Any, open_tab: Tab, log_in: Tab, press: Any, received: Callable[[Page], list[str]]
) -> None:
    page = open_tab()
    frames = received(page)
    kim = desk.account("kim")
    log_in(page, desk, "kim")
    chunks, sources = [frames[:]], [page.content()]
    for _ in range(4):
        frames.clear()
        press(page, "s")
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
    rebased = [written(close / proposal.price * 100) for close in closes]
    assert all(ways & numbers for ways in rebased[:41])
    drawn = history(run, proposal)
    later = {number for ways in rebased[41:] for number in ways - drawn if number[-3] == "."}
    assert len(later) > 20
    assert later & numbers == set()
    assert f"{proposal.price:.2f}" not in numbers - drawn


def written(value: float) -> set[str]:
    """A number of two decimals; one that lies just between two may be rounded to either."""
    return {str(round(float(value) + tiny, 2)) for tiny in (-1e-9, 1e-9)}


def history(run: Any, proposal: Any) -> set[str]:
    """Every rebased number that an item may draw: prices up to its decision and their mean."""
    known = run.bars.known_at(proposal.bar, run.bars.symbols.index(proposal.symbol), 141)
    mean = [known.close[i - 19 : i + 1].mean() for i in range(19, len(known.close))]
    series = (known.open, known.high, known.low, known.close, mean)
    return {way for values in series for v in values for way in written(v / proposal.price * 100)}
