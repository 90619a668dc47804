"""Who proposes: better challengers win, others do not, and there is a way back."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.champion_runs import (
    FEATURES,
    add_desk,
    add_policy,
    champion_run,
    opened,
    planted_bars,
)
from tests.loop.conftest import silent
from tests.loop.hand_made import make_trade
from trading_rlhf.backtest import PairedTest, count_trials
from trading_rlhf.backtest.arms import ArmFigures
from trading_rlhf.config import read_config
from trading_rlhf.errors import RunError
from trading_rlhf.loop import Context, store_policy, train_base
from trading_rlhf.loop.champions import (
    by_champion,
    champion_id,
    line_of_champions,
    promote,
    proposing_policy,
    rollback,
    waiting_challenger,
)
from trading_rlhf.loop.evaluation import Evaluation, Side, judge
from trading_rlhf.store import verify

RISING, FALLING, BUSY, QUIET = (0.5, 0.0), (-0.5, 0.0), (0.0, 1.0), (0.0, -1.0)
"""What policies buy: what rose (right on this market) or fell, what is traded much or little."""


@pytest.fixture
def context(tmp_path: Path, audit_key: bytes) -> Iterator[Context]:
    context = opened(champion_run(tmp_path), audit_key)
    yield context
    context.store.close()


def test_a_better_challenger_is_promoted(context: Context) -> None:
    worse = add_policy(context, *FALLING)
    (first,) = promote(context)
    assert (first["id"], first["over"], first["reason"]) == (worse, None, "first, unopposed")
    assert "p" not in first
    better = add_policy(context, *RISING)
    assert waiting_challenger(context) == better
    (decision,) = promote(context)
    assert decision["event"] == "promoted"
    assert (decision["id"], decision["over"]) == (better, worse) == (champion_id(context), worse)
    assert decision["p"] < 0.01
    sides = decision["figures"]
    difference = sides["challenger"]["profit"] - sides["champion"]["profit"]
    assert decision["growth_difference_bps"] == pytest.approx(difference, rel=1e-4)
    assert decision["low_bps"] < difference < decision["high_bps"]
    assert decision["bars"] == len(context.validation_bars) - 1
    assert proposing_policy(context)[1].id == better


@pytest.mark.parametrize(("old", "new"), [(RISING, FALLING), (BUSY, QUIET), (QUIET, BUSY)])
def test_worse_and_equal_ones_are_not(context: Context, old: tuple, new: tuple) -> None:
    reigning, challenger = add_policy(context, *old), add_policy(context, *new)
    crowned, decision = promote(context)
    assert (crowned["id"], crowned["reason"]) == (reigning, "first, unopposed")
    assert (decision["event"], decision["id"], decision["over"]) == ("kept", reigning, challenger)
    assert champion_id(context) == reigning == proposing_policy(context)[1].id
    assert "growth" in decision["reason"]
    # Newer answers may turn it, nothing else: the same two do not meet again by themselves.
    assert waiting_challenger(context) is None
    with pytest.raises(RunError, match="none that is new"):
        promote(context)
    assert promote(context, challenger[:8])[0]["event"] == "kept"


def test_a_fall_in_approval_vetoes(context: Context) -> None:
    """The challenger grows far more, on trades that the desk likes less."""
    reigning, challenger = add_policy(context, *BUSY), add_policy(context, *RISING)
    model = add_desk(context, (0.5, 3.0))
    decision = promote(context)[-1]
    assert decision["p"] < 0.05
    assert decision["approval_change"] < -0.02
    assert (decision["event"], decision["id"]) == ("kept", reigning)
    assert decision["reason"].startswith("approval is down by")
    assert decision["reward_model"] == model
    # A desk that likes both lets it pass.
    add_desk(context, (3.0, 0.5))
    again = promote(context, challenger)[-1]
    assert (again["event"], again["id"]) == ("promoted", challenger)


def figures(approval: float | None) -> ArmFigures:
    return ArmFigures(approval, approval, 1.0, 1.0, 0.1, 1.0, 0.1, 60 if approval else 12)


def evaluation(old: float | None, new: float | None, difference: float, p: float) -> Evaluation:
    growth = PairedTest(difference, -1.0, 1.0, p, p, 0.9, 5.0)
    sides = [Side(name, figures(x), torch.zeros(3)) for name, x in (("new", new), ("old", old))]
    return Evaluation(sides[0], sides[1], growth, None, 3)


@pytest.mark.parametrize(
    ("old", "new", "difference", "p", "promoted", "lacks"),
    [
        (0.70, 0.70, 1e-4, 0.099, True, "higher growth"),
        (0.70, 0.70, 1e-4, 0.100, False, "can be luck (p 0.10)"),
        (0.70, 0.68, 1e-4, 0.01, True, "higher growth"),
        (0.70, 0.679, 1e-4, 0.01, False, "down by 2.1 points"),
        (0.70, 0.90, 0.0, 0.01, False, "growth is not higher"),
        (0.70, None, 1e-4, 0.01, False, "approval of 12 trades is not measured"),
        (None, 0.10, 1e-4, 0.01, True, "higher growth"),
        (None, None, 1e-4, 0.01, True, "higher growth"),
        (0.70, 0.10, -1e-4, 0.99, False, "growth is not higher and approval is down"),
    ],
)
def test_the_rule_at_its_bounds(
    old: float | None, new: float | None, difference: float, p: float, promoted: bool, lacks: str
) -> None:
    verdict = judge(evaluation(old, new, difference, p))
    assert verdict.promoted is promoted
    assert lacks in verdict.reason


def test_rollback_restores_and_joins_the_line(context: Context) -> None:
    a = add_policy(context, *FALLING)
    with pytest.raises(RunError, match="needs an earlier champion"):
        rollback(context)
    promote(context)
    with pytest.raises(RunError, match="needs an earlier champion"):
        rollback(context)
    b = add_policy(context, *BUSY)
    promote(context)
    c = add_policy(context, *RISING, kind="shaped")
    promote(context)
    assert champion_id(context) == c
    back = rollback(context)
    assert (back["event"], back["id"], back["over"]) == ("rolled_back", b, c)
    assert proposing_policy(context)[1].id == b
    # Who was put down waits for nobody: it comes back by name only.
    assert waiting_challenger(context) is None
    assert rollback(context)["id"] == a
    with pytest.raises(RunError, match="needs an earlier champion"):
        rollback(context)
    assert rollback(context, c[:6])["id"] == c
    # Back to whom c replaced last.
    assert rollback(context)["id"] == a
    events = [(row["event"], row["id"]) for row in line_of_champions(context)]
    assert events == [
        ("promoted", a), ("promoted", b), ("promoted", c),
        ("rolled_back", b), ("rolled_back", a), ("rolled_back", c), ("rolled_back", a),
    ]  # fmt: skip
    shown = line_of_champions(context)[-1]["figures"]["challenger"]
    assert shown == line_of_champions(context)[0]["figures"]["challenger"]
    assert verify(context.store, context.folder / "audit_head.json").ok


@pytest.mark.parametrize(
    ("name", "words"),
    [("zzzz", "'zzzz'"), ("", "''"), ("QUIET", "a former champion"), ("BUSY", "who reigns")],
)
def test_rollback_names_a_former_champion(context: Context, name: str, words: str) -> None:
    ids = {"BUSY": add_policy(context, *BUSY), "QUIET": add_policy(context, *QUIET)}
    promote(context)
    with pytest.raises(RunError, match=words):
        rollback(context, ids.get(name, name))
    assert champion_id(context) == ids["BUSY"]


def test_every_try_counts_as_a_trial(context: Context) -> None:
    add_policy(context, *BUSY)
    challenger = add_policy(context, *QUIET)
    crowned, kept = promote(context)
    assert (crowned["trial"], kept["trial"]) == (1, 2)
    assert (crowned["tries"], kept["tries"]) == (1, 2)
    add_policy(context, *FALLING)
    assert promote(context)[-1]["trial"] == 3
    with context.store.read() as session:
        assert count_trials(session).count == 3
    # The same two under the same desk are the same trial, yet a further look at these bars.
    again = promote(context, challenger)[-1]
    assert (again["trial"], again["tries"]) == (3, 4)
    add_desk(context, (3.0, 0.0))
    assert promote(context, challenger)[-1]["trial"] == 4


def decided_on(folder: Path, key: bytes, changed: slice | None) -> tuple[Context, dict]:
    """The decision on a market some of whose bars are others."""
    bars = planted_bars()
    if changed is not None:
        factor = np.ones(bars.shape)
        factor[changed] = np.random.default_rng(1).uniform(0.8, 1.25, factor[changed].shape)
        bars = replace(bars, open=bars.open * factor, close=bars.close * factor)
    context = opened(champion_run(folder, bars), key)
    try:
        add_policy(context, *BUSY)
        add_policy(context, *RISING)
        add_desk(context, (0.5, 3.0))
        decision = promote(context)[-1]
    finally:
        context.store.close()
    stamped = {"at", "data_sha256"}
    return context, {name: value for name, value in decision.items() if name not in stamped}


def test_test_bars_never_enter(tmp_path: Path, audit_key: bytes) -> None:
    context, decision = decided_on(tmp_path / "a", audit_key, None)
    validation, test = context.validation_bars, context.test_bars
    # Not even the purged bars before them do.
    other, same = decided_on(tmp_path / "b", audit_key, slice(validation.stop, None))
    assert other.bars.sha256 != context.bars.sha256
    assert same == decision
    assert validation.stop + 20 == test.start
    _, differs = decided_on(tmp_path / "c", audit_key, slice(validation.stop - 2, None))
    assert differs["figures"] != decision["figures"]


def test_neither_may_be_fitted_on_validation_bars(tmp_path: Path, audit_key: bytes) -> None:
    run = champion_run(tmp_path, validation_fraction=0.0)
    context = opened(run, audit_key)
    fitted_on_them = train_base(context, silent).id
    with pytest.raises(RunError, match="at least 60 validation bars; got 0"):
        promote(context)
    context.store.close()
    # The same run, which now keeps bars that this policy was fitted on.
    settings = read_config(run / "config.yaml", {"validation_fraction": 0.2})
    context = opened(run, audit_key, settings)
    try:
        with pytest.raises(RunError, match="validation from 2002-08"):
            promote(context)
        train_base(context, silent)
        assert promote(context)[-1]["reason"] == "first, unopposed"
        # A child is no cleaner than its parent.
        store_child(context, context.policy("base")[0], fitted_on_them)
        with pytest.raises(RunError, match="must be fitted 20 bars before validation"):
            promote(context)
    finally:
        context.store.close()


def store_child(context: Context, base: torch.nn.Module, parent: str) -> None:
    with torch.no_grad():
        base.head_bias += 0.1
    store_policy(context, base, "shaped", parent)


def test_policies_of_unknown_training_do_not_reign(context: Context) -> None:
    name = add_policy(context, *RISING)
    event = context.newest("policy", "base")
    assert event is not None
    older = {k: v for k, v in event.payload.items() if k != "trained_to"}
    context.record("policy", "base", older, subject=name)
    with pytest.raises(RunError, match="must be known"):
        promote(context)
    assert line_of_champions(context) == []


def test_other_features_cannot_be_compared(tmp_path: Path, audit_key: bytes) -> None:
    run = champion_run(tmp_path)
    context = opened(run, audit_key)
    add_policy(context, *RISING)
    promote(context)
    context.store.close()
    settings = read_config(run / "config.yaml", {"features": list(FEATURES[:1])})
    context = opened(run, audit_key, settings)
    try:
        with pytest.raises(RunError, match="with return_1, volume_20"):
            proposing_policy(context)
    finally:
        context.store.close()


def test_only_the_champion_s_trades_are_released(context: Context) -> None:
    trades = [make_trade(context, 300, symbol=s, policy_id=16 * s.lower()) for s in "AB"]
    assert by_champion(context, trades) == (trades, [])
    reigning = add_policy(context, *RISING)
    promote(context)
    trades[1] = replace(trades[1], policy_id=reigning)
    own, held = by_champion(context, trades)
    assert own == trades[1:]
    assert [refusal.proposal_id for refusal in held] == [trades[0].id]
    assert f"policy aaaaaaaa proposed it, and {reigning[:8]} is the champion" in held[0].sentence


def test_no_policy_is_said_plainly(context: Context) -> None:
    for use in (promote, proposing_policy):
        with pytest.raises(RunError, match="trading-rlhf train"):
            use(context)
    with pytest.raises(RunError, match="needs an earlier champion"):
        rollback(context)


def test_a_placebo_never_reigns(context: Context) -> None:
    add_policy(context, *BUSY)
    placebo = add_policy(context, *RISING, kind="placebo")
    (only,) = promote(context)
    assert only["reason"] == "first, unopposed"
    with pytest.raises(RunError, match="a challenger is named by an id"):
        promote(context, placebo)


def test_tampering_with_the_line_is_found(context: Context) -> None:
    add_policy(context, *BUSY)
    add_policy(context, *QUIET)
    promote(context)
    head = context.folder / "audit_head.json"
    assert verify(context.store, head).ok
    with sqlite3.connect(context.folder / "store.db") as raw:
        # Somebody with the file in hand drops what guards it first.
        names = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            raw.execute(f"DROP TRIGGER {name}")
        swap = "UPDATE events SET payload = replace(payload, ?, ?) WHERE kind = 'kept'"
        assert raw.execute(swap, ('"p":0', '"p":1')).rowcount == 1
    report = verify(context.store, head)
    assert not report.ok
    assert "policy" in " ".join(report.problems)
