import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboards.components import session
from tests.services.desk_run import DeskRun, make_proposal
from trading_rlhf.feedback import Answer, ReviewDesk
from trading_rlhf.services.access import AccessService
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import open_store

OpenPage = Callable[[str], AppTest]
PAGE = "review_page.py"


def html(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def press(page: AppTest, label: str) -> AppTest:
    (button,) = [button for button in page.button if button.label == label]
    return button.click().run()


def answers(desk_run: DeskRun, secrets: Secrets) -> list[Answer]:
    with open_store(desk_run.path / "store.db", secrets.audit_key, system_clock) as store:
        return ReviewDesk(store, system_clock).standing_answers()


def test_without_a_login_there_is_only_a_link_to_it(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    assert not page.exception
    assert 'href="/auth/login"' in html(page)
    assert "MSFT" not in html(page)
    assert len(page.button) == 0


@pytest.mark.usefixtures("logged_in")
def test_a_reviewer_sees_one_trade_and_five_keys(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    assert not page.exception
    assert "MSFT</h1>" in html(page)
    assert "3.0% → 7.4% of equity" in html(page)
    labels = {button.label: button.disabled for button in page.button}
    assert labels == {
        "Approve": False,
        "Reject": False,
        "Resize": False,
        "Cannot tell": False,
        "Undo": True,
    }
    assert {button.label: button.proto.shortcut for button in page.button} == {
        "Approve": "a",
        "Reject": "x",
        "Resize": "w",
        "Cannot tell": "s",
        "Undo": "z",
    }


@pytest.mark.usefixtures("logged_in")
def test_the_reasons_are_said_and_add_up(open_page: OpenPage) -> None:
    page = html(open_page(PAGE))
    assert (
        "Buys MSFT: 60-day trend +1.8 sd, holds less than usual; held back by cost and caution."
        in page
    )
    assert "Why the agent wants +4.40% of equity" in page
    assert "trades most like it" not in page
    parts = [float(part) for part in re.findall(r">([+-][0-9.]+)%</span>", page)]
    assert len(parts) == 6
    assert sum(parts) == pytest.approx(4.4)


@pytest.mark.usefixtures("logged_in")
def test_own_answers_to_like_trades_are_shown_as_text(
    open_page: OpenPage, desk_run: DeskRun, secrets: Secrets
) -> None:
    with open_store(desk_run.path / "store.db", secrets.audit_key, system_clock) as store:
        earlier = make_proposal(
            desk_run.bars, 2380, "MSFT", "live", target=0.06,
            expires_at=system_clock() + timedelta(hours=1),
        )  # fmt: skip
        desk = ReviewDesk(store, system_clock)
        desk.add_proposals([earlier])
        desk.submit(
            desk_run.ana.id, earlier.id, "reject", token="t", seconds=1.0, note="<b>no</b>",
            tags=("too costly",),
        )  # fmt: skip
    page = open_page(PAGE)
    shown = "<b>Rejected</b> a buy 3.0% → 6.0%: too costly “&lt;b&gt;no&lt;/b&gt;”"
    assert shown in html(page)
    press(page, "Approve")
    assert "Of trades like it you rejected 1 (too costly)" in html(page)
    assert "trades most like it" not in html(page)
    assert "&lt;b&gt;no" not in html(page)


@pytest.mark.usefixtures("logged_in")
def test_an_answer_carries_note_tags_and_rating_and_the_fields_are_empty_again(
    open_page: OpenPage, desk_run: DeskRun, secrets: Secrets
) -> None:
    page = open_page(PAGE)
    page.text_input[0].set_value("too late")
    page.button_group[0].set_value(["chasing"])
    page.feedback[0].set_value(1)
    press(page, "Reject")
    assert not page.exception
    (answer,) = answers(desk_run, secrets)
    assert (answer.verdict, answer.tags, answer.rating) == ("reject", ("chasing",), 2)
    assert answer.note_hash is not None
    assert page.text_input[0].value == ""
    assert page.button_group[0].value == []
    assert "Asset" in html(page)
    assert "Undo takes back: Rejected" in html(page)


@pytest.mark.usefixtures("logged_in")
def test_undo_brings_the_trade_back(
    open_page: OpenPage, desk_run: DeskRun, secrets: Secrets
) -> None:
    page = open_page(PAGE)
    press(page, "Approve")
    assert len(answers(desk_run, secrets)) == 1
    press(page, "Undo")
    assert answers(desk_run, secrets) == []
    assert "MSFT</h1>" in html(page)


@pytest.mark.usefixtures("logged_in")
def test_resizing_shows_what_it_would_be_and_sends_on_the_second_press(
    open_page: OpenPage, desk_run: DeskRun, secrets: Secrets
) -> None:
    page = press(open_page(PAGE), "Resize")
    assert page.number_input[0].value == 5.2
    assert "50% of the proposed trade" in html(page)
    press(page, "quarter")
    assert "25% of the proposed trade" in html(page)
    press(page, "Send resize")
    (answer,) = answers(desk_run, secrets)
    assert (answer.verdict, answer.resized_to) == ("resize", pytest.approx(0.041))


@pytest.mark.usefixtures("logged_in")
def test_resizing_can_be_left(open_page: OpenPage, desk_run: DeskRun, secrets: Secrets) -> None:
    page = press(press(open_page(PAGE), "Resize"), "Back")
    assert len(page.number_input) == 0
    assert answers(desk_run, secrets) == []


@pytest.mark.usefixtures("logged_in")
def test_a_closed_trade_is_refused_in_a_sentence_and_the_note_stays(
    open_page: OpenPage, desk_run: DeskRun, secrets: Secrets
) -> None:
    page = open_page(PAGE)
    with open_store(desk_run.path / "store.db", secrets.audit_key, system_clock) as store:
        live = desk_run.proposals[0].id
        ReviewDesk(store, system_clock).close_items([live], "superseded", "system")
    page.text_input[0].set_value("<script>alert(1)</script>")
    press(page, "Approve")
    assert not page.exception
    assert 'role="alert"' in html(page)
    assert "closed" in html(page)
    assert "<script>" not in html(page)
    assert page.text_input[0].value == "<script>alert(1)</script>"
    assert answers(desk_run, secrets) == []
    press(page, "Next item")
    assert 'role="alert"' not in html(page)
    assert "Asset" in html(page)


@pytest.mark.usefixtures("logged_in")
def test_an_empty_queue_says_so_and_can_still_undo(
    open_page: OpenPage, desk_run: DeskRun, secrets: Secrets
) -> None:
    page = open_page(PAGE)
    for _ in desk_run.proposals:
        press(page, "Cannot tell")
    assert not page.exception
    assert page.subheader[0].value == "Nothing to review"
    assert {b.label for b in page.button if not b.disabled} == {"Look again", "Undo"}
    press(page, "Undo")
    assert len(answers(desk_run, secrets)) == len(desk_run.proposals) - 1
    assert len(page.subheader) == 0


def test_a_session_that_ended_stores_nothing(
    open_page: OpenPage, logged_in: AccessService, desk_run: DeskRun, secrets: Secrets
) -> None:
    page = open_page(PAGE)
    reviewer = session.current_reviewer()
    assert reviewer is not None
    logged_in.log_out(session.session_cookie(), reviewer.csrf)
    press(page, "Approve")
    assert not page.exception
    assert answers(desk_run, secrets) == []
    assert 'href="/auth/login"' in html(page)


@pytest.mark.usefixtures("logged_in")
def test_a_note_is_shown_as_text(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    page.text_input[0].set_value("<img src=x onerror=alert(1)>")
    press(page, "Reject")
    assert "&lt;img src=x onerror=alert(1)&gt;" in html(page)
    assert "<img" not in html(page)


@pytest.mark.usefixtures("logged_in")
def test_nothing_of_a_masked_trade_reaches_the_page(open_page: OpenPage, desk_run: DeskRun) -> None:
    page = press(open_page(PAGE), "Cannot tell")
    sent: list[Any] = [element.proto for element in page.main.children.values()]
    text = html(page) + "".join(str(proto) for proto in sent)
    text += "".join(element.proto.spec for element in page.get("plotly_chart"))
    assert "100 = price at the decision" in text
    for proposal in desk_run.proposals[1:]:
        assert proposal.id not in text
    for symbol in ("AAPL", "GOOG", "IBM"):
        assert symbol not in text
