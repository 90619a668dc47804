"""A user's mistake gives one clear sentence, a non-zero exit and loses nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Said
from trading_rlhf.loop import single_user
from trading_rlhf.store.files import replace_text

Run = Callable[..., Said]

GOOD = "date,symbol,open,high,low,close,volume\n2020-01-02,A,1,2,1,2,10\n2020-01-03,A,2,2,1,1,10\n"

BAD_BARS = {
    "no column": (GOOD.replace("close", "last"), "close"),
    "unsorted": (GOOD.replace("2020-01-02", "2020-01-06"), "ascend"),
    "duplicate": (GOOD.replace("2020-01-03", "2020-01-02"), "2020-01-02"),
    "negative": (GOOD.replace("2,2,1,1,10", "2,2,-1,1,10"), "positive"),
    "words": (GOOD.replace("2,2,1,1,10", "2,2,1,one,10"), "one"),
    "empty": ("", "empty"),
}


def refused(said: Said, *words: str, status: int = 1) -> None:
    assert said.status == status
    assert "Traceback" not in said.err + said.out
    for word in words:
        assert word in said.sentence
    assert said.sentence.count("Error:") <= 1


@pytest.mark.parametrize("case", BAD_BARS)
def test_bars_that_cannot_be_used(run: Run, tmp_path: Path, case: str) -> None:
    text, word = BAD_BARS[case]
    (tmp_path / "bars.csv").write_text(text)
    refused(run("train", "--run", "runs/x", "--data", "bars.csv"), word)
    assert not (tmp_path / "runs/x/config.yaml").exists()


def test_missing_bars(run: Run) -> None:
    refused(run("train", "--run", "runs/x", "--data", "nowhere.csv"), "nowhere.csv")


def test_too_few_bars(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(GOOD)
    refused(run("train", "--run", "runs/x", "--data", "bars.csv"), "at least 320 bars", "got 2")


def test_a_rate_given_twice_is_not_lost_without_a_word(run: Run, tmp_path: Path) -> None:
    twice = ("--costs.half-spread-bps", "7", "--costs.half-spread-bps=8")
    refused(run("train", "--run", "runs/x", *twice), "--costs.half-spread-bps", "YAML", status=2)
    assert not (tmp_path / "runs").exists()


def test_a_report_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OSError, match=r"report\.json"):
        replace_text(tmp_path / "report.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_file_error_of_a_library_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_tokens: object, **_settings: object) -> None:
        raise OSError("Failed to open local file 'grid.parquet'")

    monkeypatch.setattr("trading_rlhf.cli.app", fail)
    said = run("status")
    refused(said, "got Failed to open local file 'grid.parquet'. Check")
    assert "None" not in said.sentence


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--train.bogus", "3", "--train.bogus"),
        ("--train.iterations", "0", "greater than or equal to 1"),
        ("--train.iterations", "many", "many"),
        ("--desk.style", "astrology", "astrology"),
    ],
)
def test_wrong_options_are_usage_errors(run: Run, option: str, value: str, word: str) -> None:
    refused(run("demo", option, value), word, status=2)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("trian: {iterations: 3}", "no such key"),
        ("train: {iterations: -3}", "train.iterations"),
        ("- a list", "keys and values"),
        ("a: [", "readable YAML"),
        ("features: [no_such_feature]", "no_such_feature"),
    ],
)
def test_wrong_config_files(run: Run, tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    refused(run("demo", "--config", "c.yaml"), word)
    assert not (tmp_path / "runs/demo").exists()


def test_missing_config_file(run: Run) -> None:
    refused(run("demo", "--config", "none.yaml"), "none.yaml")


@pytest.mark.parametrize("verb", ["propose", "learn", "backtest", "export", "status"])
def test_verbs_need_a_run(run: Run, tmp_path: Path, verb: str) -> None:
    refused(run(verb, "--run", "runs/none"), "config.yaml", "runs/none")
    assert not (tmp_path / "runs/none").exists()


def test_audit_needs_a_run(run: Run) -> None:
    refused(run("audit", "verify", "--run", "runs/none"), "store")


def test_review_needs_a_demo(run: Run, tmp_path: Path) -> None:
    refused(run("review", "--no-serve"), "finished demo", "make demo")
    assert not (tmp_path / "runs/desk/config.yaml").exists()


@pytest.mark.parametrize("verb", [("demo",), ("train",), ("status",), ("audit", "verify")])
def test_a_file_in_the_place_of_a_run(run: Run, tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "notes").write_text("mine")
    refused(run(*verb, "--run", "notes"), "notes")
    assert (tmp_path / "notes").read_text() == "mine"


def test_the_root_is_no_run(run: Run) -> None:
    refused(run("demo", "--run", "/"), "a run has a name")


def test_markup_in_a_path_is_text(run: Run) -> None:
    refused(run("status", "--run", "p[/red]/r"), "p[/red]/r")


def test_infinite_equity_is_a_usage_error(run: Run) -> None:
    refused(run("demo", "--equity", "inf"), "--equity", "finite", status=2)


def test_second_demo_while_one_runs(run: Run, tmp_path: Path) -> None:
    with single_user(tmp_path / "runs/demo"):
        refused(run("demo"), "one process works on a run at a time")


WEIGHTS = "date,AAPL,GOOG,IBM,MSFT\n2010-01-04,0.2,0.2,0.2,0.2\n2010-01-05,0.3,0.2,0.1,0.2\n"

BAD_WEIGHTS = {
    "missing": (WEIGHTS.replace("0.3", ""), "AAPL on 2010-01-05"),
    "infinite": (WEIGHTS.replace("0.3", "inf"), "infinite"),
    "word": (WEIGHTS.replace("0.3", "lots"), "lots"),
    "stranger": (WEIGHTS.replace("IBM", "HAL"), "HAL"),
    "holiday": (WEIGHTS.replace("2010-01-05", "2010-01-09"), "2010-01-09"),
    "twice": (WEIGHTS.replace("2010-01-05", "2010-01-04"), "unique"),
    "no dates": ("AAPL,GOOG,IBM,MSFT\n0.1,0.2,0.3,0.4\n", "a date first"),
    "no row": (WEIGHTS[:24], "at least one row"),
    "no date": (WEIGHTS.replace("2010-01-05", "soon"), "'soon' in data row 2"),
    "a number for a date": (WEIGHTS.replace("2010-01-05", "7"), "'7' in data row 2"),
    "day first": (WEIGHTS.replace("2010-01-05", "05/01/2010"), "written like 2009-03-02"),
    "semicolons": (WEIGHTS.replace(",", ";"), "missing AAPL, GOOG, IBM, MSFT"),
    "with a zone": (WEIGHTS.replace("-05,", "-05T09:30Z,"), "time zone"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_cannot_be_used(run: Run, tmp_path: Path, case: str) -> None:
    text, word = BAD_WEIGHTS[case]
    (tmp_path / "w.csv").write_text(text)
    said = run("backtest", "--weights", "w.csv")
    refused(said, word)
    assert "Warning" not in said.err


def test_weights_with_gaps_hold_when_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text(WEIGHTS.replace("0.3", ""))
    said = run("backtest", "--weights", "w.csv", "--nan-holds")
    assert said.status == 0
    assert "Sharpe (yearly)" in said.out
    # Whose weights they are is not known, and these fit.
    assert "Out of sample" not in said.out
    assert "limit" not in said.out


def test_percentages_for_fractions_do_not_pass_without_a_word(run: Run, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text(WEIGHTS.replace("0.", ""))
    said = run("backtest", "--weights", "w.csv")
    assert said.status == 0
    assert "more than 0.98 of equity on 2 of 3270 bars (at most 8)" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--weights", "w.csv", "--frontier"), "--frontier belongs to a run"),
        (("--sweep", "g.yaml", "--frontier"), "--frontier belongs to a run"),
        (("--sweep", "g.yaml", "--cpcv"), "--cpcv belongs to a run's backtest; got --sweep"),
        (("--weights", "w.csv", "--walk-forward"), "--walk-forward belongs to a run's backtest"),
        (("--weights", "w.csv", "--workers", "2"), "--ray and --workers belong to a sweep"),
        (("--nan-holds",), "--nan-holds belongs to --weights"),
    ],
)
def test_options_of_another_backtest_are_refused(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    (tmp_path / "w.csv").write_text(WEIGHTS)
    refused(run("backtest", *arguments), word, status=2)


def test_what_was_written_aside_goes_by_its_own_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").mkdir()
    monkeypatch.setattr(
        "trading_rlhf.cli.runs.read_status", lambda _: replace_text(Path("page.html"), "text")
    )
    refused(run("status", "--run", "runs/none"), "directory for page.html. Check")


def test_ctrl_c_says_that_it_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trading_rlhf.cli.runs.read_status", interrupted)
    refused(run("status", "--run", "runs/none"), "Stopped.", status=130)


def test_unknown_verb_suggests_one(run: Run) -> None:
    refused(run("trian"), "train", status=2)


def test_only_one_key_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRLHF_SESSION_KEY")
    refused(run("demo"), "TRLHF_SESSION_KEY")


def test_keys_never_show(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRLHF_AUDIT_KEY", "short-secret")
    said = run("demo")
    refused(said, "TRLHF_AUDIT_KEY")
    assert "short-secret" not in said.err + said.out


def test_as_a_process_of_its_own(process: Callable) -> None:
    done = process("train", "--data", "nowhere.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
