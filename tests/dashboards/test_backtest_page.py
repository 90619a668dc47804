from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.backtest.compared import compared_arms
from tests.backtest.walked import made_up_paths, made_up_walk
from tests.services.desk_run import DeskRun
from trading_rlhf.backtest import (
    Report,
    Section,
    arm_sections,
    arm_summary_lines,
    arm_tiles,
    report_json,
)
from trading_rlhf.config import FoldsConfig
from trading_rlhf.services.backtest_paths import paths_section
from trading_rlhf.services.backtest_walk_forward import forward_section
from trading_rlhf.store import canonical_json

OpenPage = Callable[[str], AppTest]
PAGE = "backtest_page.py"
ATTACK = "<script>alert(1)</script>"


def write_backtest(
    run: Path, title: str = "Backtest of desk on us4", chapters: Sequence[Section] = ()
) -> None:
    """Leave in a run what a backtest leaves for the screen and for download."""
    tested = compared_arms()
    report = Report(
        title=title,
        summary=arm_summary_lines(tested),
        warnings=[f"Survivors only. {ATTACK}"],
        sections=[*arm_sections(tested), *chapters],
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


def walked_chapters() -> list[Section]:
    """Chapters on policies trained anew, and an offer of one that was not made."""
    offer = Section("Approval against profit", ["'trading-rlhf backtest --frontier' tries"], [])
    return [
        forward_section(made_up_walk(), rolling=False),
        paths_section(made_up_paths(), FoldsConfig()),
        offer,
    ]


@pytest.mark.usefixtures("logged_in")
def test_policies_trained_anew_have_their_chapters(open_page: OpenPage, desk_run: DeskRun) -> None:
    write_backtest(desk_run.path, chapters=walked_chapters())
    page = open_page(PAGE)
    page.pills[0].set_value("Walk-forward").run()
    assert not page.exception
    assert len(page.get("plotly_chart")) == 1
    shown = html(page)
    for text in ("Each stretch", "Against what needs no policy", "walk-forward policy against",
                 "trained anew 2 times", "Is it luck? DSR", "after 120 trials"):  # fmt: skip
        assert text in shown, text
    page.pills[0].set_value("Cross-validation").run()
    assert len(page.get("plotly_chart")) == 1
    assert "5 paths over 2012-02-02 to 2013-02-14" in html(page)
    assert "path 5" in html(page)
    page.pills[0].set_value("Approval against profit").run()
    assert not page.exception
    assert "--frontier" in html(page)


@pytest.mark.usefixtures("logged_in")
def test_a_broken_backtest_is_one_sentence(open_page: OpenPage, desk_run: DeskRun) -> None:
    (desk_run.path / "backtest.json").write_text("{")
    page = open_page(PAGE)
    assert not page.exception
    assert "Run the backtest again" in page.error[0].value
