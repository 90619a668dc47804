"""``promote``, ``rollback`` and ``status`` as a user types them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Said
from tests.loop.champion_runs import add_policy, champion_run, opened
from trading_rlhf.loop import single_user

Run = Callable[..., Said]
KEY = b"a key for tests, long enough, of 32 bytes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return champion_run(tmp_path)


def add(folder: Path, *wants: float) -> str:
    context = opened(folder, KEY)
    try:
        return add_policy(context, *wants)
    finally:
        context.store.close()


def refused(said: Said, *words: str, status: int = 1) -> None:
    assert said.status == status
    assert "Traceback" not in said.err + said.out
    assert said.sentence.count("Error:") == (status == 1)
    for word in words:
        assert word in said.sentence


def test_from_the_first_champion_to_the_way_back(run: Run, folder: Path) -> None:
    falling = add(folder, -0.5)
    said = run("promote", "--run", folder)
    assert said.status == 0
    assert f"The base policy {falling[:8]} is champion: first, unopposed" in said.out
    rising = add(folder, 0.5)
    waits = run("status", "--run", folder)
    assert f"{rising[:8]} waits: run 'trading-rlhf promote" in " ".join(waits.out.split())
    facts = json.loads(run("promote", "--run", folder, "--json").out)
    assert facts["champion"] == rising
    (decision,) = facts["decisions"]
    assert {"p", "bars", "trial", "tries", "period", "figures", "reason"} <= set(decision)
    flat = add(folder, 0.0)
    said = run("promote", "--run", folder)
    words = " ".join(said.out.split())
    assert f"challenger {flat[:8]}" in words
    assert f"The base policy {rising[:8]} stays champion against the base policy" in words
    assert "approval unknown without a reward model" in words
    said = run("rollback", "--run", folder)
    assert said.status == 0
    assert f"The base policy {falling[:8]} is champion again" in said.out
    facts = json.loads(run("status", "--run", folder, "--json").out)
    assert (facts["champion"], facts["challenger"]) == (falling, flat)
    told = [row["event"] for row in facts["champions"]]
    assert told == ["promoted", "promoted", "kept", "rolled_back"]
    assert [policy["kind"] for policy in facts["policies"]] == ["base"] * 3
    words = " ".join(run("status", "--run", folder).out.split())
    assert f"base {rising[:8]} over base {falling[:8]}: growth +" in words
    assert f"base {falling[:8]} again, in the place of {rising[:8]}" in words
    back = json.loads(run("rollback", "--run", folder, "--to", rising[:6], "--json").out)
    assert back["champion"] == rising
    assert run("audit", "verify", "--run", folder).status == 0


def test_training_says_that_a_challenger_waits_and_proposals_are_the_champion_s(
    run: Run, folder: Path
) -> None:
    said = run("train", "--run", folder)
    assert said.status == 0
    assert "waits as challenger" in said.out
    first = json.loads(run("promote", "--run", folder, "--json").out)["champion"]
    add(folder, 0.5)
    facts = json.loads(run("propose", "--run", folder, "--count", "5", "--json").out)
    assert facts["policy"] == first
    run("promote", "--run", folder)
    facts = json.loads(run("propose", "--run", folder, "--count", "5", "--json").out)
    assert facts["policy"] != first


def test_mistakes_are_one_sentence(run: Run, folder: Path) -> None:
    refused(run("promote", "--run", "runs/none"), "config.yaml")
    refused(run("rollback", "--run", "runs/none"), "config.yaml")
    refused(run("promote", "--run", folder), "trained policies", "trading-rlhf train")
    refused(run("propose", "--run", folder), "base policy", "trading-rlhf train")
    refused(run("rollback", "--run", folder), "earlier champion", "trading-rlhf status")
    name = add(folder, 0.5)
    refused(run("promote", "--run", folder, "--challenger", "[/red]zz"), "'[/red]zz'", name[:8])
    refused(run("promote", "--run", folder, "--challenger", name[:3]), "4 or more")
    assert json.loads(run("status", "--run", folder, "--json").out)["champions"] == []
    run("promote", "--run", folder)
    refused(run("promote", "--run", folder), "a challenger", "trading-rlhf learn")
    refused(run("promote", "--run", folder, "--challenger", name), "who reigns")
    refused(run("rollback", "--run", folder, "--to", name), "who reigns")
    refused(run("rollback", "--run", folder, "--back"), "--back", status=2)
    facts = json.loads(run("status", "--run", folder, "--json").out)
    assert len(facts["champions"]) == 1


def test_a_champion_whose_file_is_gone_is_said_to_be(run: Run, folder: Path) -> None:
    add(folder, -0.5)
    run("promote", "--run", folder)
    add(folder, 0.5)
    run("promote", "--run", folder)
    for file in (folder / "policies").iterdir():
        file.unlink()
    refused(run("propose", "--run", folder))
    refused(run("rollback", "--run", folder))
    assert run("status", "--run", folder).status == 0


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_one_process_at_a_time(run: Run, folder: Path, verb: str) -> None:
    add(folder, 0.5)
    with single_user(folder):
        refused(run(verb, "--run", folder), "one process works on a run at a time")
    assert json.loads(run("status", "--run", folder, "--json").out)["champions"] == []
