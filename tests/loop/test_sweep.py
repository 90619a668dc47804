"""Sweeps: cells, what they share, what is kept of them, how they are counted."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.loop.conftest import silent
from tests.loop.sweep_runs import Inline, laid_out, opened, small_run
from trading_rlhf.backtest import count_trials, sharpe_per_bar
from trading_rlhf.errors import ConfigError
from trading_rlhf.loop import (
    Context,
    luck_of_best,
    make_cells,
    missing_cells,
    read_grid,
    run_sweep,
    sweep_table,
    train_base,
    undisturbed_walks,
    write_table,
)
from trading_rlhf.market import write_bars
from trading_rlhf.store import verify

GRID = """
train.learning_rate: [1e-3, 0.03]
gate.min_trade: [0.002, 0.03]
seeds: [0, 5]
"""


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened_run = opened(small_run(tmp_path))
    yield opened_run
    opened_run.store.close()


@dataclass(frozen=True)
class Finished:
    """A copy of a run in which GRID was swept, its table, and who ran it."""

    context: Context
    table: pd.DataFrame
    workers: Inline


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, Inline]:
    run, workers = small_run(tmp_path_factory.mktemp("sweep")), Inline()
    context = opened(run)
    table = swept(context, GRID, workers)
    context.store.close()
    return run, table, workers


@pytest.fixture
def finished(original: tuple[Path, pd.DataFrame, Inline], tmp_path: Path) -> Iterator[Finished]:
    run, table, workers = original
    context = opened(Path(shutil.copytree(run, tmp_path / "copy")))
    yield Finished(context, table, workers)
    context.store.close()


def swept(context: Context, text: str, workers: Inline | None = None) -> pd.DataFrame:
    workers = workers or Inline()
    return sweep_table(run_sweep(context, laid_out(context, text), lambda _: workers, silent))


def trials(context: Context) -> int:
    with context.store.read() as session:
        return count_trials(session).count


def test_a_cell_is_what_the_run_itself_would_give(context: Context) -> None:
    row = swept(context, "gate.delay: [1]\nseeds: [0]\n").iloc[0]
    context.store.close()
    own = small_run(context.folder, **{"gate.delay": 1})
    again = opened(own)
    try:
        train_base(again, silent)
        walked = undisturbed_walks(again, again.policy("base")[0], None, None)["raw policy"]
    finally:
        again.store.close()
    growth = walked.log_growth[:, 0, 0].double()
    assert row["total_return"] == pytest.approx(float(growth.sum().expm1()), abs=1e-9)
    sharpe = sharpe_per_bar(growth.expm1().numpy()) * again.bars.bars_per_year**0.5
    assert row["sharpe"] == pytest.approx(sharpe, rel=1e-6)
    assert abs(row["total_return"]) > 1e-3


def test_equal_trainings_run_once(finished: Finished) -> None:
    table, workers = finished.table, finished.workers
    assert len(table) == 8
    assert sorted(len(job.cells) for job in workers.ran) == [2, 2, 2, 2]
    by_training = {job.cells[0].training for job in workers.ran}
    assert len(by_training) == 4
    for job in workers.ran:
        first, second = (cell.config.gate.min_trade for cell in job.cells)
        assert (first, second) == (0.002, 0.03)
    # Tested under settings of their own, although trained once.
    pairs = table.groupby(["train.learning_rate", "seed"])["turnover"]
    assert (pairs.nunique() == 2).all()
    assert (pairs.last() < pairs.first()).all()


@pytest.mark.parametrize(
    ("text", "trainings"),
    [
        ("gate.min_trade: [0.0, 0.01]", 1),
        ("equity: [1e5, 1e6]", 1),
        ("costs.impact: [null, {coefficient: 1.0}]\nequity: [1e5, 1e6]", 3),
        ("gate.delay: [0, 2]", 2),
        ("costs.half_spread_bps: [1, 5]", 2),
        ("train_fraction: [0.6, 0.7]", 2),
        ("histories: [0, 1]", 2),
        ("seeds: 3", 3),
    ],
)
def test_what_a_policy_is_trained_from(context: Context, text: str, trainings: int) -> None:
    cells = laid_out(context, text)
    assert len({cell.training for cell in cells}) == trainings
    assert len({cell.key for cell in cells}) == len(cells)


def test_other_bars_are_other_cells(context: Context) -> None:
    (cell,) = laid_out(context, "seeds: 1")
    path = context.folder / "grid.yaml"
    (other,) = make_cells(read_grid(path), context.config, "0" * 64)
    assert other.key != cell.key
    assert other.training != cell.training
    # What nobody reads in a sweep changes nothing.
    asked = context.config.model_copy(update={"placebos": 3})
    (same,) = make_cells(read_grid(path), asked, context.bars.sha256)
    assert same.key == cell.key


def test_a_second_start_runs_only_what_is_missing(finished: Finished) -> None:
    context = finished.context
    counted = trials(context)
    cells = laid_out(context, GRID)
    files = sorted((context.folder / "sweeps/cells").iterdir())
    assert [file.stem for file in files] == sorted(cell.key for cell in cells)
    (context.folder / f"sweeps/cells/{cells[2].key}.json").unlink()
    damaged = context.folder / f"sweeps/cells/{cells[5].key}.json"
    damaged.write_text(damaged.read_text()[:40])
    assert missing_cells(context, cells) == [cells[2], cells[5]]
    workers = Inline()
    after = swept(context, GRID, workers)
    ran = {cell.key for job in workers.ran for cell in job.cells}
    assert ran == {cells[2].key, cells[5].key}
    pd.testing.assert_frame_equal(after, finished.table)
    assert trials(context) == counted == 8
    assert not list(context.folder.glob("sweeps/work"))

    def nobody(jobs: int) -> Inline:
        raise AssertionError(f"nothing is missing, but workers for {jobs} jobs are hired")

    run_sweep(context, cells, nobody, silent)


def test_a_failing_cell_is_told_and_the_rest_finishes(context: Context) -> None:
    table = swept(context, "train.horizon: [24, 400]\nseeds: 2\n")
    assert table["status"].tolist()[:2] == ["done", "done"]
    assert all("at least horizon + 2 = 402 bars" in text for text in table["status"][2:])
    assert table["sharpe"].notna().tolist() == [True, True, False, False]
    # A look is a look, whatever came of it; and it is tried again at the next start.
    assert trials(context) == 4
    assert len(missing_cells(context, laid_out(context, "train.horizon: [24, 400]\nseeds: 2"))) == 2


def test_a_lost_job_is_started_once_more(context: Context) -> None:
    assert swept(context, "seeds: 2", Inline(lose=1))["status"].tolist() == ["done", "done"]
    table = swept(context, "seeds: [7, 8, 9]", Inline(lose=4))
    assert sorted(table["status"] == "done") == [False, True, True]
    lost = table["status"][table["status"] != "done"].iloc[0]
    assert lost == (
        "Tried 2 times: its worker process was killed. "
        "Check its memory, then start the sweep again."
    )


def test_bars_that_change_under_a_sweep_are_noticed(context: Context) -> None:
    cells = laid_out(context, "seeds: 1")
    data = Path(context.config.data)
    earlier = data.read_bytes()
    small_run_bars = context.bars.window(0, 400)
    data.unlink()
    write_bars(small_run_bars, data)
    table = sweep_table(run_sweep(context, cells, lambda _: Inline(), silent))
    assert "same bars" in table["status"].iloc[0]
    data.write_bytes(earlier)


def test_every_cell_is_a_trial_and_the_best_is_judged_by_all(finished: Finished) -> None:
    context = finished.context
    cells = laid_out(context, GRID)
    result = run_sweep(context, cells, lambda _: Inline(), silent)
    found = luck_of_best(context, result)
    assert found is not None
    best, luck = found
    table = sweep_table(result)
    assert best == int(table["sharpe"].to_numpy().argmax())
    assert luck.trials == 8
    with context.store.read() as session:
        sharpes = np.sort(count_trials(session, context.bars.bars_per_year).sharpes)
    expected = np.sort(table["sharpe"].to_numpy()) / context.bars.bars_per_year**0.5
    np.testing.assert_allclose(sharpes, expected, rtol=1e-9)
    assert luck.dsr is not None
    assert luck.psr is not None
    assert luck.dsr < luck.psr
    assert verify(context.store, context.folder / "audit_head.json").ok


def test_the_table_is_one_parquet_file(context: Context) -> None:
    text = (
        "costs.impact: [null, {coefficient: 0.5}]\nfeatures: [[trend_60], [trend_60, reversal_5]]\n"
        "costs.whole_shares: [false]\npolicy.hidden: [8]\n"
    )
    table = swept(context, text)
    path = context.folder / "sweeps/t.parquet"
    write_table(table, path)
    read = pd.read_parquet(path)
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert read["features"].tolist() == ['["trend_60"]', '["trend_60", "reversal_5"]'] * 2
    assert read["costs.impact"].iloc[0] == "null"
    assert '"coefficient": 0.5' in read["costs.impact"].iloc[2]
    assert read["policy.hidden"].dtype == np.int64
    assert read["costs.whole_shares"].dtype == bool
    assert set(read["status"]) == {"done"}
    assert read["engine"].str.len().min() > 0
    assert [file.name for file in path.parent.iterdir() if file.is_file()] == ["t.parquet"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a grid holds keys and values"),
        ("- 3", "a grid holds keys and values"),
        ("train.iterations: [", "a grid is a readable YAML file"),
        ("train.iterations: 3", "train.iterations must be a list of values; got 3. Write it as"),
        ("train.iterations: []", "train.iterations must be a list of values"),
        ("train.iterations: [3, 0]", "greater than or equal to 1"),
        ("train.iterations: [3, many]", "many"),
        ("train.iteration: [3]", "train.iteration: extra inputs are not permitted"),
        ("costs.impact.coefficient: [1]", "impact must be a section"),
        ("trains: [3]", "a sweep varies what the base policy's training and test read; got trains"),
        ("shaping.price: [3]", "got shaping.price"),
        ("gate.threshold: [0.4]", "got gate.threshold"),
        ("seed: [3]", "got seed"),
        ("data: [us4]", "got data"),
        ("3: [3]", "a key that is no word"),
        ("equity: [1e6, 1000000]", "the cells of a grid must differ"),
        ("seeds: 0", "seeds must be a count from 1"),
        ("seeds: [1, true]", "seeds must be a count from 1"),
        ("seeds: 1000000000", "seeds must be a count from 1 to 100,000"),
        (f"seeds: 100000\nequity: {list(range(1, 200))}", "got 199 x 100,000 = 19,900,000"),
        ("train: [{horizon: 9}]\ntrain.horizon: [8]", "not overlap; got train and train.horizon"),
        ("gate.min-trade: [0.1]\ngate.min_trade: [0.1]", "gate.min-trade and gate.min_trade"),
        ("seeds: [4, 4]", "the cells of a grid must differ"),
        ("seeds: [-4]", "greater than or equal to 0"),
        ("gate.delay: [30]", "an order lapses"),
    ],
)
def test_bad_grids_are_one_sentence(context: Context, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        laid_out(context, text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (context.folder / "sweeps").exists()


def test_settings_that_are_refused_would_change_nothing(context: Context) -> None:
    """Nobody refuses in a sweep, so thresholds and cool-downs are not met."""
    train_base(context, silent)
    policy, _ = context.policy("base")
    base = undisturbed_walks(context, policy, None, None)["raw policy"]
    gate = context.config.gate.model_copy(
        update={"threshold": 0.9, "slope": 3.0, "cooldown": 50, "resize_steps": 4}
    )
    other = replace(context, config=context.config.model_copy(update={"gate": gate}))
    same = undisturbed_walks(other, policy, None, None)["raw policy"]
    assert torch.equal(base.log_growth, same.log_growth)


def test_what_was_begun_stays_counted(context: Context) -> None:
    class Stopped(Inline):
        closed = False

        def next(self) -> tuple:
            raise KeyboardInterrupt

        def close(self) -> None:
            self.closed = True

    workers = Stopped()
    with pytest.raises(KeyboardInterrupt):
        swept(context, "seeds: 5", workers)
    assert workers.closed
    # Two workers were at work; the other three cells were never looked at.
    assert trials(context) == 2
    assert not (context.folder / "sweeps/work").exists()
