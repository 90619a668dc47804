"""The replay under reviews that last: orders leave when their review is over."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.loop.conftest import KEY, SMALL, present, silent
from trading_rlhf.config import read_config
from trading_rlhf.errors import ConfigError
from trading_rlhf.loop import SettableClock, run_demo
from trading_rlhf.market import Bars, bar_open, load_sample, read_bars, write_bars
from trading_rlhf.store import open_store, read_events

SHORT = SMALL | {"train.iterations": 6, "shape.iterations": 3, "ask.answers": 60, "placebos": 1}


def hourly(path: Path) -> Bars:
    """A stretch of us4 with seven hourly bars a session."""
    bars = load_sample("us4").window(1500, 2200)
    days = pd.bdate_range("2015-01-05", periods=100).tz_localize("America/New_York")
    times = [day + pd.Timedelta(hours=9.5 + hour) for day in days for hour in range(7)]
    names = ("open", "high", "low", "close", "volume")
    columns = [np.asarray(getattr(bars, name)) for name in names]
    made = Bars(pd.DatetimeIndex(times).tz_convert("UTC"), bars.symbols, *columns)
    write_bars(made, path)
    return made


def fills_after(run: Path, bars: Bars) -> list[int]:
    """For each fill: bars between its decision and its session."""
    opens = {bar_open(bars, t): t for t in range(bars.shape[0])}
    with open_store(run / "store.db", KEY, present) as store, store.read() as session:
        decided = {
            event.subject: event.payload["order"]["known_at"]
            for event in read_events(session, "order", kind="intent")
        }
        fills = [event.payload["fill"] for event in read_events(session, "fill", kind="fill")]
    known = {order: datetime.fromisoformat(at) for order, at in decided.items()}
    filled = {f["client_order_id"]: datetime.fromisoformat(f["at"]) for f in fills}
    # A bar is known when or before the next one opens.
    before = {order: max(t for at, t in opens.items() if at < known[order]) for order in filled}
    return [opens[at] - before[order] for order, at in filled.items()]


def test_hourly_bars_with_a_review_of_one_bar(tmp_path: Path) -> None:
    path = tmp_path / "hourly.parquet"
    bars = hourly(path)
    config = read_config(
        None,
        {
            **SHORT,
            "data": str(path),
            "gate.delay": 1,
            "gate.cooldown": 0,
            "desk.style": "calm",
            "replay.sessions": 80,
        },
    )
    summary = run_demo(tmp_path / "run", config, KEY, SettableClock(present), silent)
    assert summary["audit"]["ok"]
    assert summary["reconciled"]
    waits = fills_after(tmp_path / "run", read_bars(path))
    assert len(waits) == summary["fills"] > 0
    assert set(waits) == {2}
    assert bars.bars_per_year == 7 * 252


def test_hourly_bars_leave_no_time_to_review_between_them(tmp_path: Path) -> None:
    path = tmp_path / "hourly.parquet"
    hourly(path)
    config = read_config(None, {**SHORT, "data": str(path)})
    with pytest.raises(ConfigError, match=r"Pass --gate.delay 1\."):
        run_demo(tmp_path / "run", config, KEY, SettableClock(present), silent)
    assert not (tmp_path / "run").exists()


def test_one_asset_whose_answers_are_all_alike(tmp_path: Path) -> None:
    """Nothing can be ranked then: the figure is missing and the run goes on."""
    bars = load_sample("us4").window(1500, 2200)
    names = ("open", "high", "low", "close", "volume", "raw_close", "split", "dividend", "tradable")
    columns = [getattr(bars, name)[:, :1] for name in names]
    path = tmp_path / "one.parquet"
    write_bars(Bars(bars.dates, bars.symbols[:1], *columns), path)
    config = read_config(None, {**SHORT, "data": str(path)})
    summary = run_demo(tmp_path / "run", config, KEY, SettableClock(present), silent)
    assert summary["reward_model"]["auc"] is None
    assert summary["reward_model"]["tested_on"] > 0
