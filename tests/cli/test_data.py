"""Fetching into the cache, listing it and checking bars, as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Said
from tests.market.yahoo_server import TOO_MANY, Yahoo, chart, events, yahoo_server
from trading_rlhf.market import load_bars, read_bars

Run = Callable[..., Said]

RANGE = ("--start", "2020-08-03", "--end", "2020-09-15")


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Yahoo:
    monkeypatch.delenv("TRLHF_CACHE", raising=False)
    monkeypatch.setattr("trading_rlhf.market.yahoo._FIRST_PAUSE", 0.0)
    with yahoo_server(monkeypatch) as server:
        server.answers |= {"AAA": [chart("AAA", events=events())], "BBB": [chart("BBB")]}
        yield server


def test_what_is_fetched_is_kept_and_found_again(run: Run, yahoo: Yahoo, tmp_path: Path) -> None:
    said = run("data", "fetch", "AAA", "BBB", *RANGE)
    assert said.status == 0, said.err
    assert "proven on 2020-08-31" in said.out.replace("\u00a0", " ")
    assert max(len(line) for line in said.out.splitlines()) <= 100
    name = said.out.split("--data ")[1].split(".")[0]
    bars = load_bars(name, tmp_path / "data" / "cache")
    assert bars.symbols == ("AAA", "BBB")
    assert bars.shape == (30, 2)
    assert "Survivorship: 2 of 2" in said.out
    listed = run("data", "cache")
    assert listed.status == 0
    assert name in listed.out
    assert "AAA+BBB-1d" in listed.out
    assert "2020-08-03" in listed.out
    checked = run("data", "check", name)
    assert checked.status == 0
    assert "stale" not in checked.out


def test_a_second_fetch_of_the_same_adds_nothing(run: Run, yahoo: Yahoo, tmp_path: Path) -> None:
    run("data", "fetch", "AAA", *RANGE)
    said = run("data", "fetch", "AAA", *RANGE)
    assert "The same bars were in the cache already" in said.out
    assert len(list((tmp_path / "data" / "cache").glob("*.parquet"))) == 1


def test_a_revised_history_says_so(run: Run, yahoo: Yahoo) -> None:
    first = json.loads(run("data", "fetch", "BBB", *RANGE, "--json").out)
    revised = json.loads(chart("BBB")[1])
    revised["chart"]["result"][0]["indicators"]["quote"][0]["volume"][4] += 7.0
    yahoo.answers["BBB"] = [(200, json.dumps(revised))]
    said = run("data", "fetch", "BBB", *RANGE)
    assert said.status == 0
    assert f"revised since {first['data']}" in " ".join(said.out.split())
    assert "BBB from 2020-08-07" in " ".join(said.out.split())
    assert "revises" in run("data", "cache").out


def test_one_failure_is_told_and_the_rest_is_kept(run: Run, yahoo: Yahoo, tmp_path: Path) -> None:
    yahoo.answers["CCC"] = [TOO_MANY]
    said = run("data", "fetch", "NOPE", "AAA", "CCC", *RANGE, "--to", "out.parquet")
    assert said.status == 1
    assert "NOPE: Yahoo knows no such symbol" in said.out
    assert "CCC: Yahoo refuses more requests" in said.out
    assert read_bars(tmp_path / "out.parquet").symbols == ("AAA",)
    assert len(list((tmp_path / "data" / "cache").glob("*.json"))) == 1


def test_nothing_fetched_keeps_nothing(run: Run, yahoo: Yahoo, tmp_path: Path) -> None:
    said = run("data", "fetch", "NOPE", *RANGE, "--cache", "mine", "--json")
    assert said.status == 1
    assert json.loads(said.out)["data"] is None
    assert not (tmp_path / "mine").exists()


def test_the_cache_lies_where_it_is_said_to(run: Run, yahoo: Yahoo, tmp_path: Path) -> None:
    said = json.loads(run("data", "fetch", "AAA", *RANGE, "--cache", "mine", "--json").out)
    assert load_bars(said["data"], tmp_path / "mine").symbols == ("AAA",)
    assert run("data", "check", said["data"], "--cache", "mine").status == 0
    assert "is empty" in run("data", "cache").out
    (path,) = (tmp_path / "mine").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    listed = run("data", "cache", "--cache", "mine")
    assert listed.status == 1
    assert "damaged" in listed.out
    assert (
        "must be what its manifest says"
        in run("data", "check", said["data"], "--cache", "mine").sentence
    )


@pytest.mark.parametrize("option", [("--interval", "1wk"), ("--start", "soon")])
def test_an_impossible_request_is_a_usage_error(run: Run, option: tuple[str, str]) -> None:
    given = dict(zip(RANGE[::2], RANGE[1::2], strict=True)) | {option[0]: option[1]}
    said = run("data", "fetch", "AAA", *(word for pair in given.items() for word in pair))
    assert said.status == 2


def test_a_check_says_what_was_understood_and_done(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"2020-01-0{d},AAA,{p},{p}\n" for d, p in ((2, 10), (3, 20), (6, 20), (8, 20)))
    (tmp_path / "bars.csv").write_text(f"Date,Ticker,Close,Adj Close\n{rows}")
    said = run("data", "check", "bars.csv")
    assert said.status == 0
    text = " ".join(said.out.split())
    assert "prices were multiplied by Adj Close / Close" in text
    assert "Survivorship: 1 of 1" in text
    assert "quarantined: kept, may be real; look before using it" in text
    assert "+100.0%" in text
    assert "kept as missing; no order fills there" in text
    assert max(len(line) for line in said.out.splitlines()) <= 100
    told = json.loads(run("data", "check", "bars.csv", "--json").out)
    assert [row["rule"] for row in told["findings"]] == ["jump", "gap"]
    assert told["refused"] is False


def test_a_check_of_a_refused_file_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text("date,symbol,close\n2020-01-02,AAA,-1\n2020-01-03,AAA,x\n")
    said = run("data", "check", "bars.csv")
    assert said.status == 1
    assert "refused: nothing is read until it is corrected" in " ".join(said.out.split())
    assert "not_positive" in said.out
    assert "missing" in said.out


def test_a_run_trains_on_nothing_that_is_not_in_the_cache(run: Run) -> None:
    said = run("train", "--run", "runs/x", "--data", "cache:3f2a")
    assert said.status == 1
    assert "trading-rlhf data cache" in said.sentence


def test_a_cache_that_is_no_folder_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name in ("file", "/dev/null"):
        said = run("data", "cache", "--cache", name)
        assert said.status == 1
        assert f"a cache must be a folder; got {name}" in said.sentence
    for verb in (("cache",), ("check", "us4"), ("fetch", "AAA", *RANGE)):
        said = run("data", *verb, "--cache", "")
        assert said.status == 2
        assert "--cache" in said.sentence
    assert run("data", "cache", "--cache", "none").status == 0


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_fetched(
    run: Run, yahoo: Yahoo, tmp_path: Path
) -> None:
    said = run("data", "fetch", "AAA", *RANGE, "--to", "x.txt")
    assert said.status == 1
    assert "a bars file must end in .csv or .parquet; got x.txt" in said.sentence
    assert not (tmp_path / "data").exists()


def test_a_check_names_the_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("date,symbol\n2020-01-02,AAA\n")
    said = run("data", "check", "odd.csv")
    assert said.status == 1
    assert "odd.csv: bars need the columns" in said.sentence
    assert run("data", "check", "us4", "--limit", "-1").status == 2
