"""``trading-rlhf data features`` and ``data make`` as a user types them."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.cli.conftest import Said
from trading_rlhf.market import OHLCV_FEATURES, read_bars

Run = Callable[..., Said]

HEAD = "import numpy as np\nfrom trading_rlhf.market import Feature\n"
GAP = HEAD + (
    "def register(registry):\n"
    "    registry.register(Feature('gap', 0, 'move since the open', 'close / open - 1',\n"
    "        lambda bars: bars.close / bars.open - 1, needs=('open',)))\n"
)
LEAK = HEAD + (
    "def compute(bars):\n"
    "    return np.vstack([bars.close[1:] / bars.close[:-1] - 1, np.zeros((1, bars.shape[1]))])\n"
    "def register(registry):\n"
    "    registry.register(Feature('tomorrow', 0, 'next return', 'r', compute))\n"
)


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "my_features.py").write_text(text)
        return Path("my_features.py")

    return write


@pytest.fixture
def made(run: Run) -> str:
    assert run("data", "make", "gbm", "--bars", 300, "--assets", 6, "--to", "m.parquet").status == 0
    return "m.parquet"


class Outside(HTMLParser):
    """Addresses that a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href") and value]


def test_the_registry_is_listed_with_a_users_features(run: Run, file_of: Callable) -> None:
    said = run("data", "features", "--file", file_of(GAP), "--json")
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert list(rows) == [*OHLCV_FEATURES, "gap"]
    assert rows["gap"]["formula"] == "close / open - 1"
    assert "60-day trend" in " ".join(run("data", "features").out.split())


def test_every_feature_is_checked_on_bars(run: Run, file_of: Callable) -> None:
    said = run("data", "features", "--file", file_of(GAP), "--source", "us4")
    assert said.status == 0
    assert said.out.count("sound") == len(OHLCV_FEATURES) + 1
    closes = run("data", "features", "--source", "sp20", "--json")
    rows = {row["name"]: row for row in json.loads(closes.out)}
    assert closes.status == 0
    assert rows["volume_20"]["note"] == "not checked: the bars have no volume"
    assert rows["trend_60"]["note"] == ""


def test_a_feature_that_looks_ahead_is_named_and_fails(run: Run, file_of: Callable) -> None:
    said = run("data", "features", "--file", file_of(LEAK), "--source", "us4")
    assert said.status == 1
    assert "feature tomorrow must depend on no later bar" in said.sentence
    assert said.sentence.count("Error:") == 1
    assert "refused" in said.out
    report = run("data", "features", "--file", file_of(LEAK), "--report", "--source", "us4")
    assert report.status == 1
    assert "feature tomorrow must depend on no later bar" in report.sentence
    assert not Path("features.html").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [("def register(:", "SyntaxError in line 1"), ("x = 1", "must define register(registry)")],
)
def test_a_file_of_features_that_cannot_be_used(
    run: Run, file_of: Callable, text: str, word: str
) -> None:
    said = run("data", "features", "--file", file_of(text))
    assert said.status == 1
    assert word in said.sentence
    assert "Traceback" not in said.err + said.out
    assert run("data", "features", "--file", "none.py").status == 1


def test_the_report_is_a_table_and_one_page_that_loads_nothing(
    run: Run, made: str, file_of: Callable
) -> None:
    said = run("data", "features", "--report", "--source", made, "--file", file_of(GAP),
               "--horizon", "5,1", "--out", "f.html")  # fmt: skip
    assert said.status == 0
    assert max(len(line) for line in said.out.splitlines()) <= 100
    rows = [line.split() for line in said.out.splitlines()]
    scored = [(row[0], row[1]) for row in rows if row and row[0] in (*OHLCV_FEATURES, "gap")]
    assert scored == [(name, bars) for name in (*OHLCV_FEATURES, "gap") for bars in ("1", "5")]
    words = " ".join(said.out.split())
    for fact in (
        "In sample",
        "300 bars of 6 assets",
        "across assets",
        "from the next open",
        "Survivorship: 6",
    ):
        assert fact in words
    page = Path("f.html").read_text("utf-8")
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert "close / open - 1" in page
    assert page.count("Plotly.newPlot") >= 4


def test_the_report_in_json_says_what_the_table_says(run: Run, made: str) -> None:
    said = run("data", "features", "--report", "--source", made, "--horizon", "3", "--json")
    answer = json.loads(said.out)
    assert [row["horizon"] for row in answer["features"]] == [3] * len(OHLCV_FEATURES)
    first = answer["features"][0]
    assert first["spread"] == pytest.approx(
        first["quantile_returns"][-1] - first["quantile_returns"][0]
    )
    assert any("In sample" in note for note in answer["notes"])


def test_a_test_period_can_be_kept_out(run: Run, made: str) -> None:
    last = read_bars(made).dates[199].date()
    said = run("data", "features", "--report", "--source", made, "--horizon", "1",
               "--until", last, "--json")  # fmt: skip
    answer = json.loads(said.out)
    assert "200 bars of 6 assets" in answer["notes"][0]
    # Of 200 bars the last two have no return from the next fill on.
    assert answer["features"][0]["dates"] == 200 - 60 - 2
    early = run("data", "features", "--report", "--source", made, "--until", "1990-01-01")
    assert early.status == 1
    assert "the last day must not lie before the bars; got 1990-01-01" in early.sentence


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--horizon", "soon"], "horizons must be numbers of bars; got 'soon'"),
        (["--horizon", "0"], "a horizon must be one bar or more"),
        (["--horizon", "250"], "scoring trend_60 over 250 bars takes 500 dates"),
        (["--source", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_reports_that_cannot_be_made(run: Run, made: str, options: list[str], word: str) -> None:
    said = run("data", "features", "--report", "--source", made, *options)
    if "--source" in options:
        said = run("data", "features", "--report", *options)
    assert said.status == 1
    assert word in said.sentence
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize("name", ["planted", "gbm", "heston", "regimes"])
def test_a_made_market_can_be_read_and_is_the_same_for_a_seed(run: Run, name: str) -> None:
    hashes = []
    for file, seed in (("a.parquet", 1), ("b.csv", 1), ("c.parquet", 2)):
        said = run("data", "make", name, "--bars", 40, "--assets", 3, "--seed", seed,
                   "--to", file, "--json")  # fmt: skip
        answer, bars = json.loads(said.out), read_bars(file)
        assert bars.shape == (40, 3)
        assert bars.sha256 == answer["sha256"]
        hashes.append(bars.sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_markets_that_cannot_be_made(run: Run) -> None:
    for arguments, word in (
        (("garch",), "one of planted, gbm, heston, regimes; got garch"),
        (("gbm", "--bars", 1), "a simulated market has 2 to"),
        (("gbm", "--bars", 40, "--seed", -1), "a seed must be zero or more; got -1"),
        (("gbm", "--bars", 40, "--to", "x.txt"), "must end in .csv or .parquet"),
    ):
        said = run("data", "make", *arguments)
        assert said.status == 1
        assert word in said.sentence
        assert "Traceback" not in said.err + said.out


def test_a_feature_that_ends_the_program_is_no_success(run: Run, file_of: Callable) -> None:
    text = GAP.replace("bars.close / bars.open - 1, n", "__import__('sys').exit(0), n")
    for options in (("--source", "us4"), ("--report", "--source", "us4")):
        said = run("data", "features", "--file", file_of(text), *options)
        assert said.status == 1
        assert "feature gap must return numbers for these bars; got SystemExit: 0" in said.sentence


def test_an_empty_name_is_no_name(run: Run, made: str) -> None:
    said = run("data", "features", "--report", "--source", made, "--out", "")
    assert said.status == 1
    assert "the page must be a file" in said.sentence
    said = run("data", "features", "--report", "--source", "")
    assert said.status == 1
    assert "a bars file must end in .csv or .parquet; got no name" in said.sentence


def test_a_made_market_has_bounds_that_are_told_before_it_is_drawn(run: Run) -> None:
    for arguments, word in (
        (("--bars", 10, "--assets", 5001), "at most 5000 assets"),
        (("--bars", 20_000, "--assets", 5000), "at most 30000000 prices"),
    ):
        said = run("data", "make", "gbm", *arguments)
        assert said.status == 1
        assert word in said.sentence


@pytest.mark.parametrize("option", ["--bars", "--assets", "--seed"])
@pytest.mark.parametrize("value", ["2.5", "1e2", "a", ""])
def test_a_number_that_is_not_whole_is_refused(run: Run, option: str, value: str) -> None:
    said = run("data", "make", "gbm", option, value)
    assert said.status == 2
    assert option in said.sentence
