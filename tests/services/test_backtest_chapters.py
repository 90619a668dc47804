"""Chapters of a backtest that are made when asked for: written, kept while they hold, offered."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.services.tested_run import silent, stage_of
from trading_rlhf.config import read_config, write_config
from trading_rlhf.errors import DataError
from trading_rlhf.loop import EQUAL, HOLD, POLICY, SettableClock, open_context, train_base
from trading_rlhf.market import load_sample, write_bars
from trading_rlhf.services.backtest_chapters import chapter_file, optional_chapters
from trading_rlhf.services.backtest_view import ViewSection, backtest_view
from trading_rlhf.services.backtests import backtest_run
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.types import JsonDict

KEY = b"audit key of the tests, 32 bytes"
QUICK = {
    "features": ["trend_60", "reversal_5"], "train.iterations": 2, "train.batch": 8,
    "train.horizon": 8, "folds.periods": 2, "folds.groups": 3,
}  # fmt: skip


def chapter(run: Path, title: str) -> ViewSection:
    view = backtest_view(run)
    assert view is not None
    return next(section for section in view.sections if section.title == title)


def with_settings(run: Path, **changes: object) -> Stage:
    stage = stage_of(run, KEY)
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    return Stage(run, stage.secrets, None, overrides, silent)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JsonDict, list[ViewSection]]:
    """A run whose backtest made both chapters, what came back, and the chapters."""
    folder = tmp_path_factory.mktemp("chapters")
    write_bars(load_sample("us4").window(1200, 1600), folder / "bars.parquet")
    run = folder / "run"
    run.mkdir()
    config = read_config(None, {"data": str(folder / "bars.parquet"), **QUICK})
    write_config(config, run / "config.yaml")
    context = open_context(run, KEY, SettableClock(system_clock), config)
    try:
        train_base(context, silent)
    finally:
        context.store.close()
    _, facts = backtest_run(stage_of(run, KEY), ["walk-forward", "cpcv"])
    return run, facts, [chapter(run, title) for title in ("Walk-forward", "Cross-validation")]


def test_both_are_chapters_with_what_a_quant_asks(
    tested: tuple[Path, JsonDict, list[ViewSection]],
) -> None:
    run, facts, (forward, paths) = tested
    plot, headlines, pairs, stretches = forward.parts
    assert plot.figure is not None
    assert [row[0] for row in headlines.rows] == [POLICY, EQUAL, HOLD]
    assert {"Total return", "Return (yearly)", "Sharpe (yearly)", "Max drawdown", "PSR", "DSR"} < {
        *headlines.columns
    }
    assert all(" to " in row[column] for row in headlines.rows for column in (1, 2, 3, 4))
    assert [row[0] for row in pairs.rows] == [
        f"{POLICY} against {other}" for other in (EQUAL, HOLD)
    ]
    assert len(stretches.rows) == 2
    assert "trained anew 2 times, on all earlier bars up to 20 bars before" in forward.lines[0]
    assert any("Is it luck? DSR" in line for line in forward.lines)
    assert "there is no probability of overfitting here" in paths.lines[2]
    assert [row[0] for row in paths.parts[1].rows] == ["path 1", "path 2", EQUAL, HOLD]
    # The command says it, too, and the page as one file.
    assert set(forward.lines) | set(paths.lines) <= set(facts["summary"])
    page = (run / "backtest.html").read_text("utf-8")
    assert "Each stretch" in page
    assert "The paths" in page


def test_the_file_holds_the_curves_that_the_figures_are_of(
    tested: tuple[Path, JsonDict, list[ViewSection]],
) -> None:
    run, facts, _ = tested
    kept = json.loads(chapter_file(run, "walk-forward").read_text())["figures"]
    assert len(kept["dates"]) == len(kept["returns"][POLICY]) + 1
    for name, returns in kept["returns"].items():
        total = np.prod(1.0 + np.array(returns)) - 1.0
        assert kept["measures"][name]["total_return"] == pytest.approx(total)
        stretches = [1.0 + period["total_return"][name] for period in kept["periods"]]
        assert np.prod(stretches) - 1.0 == pytest.approx(total)
    assert facts["walk_forward"]["tests"] == kept["tests"]
    assert "returns" not in facts["walk_forward"]
    # 3 trainings of the cross-validation, 2 of the walk-forward, its chain, the two rules.
    assert kept["luck"][POLICY]["trials"] == 3 + 2 + 1 + 2
    assert facts["luck"]["raw policy"]["trials"] == 8 + 2
    # Nothing that was written aside is left.
    assert not list(run.glob("*.new"))


def test_a_later_backtest_keeps_them_while_they_hold(
    tested: tuple[Path, JsonDict, list[ViewSection]],
) -> None:
    run, _, made = tested
    backtest_run(with_settings(run, folds__periods=4))
    for section in made:
        kept = chapter(run, section.title)
        assert kept.parts == section.parts
        assert kept.lines[:-1] == section.lines
        assert kept.lines[-1].startswith("Kept from an earlier backtest; '--")


@pytest.mark.parametrize("change", [{"train__iterations": 3}, {"costs__slippage_bps": 9}, {}])
def test_another_policy_other_costs_or_a_torn_file_drop_them(
    tested: tuple[Path, JsonDict, list[ViewSection]], change: dict[str, object]
) -> None:
    run, _, _ = tested
    torn = chapter_file(run, "walk-forward")
    text = torn.read_text()
    try:
        if not change:
            torn.write_text(text[: len(text) // 2])
        with open_stage(with_settings(run, **change)) as context:
            found = optional_chapters(context, [], silent)
    finally:
        torn.write_text(text)
    forward, reason = found.sections[0], "was made from other settings" if change else "be read"
    assert forward.parts == []
    assert reason in forward.lines[0]
    assert forward.lines[0] in found.said
    assert f"'trading-rlhf backtest --run {run} --walk-forward' trains the" in forward.lines[1]


def test_settings_that_do_not_fit_are_refused_before_anything_is_trained(
    tested: tuple[Path, JsonDict, list[ViewSection]],
) -> None:
    run, _, _ = tested
    before = chapter_file(run, "cpcv").read_bytes()
    stage = with_settings(run, folds__first=0.99)
    with open_stage(stage) as context, pytest.raises(DataError, match="walk-forward needs"):
        optional_chapters(context, ["cpcv", "walk-forward"], silent)
    assert chapter_file(run, "cpcv").read_bytes() == before
