"""The report is one file that asks nothing of the network and runs nothing it was not given."""

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from trading_rlhf.backtest import (
    Plot,
    Report,
    Section,
    Table,
    Tile,
    bar_plot,
    line_plot,
    reliability_plot,
    write_report,
)

ATTACK = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Tags with their attributes, scripts apart from the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside

    def handle_endtag(self, tag):
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.words.append(data)


def report(word: str = "plain") -> Report:
    frame = pd.DataFrame({word: [1.0, 2.0], "b": [2.0, None]}, index=[word, "q"])
    return Report(
        title=f"Report {word}",
        summary=[f"It went well, {word}."],
        warnings=[f"Survivors only, {word}."],
        tables=[Table(f"Arms {word}", frame.map(str), note=f"Note {word}")],
        plots=[
            Plot(f"Equity {word}", line_plot(frame, f"equity {word}", log=True), f"Log {word}"),
            Plot("Approval", bar_plot(frame, "share")),
            Plot("Reliability", reliability_plot([0.1, 0.9], [0.2, 0.8])),
        ],
        facts=[(f"Data {word}", "us4")],
        sections=[
            Section(
                f"Chapter {word}",
                [f"Line {word}"],
                [Plot(f"Inside {word}", bar_plot(frame, "share")), Table("", frame.map(str))],
            )
        ],
        tiles=[Tile(f"Sharpe {word}", "1.2", f"over {word}")],
    )


@pytest.fixture
def written(tmp_path: Path):
    def write(word: str = "plain") -> Page:
        write_report(report(word), tmp_path / "made" / "report.html")
        return Page((tmp_path / "made" / "report.html").read_text("utf-8"))

    return write


def test_nothing_is_fetched(written):
    page = written()
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            target = attributes.get(name) or "#"
            assert target.startswith("#"), f"{tag} {name}={target}"
    text = "".join(page.words)
    assert "http" not in text
    assert not any(tag in ("link", "iframe", "img", "base") for tag, _ in page.tags)


def test_the_contents_lead_to_the_chapters(written):
    page = written()
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert links == [f"#{name}" for name in ids] == ["#part-1"]


def test_what_a_reader_sees(written):
    text = "".join(written().words)
    for words in (
        "Report plain",
        "It went well",
        "Survivors only",
        "Arms plain",
        "Note plain",
        "Equity plain",
        "Log plain",
        "Approval",
        "Reliability",
        "Data plain",
        "Chapter plain",
        "Line plain",
        "Inside plain",
        "Sharpe plain",
        "over plain",
        "us4",
    ):
        assert words in text  # fmt: skip


def test_the_plots_are_drawn_by_what_the_file_carries(written):
    page = written()
    drawn = [script for script in page.scripts if "Plotly.newPlot" in script]
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "div"]
    for number in range(4):
        assert f"plot-{number}" in ids
        assert any(f'"plot-{number}"' in script for script in drawn)
    # The library itself, some megabytes of it.
    assert max(map(len, page.scripts)) > 1_000_000


def test_a_script_in_any_text_stays_text(written):
    page, plain = written(ATTACK), written("plain")
    assert len(page.scripts) == len(plain.scripts)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert not any(script.startswith("alert") for script in page.scripts)
    assert "".join(page.words).count(ATTACK) >= 15


def test_the_same_report_is_the_same_file(written, tmp_path):
    written()
    first = (tmp_path / "made" / "report.html").read_bytes()
    written()
    assert (tmp_path / "made" / "report.html").read_bytes() == first
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["report.html"]


def test_a_column_is_a_line_and_a_gap_stays_a_gap():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, float("nan")]}, index=["x", "y"])
    figure = line_plot(frame, "equity")
    assert [trace.name for trace in figure.data] == ["a", "b"]
    assert list(figure.data[0].y) == [1.0, 2.0]
    assert figure.layout.yaxis.type == "linear"
    bars = bar_plot(frame, "share")
    assert pd.isna(bars.data[1].y[1])
    assert len({trace.marker.color for trace in bars.data}) == 2
