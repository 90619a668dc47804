from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.backtest.compared import compared_arms
from tests.services.desk_run import DeskRun
from trading_rlhf.backtest import Report, arm_sections, arm_summary_lines, arm_tiles, report_json
from trading_rlhf.store import canonical_json

OpenPage = Callable[[str], AppTest]
PAGE = "backtest_page.py"
ATTACK = "<script>alert(1)</script>"


def write_backtest(run: Path, title: str = "Backtest of desk on us4") -> None:
    """Leave in a run what a backtest leaves for the screen and for download."""
    tested = compared_arms()
    report = Report(
        title=title,
        summary=arm_summary_lines(tested),
        warnings=[f"Survivors only. {ATTACK}"],
        sections=arm_sections(tested),
        facts=[("Engine", "compiled law on cpu")],
        tiles=arm_tiles(tested),
    )
    (run / "backtest.json").write_text(canonical_json(report_json(report)))
    (run / "backtest.html").write_text("<p>the page</p>")


def html(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def test_without_a_login_there_is_only_a_link_to_it(open_page: OpenPage, desk_run: DeskRun) -> None:
    write_backtest(desk_run.path)
    page = open_page(PAGE)
    assert not page.exception
    assert 'href="/auth/login"' in html(page)
    assert len(page.get("download_button")) == 0
    assert "Is it luck?" not in html(page)


@pytest.mark.usefixtures("logged_in")
def test_a_run_without_a_backtest_says_how_to_get_one(
    open_page: OpenPage, desk_run: DeskRun
) -> None:
    page = open_page(PAGE)
    assert not page.exception
    assert page.subheader[0].value == "No backtest yet"
    assert f"trading-rlhf backtest --run {desk_run.path}" in page.markdown[0].value


@pytest.mark.usefixtures("logged_in")
def test_the_result_stands_first_then_the_chapters(open_page: OpenPage, desk_run: DeskRun) -> None:
    write_backtest(desk_run.path)
    page = open_page(PAGE)
    assert not page.exception
    assert page.subheader[0].value == "Backtest of desk on us4"
    shown = html(page)
    tested = compared_arms()
    for text in (*arm_summary_lines(tested)[:1], "Is it luck? DSR", "Sharpe (yearly)"):
        assert text in shown
    assert ATTACK not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert len(page.get("plotly_chart")) == 1
    assert len(page.get("download_button")) == 1


@pytest.mark.usefixtures("logged_in")
def test_every_chapter_opens(open_page: OpenPage, desk_run: DeskRun) -> None:
    write_backtest(desk_run.path)
    page = open_page(PAGE)
    charts = {}
    for chapter in page.pills[0].options:
        page.pills[0].set_value(chapter).run()
        assert not page.exception, chapter
        charts[chapter] = len(page.get("plotly_chart"))
    assert charts == {
        "Equity and drawdown": 1,
        "Is it luck?": 0,
        "Statistics": 0,
        "Month by month": 1,
        "Exposure": 2,
        "Trades": 1,
        "By year, market and asset": 0,
        "Costs": 1,
        "What this rests on": 0,
    }
    assert "compiled law on cpu" in html(page)
    # A second press takes the choice back: the first chapter is shown again.
    page.pills[0].set_value(None).run()
    assert len(page.get("plotly_chart")) == 1


@pytest.mark.usefixtures("logged_in")
def test_a_broken_backtest_is_one_sentence(open_page: OpenPage, desk_run: DeskRun) -> None:
    (desk_run.path / "backtest.json").write_text("{")
    page = open_page(PAGE)
    assert not page.exception
    assert "Run the backtest again" in page.error[0].value
