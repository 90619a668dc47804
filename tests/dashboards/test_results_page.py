import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from tests.services.desk_run import DeskRun

OpenPage = Callable[[str], AppTest]
PAGE = "results_page.py"


def html(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def test_without_a_login_there_is_only_a_link_to_it(open_page: OpenPage, desk_run: DeskRun) -> None:
    (desk_run.path / "report.html").write_text("<p>secret</p>")
    page = open_page(PAGE)
    assert not page.exception
    assert 'href="/auth/login"' in html(page)
    assert len(page.get("download_button")) == 0


@pytest.mark.usefixtures("logged_in")
def test_a_run_without_results_says_so(open_page: OpenPage) -> None:
    page = open_page(PAGE)
    assert not page.exception
    assert page.subheader[0].value == "Nothing has been run yet"


@pytest.mark.usefixtures("logged_in")
def test_results_are_shown_and_marked_as_simulated(open_page: OpenPage, desk_run: DeskRun) -> None:
    content = {"simulated": True, "answers": 300, "seed": 7}
    (desk_run.path / "summary.json").write_text(json.dumps(content))
    (desk_run.path / "report.html").write_text("<p>report</p>")
    page = open_page(PAGE)
    assert not page.exception
    assert page.subheader[0].value == "Results of desk"
    assert "Simulated desk" in html(page)
    assert "<b>300</b>" in html(page)
    assert len(page.get("download_button")) == 1
    assert page.get("iframe")[0].proto.src == "/run/report.html"


@pytest.mark.usefixtures("logged_in")
def test_results_of_people_are_not_marked(open_page: OpenPage, desk_run: DeskRun) -> None:
    (desk_run.path / "summary.json").write_text(json.dumps({"simulated": False}))
    assert "Simulated" not in html(open_page(PAGE))


@pytest.mark.usefixtures("logged_in")
def test_a_broken_summary_is_one_sentence(open_page: OpenPage, desk_run: DeskRun) -> None:
    (desk_run.path / "summary.json").write_text("{")
    page = open_page(PAGE)
    assert not page.exception
    assert "must be JSON" in page.error[0].value
