"""The whole loop on real prices: what it leaves behind, twice the same, nothing lost."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.loop.conftest import KEY, present, silent, small_config
from trading_rlhf.errors import RunError, StoreError
from trading_rlhf.feedback import ReviewDesk, create_account
from trading_rlhf.loop import (
    ARMS,
    SettableClock,
    open_context,
    run_demo,
    single_user,
    train_base,
)
from trading_rlhf.store import open_store, verify

MEASURED = (
    "approval", "approval_count", "profit_through_gate", "sharpe", "reviews_per_step",
    "reward_model", "signals", "orders", "fills", "answers",
)  # fmt: skip


def test_summary_has_every_figure(demo_summary: dict) -> None:
    for key in ("approval", "approval_count", "profit_through_gate", "sharpe", "reviews_per_step"):
        assert set(demo_summary[key]) == set(ARMS)
    assert demo_summary["data"]["name"] == "us4"
    assert demo_summary["data"]["bars"] == 3270
    assert demo_summary["simulated"] is True
    assert demo_summary["answers"] == 80
    assert {"accuracy", "ceiling", "log_loss", "ece"} <= set(demo_summary["reward_model"])
    assert {"train", "propose", "fit", "shape", "backtest", "export"} == set(
        demo_summary["seconds"]
    )
    assert demo_summary["audit"]["ok"] is True
    assert demo_summary["reconciled"] is True


def test_trades_flow_to_the_broker_one_order_each(demo_summary: dict) -> None:
    assert demo_summary["signals"] > 0
    assert demo_summary["orders"] == demo_summary["signals"]
    assert 0 < demo_summary["fills"] <= demo_summary["orders"]


def test_the_oracle_filter_shows_what_the_desk_likes(demo_summary: dict) -> None:
    # It filters by the true probability, so nothing shown can lie below one half.
    oracle = demo_summary["approval_count"]["oracle"]
    assert oracle is None or oracle > 0.5


def test_same_seed_same_figures(demo_run: Path, demo_summary: dict, tmp_path: Path) -> None:
    again = run_demo(tmp_path / "demo", small_config(), KEY, SettableClock(present), silent)
    again = json.loads(json.dumps(again))
    assert {key: again[key] for key in MEASURED} == {key: demo_summary[key] for key in MEASURED}


def test_another_seed_trains_another_policy(demo_run: Path, tmp_path: Path) -> None:
    """The figures are those of a policy, so its training alone is enough to see the seed."""
    trained = []
    for seed in (0, 1):
        clock = SettableClock(present)
        context = open_context(tmp_path / f"{seed}", KEY, clock, small_config(seed=seed))
        trained.append(train_base(context, silent).id)
        context.store.close()
    of_demo = {path.stem for path in (demo_run / "policies").iterdir()}
    assert trained[0] in of_demo
    assert trained[1] not in of_demo


def test_report_is_one_file_without_outside_addresses(demo_run: Path) -> None:
    text = (demo_run / "report.html").read_text()
    assert "Survivorship: " in text
    assert "simulated" in text
    assert 'src="http' not in text
    assert '<link rel="stylesheet"' not in text


def test_a_changed_byte_breaks_the_audit(demo_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(demo_run, copy)
    head = copy / "audit_head.json"
    with open_store(copy / "store.db", KEY, present) as store:
        assert verify(store, head).ok
    content = head.read_text()
    position = content.index('"mac"') + 10
    changed = "0" if content[position] != "0" else "1"
    head.write_text(content[:position] + changed + content[position + 1 :])
    with open_store(copy / "store.db", KEY, present) as store:
        report = verify(store, head)
    assert not report.ok
    assert report.problems


def test_a_second_demo_while_one_runs_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with single_user(folder), pytest.raises(RunError, match="one process works on a run"):
        run_demo(folder, small_config(), KEY, SettableClock(present), silent)


def test_demo_never_touches_answers_of_people(demo_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(demo_run, copy)
    with open_store(copy / "store.db", KEY, present) as store:
        person = create_account(store, "ann", "a long password", "reviewer")
        desk = ReviewDesk(store, present)
        item = desk.next_item(person.id)
        assert item is not None
        desk.submit(person.id, item.proposal.id, "approve", token=item.token, seconds=2.0)
    before = (copy / "summary.json").read_bytes()
    with pytest.raises(RunError, match="never touches answers of people"):
        run_demo(copy, small_config(), KEY, SettableClock(present), silent)
    assert (copy / "summary.json").read_bytes() == before


def test_demo_leaves_a_foreign_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="only replaces a run"):
        run_demo(folder, small_config(), KEY, SettableClock(present), silent)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_a_demo_that_fails_keeps_the_older_run(demo_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(demo_run, copy)
    before = (copy / "summary.json").read_bytes()

    def stop(stage: str, done: int, total: int) -> None:
        if stage.startswith("answers"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(copy, small_config(), KEY, SettableClock(present), stop)
    assert (copy / "summary.json").read_bytes() == before


def test_a_foreign_database_keeps_its_rows(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    with sqlite3.connect(folder / "store.db") as shop:
        shop.execute("create table orders (b)")
        shop.execute("insert into orders values (7)")
    for name in ("config.yaml", "audit_head.json", "summary.json"):
        (folder / name).write_text("{}")
    with pytest.raises(StoreError, match="made by this program"):
        run_demo(folder, small_config(), KEY, SettableClock(present), silent)
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(RunError, match=r"with notes\.txt"):
        run_demo(folder, small_config(), KEY, SettableClock(present), silent)
    with sqlite3.connect(folder / "store.db") as shop:
        assert shop.execute("select b from orders").fetchall() == [(7,)]
        tables = shop.execute("select count(*) from sqlite_master where type = 'table'")
        assert tables.fetchone() == (1,)


def test_a_run_with_accounts_of_people_is_kept(demo_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(demo_run, copy)
    with open_store(copy / "store.db", KEY, present) as store:
        create_account(store, "ann", "a long password", "reviewer")
    with pytest.raises(RunError, match="accounts of people"):
        run_demo(copy, small_config(), KEY, SettableClock(present), silent)


@pytest.mark.parametrize("emptied", [True, False])
def test_a_lost_database_is_not_made_anew(demo_run: Path, tmp_path: Path, emptied: bool) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(demo_run, copy)
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (copy / name).unlink(missing_ok=True)
    if emptied:
        (copy / "store.db").touch()
    with pytest.raises(RunError, match="vouches for its events"):
        open_context(copy, KEY, SettableClock(present))
    with pytest.raises(RunError, match="not a whole run"):
        run_demo(copy, small_config(), KEY, SettableClock(present), silent)
    assert (copy / "store.db").exists() is emptied
