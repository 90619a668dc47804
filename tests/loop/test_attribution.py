"""Who picked the trades that earned: groups, reviewers, intervals, and what does not count."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.loop.conftest import KEY, present
from tests.loop.hand_made import (
    answer,
    close_of_a,
    make_context,
    make_person,
    make_simulated,
    make_trade,
    open_of_a,
)
from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.loop import Context, SettableClock, open_context
from trading_rlhf.loop.attribution import attribute, attribution_tables, reviewed_trades


@pytest.fixture
def context(tmp_path: Path, audit_key: bytes) -> Iterator[Context]:
    made = make_context(tmp_path, audit_key)
    yield made
    made.store.close()


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def item(group: str, bar: int, profit: float, notional: float = 1.0) -> dict[str, object]:
    return {
        "source": "human", "reviewer": "ann", "group": group, "bar": bar,
        "profit": profit, "notional": notional,
    }  # fmt: skip


def earned(t: int) -> float:
    """Basis points of a buy of A at the open after t, sold at the close of t + 20, 10 bps each."""
    relative = close_of_a(t + 20) / open_of_a(t + 1)
    return 1e4 * (relative - 1.0 - 0.001 * (1.0 + relative))


def test_answers_fall_into_groups_with_exact_profit(context: Context) -> None:
    ann, bot = make_person(context, "ann"), make_simulated(context, "simulated-1")
    answer(context, ann, make_trade(context, 30), "approve")
    answer(context, ann, make_trade(context, 40), "reject")
    answer(context, ann, make_trade(context, 50), "cannot_tell")
    answer(context, bot, make_trade(context, 30), "reject")
    ReviewDesk(context.store, context.clock).add_proposals([make_trade(context, 60)])
    items, left_out = reviewed_trades(context)
    assert left_out == {}
    found = {(row.source, row.reviewer, row.group, row.bar): row.bps for row in items.itertuples()}
    assert found == pytest.approx(
        {
            ("human", "ann", "approved", 30): earned(30),
            ("human", "ann", "rejected", 40): earned(40),
            ("human", "ann", "cannot tell", 50): earned(50),
            ("simulated", "simulated-1", "rejected", 30): earned(30),
            ("nobody", "", "unreviewed", 60): earned(60),
        }
    )


def test_a_resize_counts_at_the_reviewers_weight(context: Context) -> None:
    ann = make_person(context, "ann")
    answer(context, ann, make_trade(context, 30), "resize", resized_to=0.05)
    answer(context, ann, make_trade(context, 40), "resize", resized_to=0.0)
    items, _ = reviewed_trades(context)
    assert items["group"].tolist() == ["approved", "rejected"]
    # Resized to nothing is a refusal of the trade as it was proposed.
    assert items["change"].tolist() == pytest.approx([0.05, 0.2])
    assert items["bps"].tolist() == pytest.approx([earned(30), earned(40)])


def test_what_does_not_count_is_left_out_and_said(context: Context) -> None:
    ann, bob = make_person(context, "ann"), make_person(context, "bob")
    answer(context, ann, make_trade(context, 150, mode="live"), "approve")
    answer(context, ann, make_trade(context, 140, mode="live"), "approve")  # ann knows better now
    answer(context, bob, make_trade(context, 52, mode="practice"), "approve")
    last = len(context.bars.dates) - 1
    answer(context, bob, make_trade(context, last), "approve")
    moved = replace(make_trade(context, 60), known_at=make_trade(context, 59).known_at)
    answer(context, bob, moved, "approve")
    items, left_out = reviewed_trades(context)
    assert items["bar"].tolist() == [150]
    assert left_out == {
        "hindsight": 1,
        "answer to a practice item": 1,
        "no later bar": 1,
        "made on other bars": 1,
    }


def test_means_are_of_notional_and_their_difference_is_tested() -> None:
    rows = [item("approved", 3 * k, 0.002) for k in range(60)]
    rows += [item("approved", 3 * k, 0.012, notional=4.0) for k in range(60)]
    rows += [item("rejected", 3 * k + 1, -0.001) for k in range(60)]
    table, differences = attribution_tables(pd.DataFrame(rows), draws())
    everyone = table[table["reviewer"] == "all"].set_index("group")
    # (0.002 + 0.012) / (1 + 4) is 28 bps in every resampled history, too.
    assert everyone.loc["approved", ["items", "bps", "low", "high"]].tolist() == pytest.approx(
        [120, 28.0, 28.0, 28.0]
    )
    assert everyone.loc["rejected", ["items", "bps"]].tolist() == pytest.approx([60, -10.0])
    row = differences.set_index("reviewer").loc["ann"]
    assert row[["bps", "low", "high", "p_value"]].tolist() == pytest.approx([38, 38, 38, 1 / 1001])


def test_few_items_or_a_short_stretch_are_not_enough() -> None:
    few = [item("approved", 4 * k, 0.002) for k in range(49)]
    crowded = [item("rejected", k % 99, 0.001) for k in range(200)]
    table, differences = attribution_tables(pd.DataFrame(few + crowded), draws())
    assert table["bps"].isna().all()
    assert table["low"].isna().all()
    assert table["note"].tolist()[:2] == [
        "not enough: 49 of 50 trades",
        "not enough: decided within 99 bars, of 100",
    ]
    assert differences[["bps", "p_value"]].isna().all(axis=None)
    assert differences["note"].str.contains("49 of 50").all()


def test_outcomes_that_overlap_widen_the_interval() -> None:
    # The same numbers, alike within stretches of 20 bars or in random order.
    noise = np.random.default_rng(0)
    stretched = np.repeat(noise.normal(0, 0.01, 50), 20)

    def width(values: np.ndarray) -> float:
        rows = pd.DataFrame([item("approved", t, x) for t, x in enumerate(values)])
        row = attribution_tables(rows, draws())[0].iloc[0]
        return row["high"] - row["low"]

    assert width(stretched) > 2 * width(noise.permutation(stretched))


def test_noise_is_called_noise_and_the_same_draws_give_the_same_table() -> None:
    noise = np.random.default_rng(1)
    rows = pd.DataFrame(
        [item(("approved", "rejected")[k % 2], k, noise.normal(0, 0.02)) for k in range(400)]
    )
    table, differences = attribution_tables(rows, draws())
    assert (differences["p_value"] > 0.1).all()
    assert (differences["low"] < 0).all()
    assert (differences["high"] > 0).all()
    pd.testing.assert_frame_equal(table, attribution_tables(rows, draws())[0])


def test_a_run_without_proposals_has_nothing_to_attribute(context: Context) -> None:
    found = attribute(context)
    assert len(found.table) == len(found.differences) == len(found.items) == 0
    assert found.sentences == ()


def test_a_demo_says_that_its_reviewers_are_simulated(demo_run: Path) -> None:
    context = open_context(demo_run, KEY, SettableClock(present))
    try:
        found = attribute(context)
    finally:
        context.store.close()
    assert set(found.table["source"]) == {"simulated", "nobody"}
    assert found.sentences[0].startswith("All simulated reviewers: ")
    everyone = found.table[found.table["reviewer"] == "all"].set_index("group")
    single = found.table[~found.table["reviewer"].isin(["all", ""])]
    assert everyone["items"].to_dict() == single.groupby("group")["items"].sum().to_dict()
    # The larger of both groups: fewer than 50 trades are not enough for a mean.
    most = everyone["items"].idxmax()
    items = found.items[found.items["group"] == most]
    mean = 1e4 * items["profit"].sum() / items["notional"].sum()
    assert everyone.loc[most, "bps"] == pytest.approx(mean)
    assert everyone.loc[most, "low"] < mean < everyone.loc[most, "high"]
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert mean in [pytest.approx(row["bps"]) for row in written["table"] if row["bps"] is not None]
