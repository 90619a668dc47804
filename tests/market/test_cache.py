"""Cached bars never change, are never half written, and say where they come from."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Origin,
    cache_entries,
    cached_bars,
    damage,
    default_cache,
    find_entry,
    load_bars,
    load_sample,
    store_bars,
)

ORIGIN = Origin("Yahoo Finance", "yfinance 1.7.0", "1d", {"S0": "proven on 2001-02-26"}, "USD")


@pytest.fixture
def put(tmp_path, clock):
    """Return a function that stores bars a minute after the ones before."""

    def store(bars, origin=ORIGIN):
        clock.advance(minutes=1)
        return store_bars(tmp_path, bars, origin, clock)

    return store


def test_stored_bars_are_found_by_hash_and_by_name(put, make_bars, tmp_path):
    bars = make_bars()
    stored = put(bars)
    assert stored.new
    assert stored.entry.content == bars.sha256
    for name in (bars.sha256, bars.sha256[:8], "S0+S1+S2-1d"):
        assert load_bars(f"cache:{name}", tmp_path).sha256 == bars.sha256
    assert cached_bars(tmp_path, bars.sha256[:12]).sha256 == bars.sha256
    assert load_bars("us4").sha256 == load_sample("us4").sha256


def test_the_manifest_tells_where_bars_come_from(put, make_bars, tmp_path):
    entry = put(make_bars()).entry
    told = json.loads((tmp_path / f"{entry.content}.json").read_text())
    assert told["origin"]["provider"] == "Yahoo Finance"
    assert told["origin"]["version"] == "yfinance 1.7.0"
    assert told["origin"]["adjustment"] == {"S0": "proven on 2001-02-26"}
    assert told["origin"]["currency"] == "USD"
    assert told["fetched_at"] == "2026-01-05T12:01:00+00:00"
    assert told["universe"]["S0"] == ["2001-01-01", "2001-10-05"]
    assert cache_entries(tmp_path) == (entry,)


def test_the_universe_has_each_assets_own_dates(put):
    bars = load_sample("us4").window(1000, 1300)
    universe = put(bars).entry.universe
    assert universe["GOOG"][0] == "2004-08-19"
    assert universe["IBM"][0] == "2004-02-25"


def test_equal_bars_are_one_entry(put, make_bars, tmp_path):
    first, again = put(make_bars()), put(make_bars())
    assert first.new
    assert not again.new
    assert again.entry == first.entry
    assert len(cache_entries(tmp_path)) == 1


def test_more_bars_of_the_same_history_revise_nothing(put, make_bars):
    bars = make_bars(split_at=185)
    earlier = bars.window(0, 150)
    scaled = {n: getattr(earlier, n) * 1.01 for n in ("open", "high", "low", "close")}
    assert put(replace(earlier, **scaled)).revised == {}
    stored = put(bars)
    assert stored.new
    assert stored.revised == {}
    assert stored.entry.revises is None


@pytest.mark.parametrize("name", ["raw_close", "close", "volume"])
def test_a_revised_history_is_another_entry_and_says_so(put, make_bars, tmp_path, name):
    bars = make_bars()
    old = put(bars).entry
    array = np.array(getattr(bars, name))
    array[120, 1] *= 1.001
    stored = put(replace(bars, **{name: array}))
    assert stored.new
    assert stored.entry.revises == old.content
    assert stored.revised == {"S1": f"{bars.dates[120]:%Y-%m-%d}"}
    assert cached_bars(tmp_path, old.content).sha256 == bars.sha256
    with pytest.raises(DataError, match=r"must fit one entry; got cache:S0\+S1\+S2-1d for 2"):
        load_bars("cache:S0+S1+S2-1d", tmp_path)


def test_another_interval_or_provider_is_no_revision(put, make_bars):
    bars = make_bars()
    put(bars)
    other = replace(bars, volume=bars.volume * 2.0)
    assert put(other, replace(ORIGIN, provider="Another")).revised == {}


def test_a_damaged_file_is_refused_and_the_same_bars_are_written_anew(put, make_bars, tmp_path):
    entry = put(make_bars()).entry
    path = tmp_path / f"{entry.content}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert damage(tmp_path, entry).startswith("sha256")
    with pytest.raises(DataError, match="a cached file must be what its manifest says"):
        cached_bars(tmp_path, entry.content)
    assert put(make_bars()).new
    assert damage(tmp_path, entry) is None


def test_a_manifest_of_other_bars_is_refused(put, make_bars, tmp_path):
    """The file is whole, but not the bars in whose name it stands."""
    one, other = put(make_bars(seed=1)).entry, put(make_bars(seed=2)).entry
    manifest = tmp_path / f"{one.content}.json"
    manifest.write_text(manifest.read_text().replace(one.file_sha256, other.file_sha256))
    os.replace(tmp_path / f"{other.content}.parquet", tmp_path / f"{one.content}.parquet")
    with pytest.raises(DataError, match="got bars of the sha256"):
        cached_bars(tmp_path, one.content)


def test_a_missing_file_and_a_broken_manifest_are_one_sentence(put, make_bars, tmp_path):
    entry = put(make_bars()).entry
    (tmp_path / f"{entry.content}.parquet").unlink()
    with pytest.raises(DataError, match="got No such file"):
        cached_bars(tmp_path, entry.content)
    (tmp_path / f"{entry.content}.json").write_text("{")
    with pytest.raises(DataError, match="a manifest of the cache must be readable"):
        cached_bars(tmp_path, entry.content)
    assert put(make_bars()).new


@pytest.mark.parametrize("name", ["cache:", "cache:ffff", "cache:AAPL-1d"])
def test_an_unknown_name_is_one_sentence(tmp_path, name):
    with pytest.raises(DataError, match="must be in the cache"):
        load_bars(name, tmp_path)
    with pytest.raises(DataError, match="must be in the cache"):
        find_entry(tmp_path / "none", name)


def test_the_usual_folder_is_data_cache_or_the_one_that_is_named(monkeypatch):
    monkeypatch.delenv("TRLHF_CACHE", raising=False)
    assert default_cache().as_posix() == "data/cache"
    monkeypatch.setenv("TRLHF_CACHE", "/srv/bars")
    assert default_cache().as_posix() == "/srv/bars"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, make_bars, clock):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="must be writable"):
        store_bars(tmp_path / "file", make_bars(), ORIGIN, clock)


PROGRAM = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
import numpy as np, pandas as pd
from trading_rlhf.market import Bars, Origin, store_bars

folder, seed, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
close = 50.0 + np.random.default_rng(seed).uniform(0.0, 1.0, (300, 4))
dates = pd.bdate_range("2001-01-01", periods=300)
bars = Bars(dates, list("ABCD"), None, None, None, close, None)
if mode == "half":
    import trading_rlhf.market.sources as sources
    def half(table, path, **options):
        path.write_bytes(b"PAR1 and then nothing")
        print("writing", flush=True)
        time.sleep(60)
    sources.pq.write_table = half
if mode == "manifest":
    import trading_rlhf.store.files as files
    def stuck(path, text):
        path.with_name(path.name + ".1.new").write_text(text[:40])
        print("writing", flush=True)
        time.sleep(60)
    files.replace_text = stuck
if mode == "together":
    print("ready", flush=True)
    sys.stdin.readline()
origin = Origin("test", "1", "1d", {}, "USD")
for turn in range(int(sys.argv[4])):
    store_bars(folder, bars.window(0, 300 - turn), origin, lambda: datetime.now(UTC))
print("done", flush=True)
"""


def start(folder, seed, mode, turns=1):
    command = [sys.executable, "-c", PROGRAM, str(folder), str(seed), mode, str(turns)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


@pytest.mark.parametrize("mode", ["half", "manifest"])
def test_a_process_killed_while_writing_leaves_what_was_there(put, make_bars, tmp_path, mode):
    before = put(make_bars()).entry
    child = start(tmp_path, 1, mode)
    assert child.stdout.readline() == "writing\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert [p.suffix for p in tmp_path.iterdir() if p.suffix in (".part", ".new")] != []
    assert cache_entries(tmp_path) == (before,)
    assert cached_bars(tmp_path, before.content).sha256 == before.content
    put(make_bars(seed=5))
    assert {p.suffix for p in tmp_path.iterdir()} <= {".parquet", ".json", ""}
    assert len(cache_entries(tmp_path)) == 2


def test_two_processes_that_fetch_at_once_corrupt_nothing(tmp_path):
    children = [start(tmp_path, seed, "together", turns=6) for seed in (1, 2)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        out, err = child.communicate(timeout=120)
        assert (child.returncode, out) == (0, "done\n"), err
    entries = cache_entries(tmp_path)
    assert len(entries) == 12
    assert all(cached_bars(tmp_path, e.content).sha256 == e.content for e in entries)
