"""A cache shares its folder with files that are not its own, and one bad entry spoils no other."""

import json
import os

import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Bars,
    Origin,
    broken_manifests,
    cache_entries,
    cached_bars,
    store_bars,
    write_bars,
)
from trading_rlhf.services.market_data import list_cache

ORIGIN = Origin("Yahoo Finance", "yfinance 1.7.0", "1d", {}, "USD")

BROKEN = {
    "empty": lambda told: "",
    "bytes": lambda told: "\x00\xff",
    "a list": lambda told: "[]",
    "null": lambda told: "null",
    "deep": lambda told: "[" * 100_000,
    "one key too many": lambda told: json.dumps(told | {"x": 1}),
    "a key missing": lambda told: json.dumps({k: v for k, v in told.items() if k != "bars"}),
} | {
    f"{key} {value!r}": lambda told, key=key, value=value: json.dumps(told | {key: value})
    for key, value in (
        ("fetched_at", 5),
        ("fetched_at", "soon"),
        ("content", 5),
        ("content", None),
        ("content", "a\0b"),
        ("content", "../../etc/passwd"),
        ("content", "0" * 64),
        ("file_sha256", "00"),
        ("name", 5),
        ("name", ""),
        ("symbols", "AAPL"),
        ("symbols", []),
        ("universe", {}),
        ("universe", {"A": []}),
        ("universe", {"A": [1, 2]}),
        ("bars", "a"),
        ("bars", 0),
        ("origin", None),
        ("origin", {"provider": 1}),
        ("revises", 5),
        ("revises", "x"),
    )
}


@pytest.fixture
def put(tmp_path, clock):
    def store(bars):
        clock.advance(minutes=1)
        return store_bars(tmp_path, bars, ORIGIN, clock).entry

    return store


def test_files_that_are_not_the_caches_own_stay(put, make_bars, tmp_path):
    names = ["mydownload.part", "thesis.new", ".other.parquet.123.part", "notes.json", ".lock"]
    for name in names:
        (tmp_path / name).write_text("precious")
    (tmp_path / "dirx.part").mkdir()
    (tmp_path / "d.json").mkdir()
    mine = tmp_path / "mine.parquet"
    write_bars(make_bars(seed=4), mine)
    entry = put(make_bars())
    assert [(tmp_path / name).read_text() for name in names] == ["precious"] * len(names)
    assert (tmp_path / "dirx.part").is_dir()
    assert mine.exists()
    assert cache_entries(tmp_path) == (entry,)
    assert broken_manifests(tmp_path) == {}


def test_what_a_killed_process_left_is_swept(put, make_bars, tmp_path):
    name = "3f" * 32
    left = [f".{name}.parquet.77.part", f"{name}.json.77.new", f"{name}.parquet"]
    for file in left:
        (tmp_path / file).write_text("half")
    put(make_bars())
    assert [file for file in left if (tmp_path / file).exists()] == []


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_manifest_spoils_no_other_entry(put, make_bars, tmp_path, broken):
    bad, good = put(make_bars(seed=1)), put(make_bars(seed=2))
    manifest = tmp_path / f"{bad.content}.json"
    manifest.write_text(broken(json.loads(manifest.read_text())))
    assert cache_entries(tmp_path) == (good,)
    assert list(broken_manifests(tmp_path)) == [bad.content]
    assert cached_bars(tmp_path, good.content[:8]).sha256 == good.content
    with pytest.raises(DataError, match="a manifest of the cache must be readable") as said:
        cached_bars(tmp_path, f"cache:{bad.content[:12]}")
    assert bad.content in str(said.value)
    assert "\n" not in str(said.value)
    rows = {row["data"]: row["state"] == "damaged" for row in list_cache(tmp_path)}
    assert rows == {f"cache:{good.content[:12]}": False, f"cache:{bad.content[:12]}": True}
    put(make_bars(seed=3))
    assert put(make_bars(seed=1)).content == bad.content
    assert len(cache_entries(tmp_path)) == 3


def test_a_file_that_is_a_folder_or_a_link_to_nowhere_is_damaged(put, make_bars, tmp_path):
    entry = put(make_bars())
    path = tmp_path / f"{entry.content}.parquet"
    path.unlink()
    path.mkdir()
    assert [row["state"] for row in list_cache(tmp_path)] == ["damaged"]
    with pytest.raises(DataError, match="must be writable"):
        put(make_bars())
    path.rmdir()
    os.symlink(tmp_path / "nowhere", path)
    assert [row["state"] for row in list_cache(tmp_path)] == ["damaged"]
    put(make_bars())
    assert cached_bars(tmp_path, entry.content).sha256 == entry.content


def test_bars_without_a_single_bar_are_not_kept(put, make_bars):
    blank = [[float("nan")]] * 2
    days = ["2020-01-02", "2020-01-03"]
    empty = Bars(days, ["A"], None, None, None, blank, None, tradable=[[False]] * 2)
    with pytest.raises(DataError, match="cached bars must hold a bar"):
        put(empty)


@pytest.mark.parametrize("name", ["file", "file/within"])
def test_a_cache_that_is_no_folder_is_one_sentence(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="a cache must be a folder"):
        list_cache(tmp_path / name)
    assert list_cache(tmp_path / "none") == []
