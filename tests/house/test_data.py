"""The bundled prices are exactly what their manifest says, and nothing lies beside them."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from trading_rlhf.market import load_sample

DATA = Path(__file__).parents[2] / "data"
MANIFEST: dict[str, dict[str, Any]] = tomllib.loads((DATA / "manifest.toml").read_text("utf-8"))
BUNDLED = {entry["file"]: entry["sha256"] for entry in MANIFEST.values() if "file" in entry}


def test_every_file_is_listed_and_unchanged() -> None:
    files = [file for file in DATA.joinpath("samples").rglob("*") if file.is_file()]
    found = {
        file.relative_to(DATA).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
    assert found == BUNDLED


@pytest.mark.parametrize("name", MANIFEST)
def test_a_sample_covers_what_its_entry_says(name: str) -> None:
    entry, bars = MANIFEST[name], load_sample(name)
    assert len(bars.dates) == entry["bars"]
    assert bars.dates[0].date() == entry["first"]
    assert bars.dates[-1].date() == entry["last"]
    assert list(bars.symbols) == entry.get("symbols", list(bars.symbols))


@pytest.mark.parametrize("name", MANIFEST)
def test_a_sample_names_its_source_licence_and_bias(name: str) -> None:
    assert all(MANIFEST[name].get(key) for key in ("source", "licence", "known_bias"))


def test_prices_without_a_free_licence_are_not_copied() -> None:
    assert "file" not in MANIFEST["sp20"]
