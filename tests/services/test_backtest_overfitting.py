"""Overfitting among the strategies of a run's sweeps: what is counted, and when it is said."""

import json
import re
from pathlib import Path

import numpy as np

from tests.loop.sweep_runs import small_run
from tests.services.tested_run import stage_of
from trading_rlhf.backtest import record_trial, sharpe_per_bar
from trading_rlhf.loop import Context
from trading_rlhf.services.backtest_overfitting import overfitting_sentence
from trading_rlhf.services.stages import open_stage

KEY = b"audit key of the tests, 32 bytes"


def sweep_cells(context: Context, count: int, data: str) -> None:
    """Keep made-up cells as a sweep does, and count them on some data."""
    folder = context.folder / "sweeps" / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(count)
    with context.store.write() as session:
        for seed in range(100 * count, 101 * count):
            returns = draws.normal(0, 0.01, len(context.test_bars) - 1)
            key = f"{data[:4]}{seed}"
            (folder / f"{key}.json").write_text(json.dumps({"returns": returns.tolist()}))
            record_trial(
                session, "backtest", config={"cell": key}, data=data, seed=seed,
                actor="system", sharpe=sharpe_per_bar(returns), subject="sweep",
            )  # fmt: skip


def test_overfitting_needs_ten_strategies_on_these_bars(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    with open_stage(stage_of(run, KEY)) as context:
        assert "sweeps hold 0" in overfitting_sentence(context)
        assert f"--run {run} --sweep grid.yaml" in overfitting_sentence(context)
        sweep_cells(context, 30, "other data")
        sweep_cells(context, 9, context.bars.sha256)
        (context.folder / "sweeps" / "cells" / "torn.json").write_text("{")
        assert "sweeps hold 9" in overfitting_sentence(context)
        sweep_cells(context, 12, context.bars.sha256)
        found = re.match(r"PBO (0\.\d\d|1\.00) over 21 strategies", overfitting_sentence(context))
        assert found
        assert 0.1 < float(found[1]) < 0.9  # pure noise
