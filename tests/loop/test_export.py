"""Exporting again neither denies what was filled nor empties the files."""

import json
import shutil
from pathlib import Path

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.services.champions import promote_run, roll_back_run
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.services.stages import Stage, export, propose
from trading_rlhf.store import open_store, read_events


def signal_events(run: Path) -> list[tuple[str, str | None]]:
    with open_store(run / "store.db", KEY, present) as store, store.read() as session:
        return [(event.kind, event.subject) for event in read_events(session, "signal")]


def test_a_second_export_changes_nothing(
    demo_run: Path, demo_summary: dict, tmp_path: Path
) -> None:
    run = tmp_path / "demo"
    shutil.copytree(demo_run, run)
    stage = Stage(run, Secrets(KEY, "a session key for tests, long enough"), None, {}, silent)
    before = signal_events(run)
    facts = export(stage)
    assert facts["new_signals"] == facts["new_orders"] == facts["considered"] == 0
    assert facts["signals_so_far"] == demo_summary["signals"]
    assert signal_events(run) == before
    written = json.loads((run / "signals/signals.json").read_text())
    assert len(written["signals"]) == demo_summary["signals"]


def test_live_proposals_on_old_data_say_that_they_have_expired(
    demo_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "demo"
    shutil.copytree(demo_run, run)
    stage = Stage(run, Secrets(KEY, "a session key for tests, long enough"), None, {}, silent)
    facts = propose(stage, 1, live=True)
    assert facts["proposals"] > 0
    assert "2013-03-01" in facts["note"]
    first = export(stage)
    assert len(first["held_back"]) == facts["proposals"]
    assert export(stage)["held_back"] == []


def test_what_another_policy_proposed_is_held_back(demo_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "demo"
    shutil.copytree(demo_run, run)
    stage = Stage(run, Secrets(KEY, "a session key for tests, long enough"), None, {}, silent)
    made = propose(stage, 1, live=True)
    assert made["kind"] == "shaped"
    reigning = promote_run(stage)["champion"]
    if reigning == made["policy"]:
        reigning = roll_back_run(stage)["champion"]
    facts = export(stage)
    assert facts["considered"] == made["proposals"] == len(facts["held_back"])
    told = f"policy {made['policy'][:8]} proposed it, and {reigning[:8]} is the champion."
    assert all(sentence.endswith(told) for sentence in facts["held_back"])
    assert propose(stage, 1, live=True)["policy"] == reigning
