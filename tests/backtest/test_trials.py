"""The ledger counts every trial once, and never loses one."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trading_rlhf.backtest import count_trials, deflated_sharpe, record_trial, trial_key
from trading_rlhf.errors import AccountingError, StoreError
from trading_rlhf.store import Store, append, open_store

CONFIG = {"arm": "shaped", "weight": 0.5, "costs": {"half_spread_bps": 2.0}}


@pytest.fixture
def store(tmp_path: Path, audit_key: bytes, clock) -> Iterator[Store]:
    with open_store(tmp_path / "store.db", audit_key, clock) as opened:
        yield opened


def record(session, kind="backtest", config=CONFIG, data="d", seed=0, **more):
    return record_trial(session, kind, config=config, data=data, seed=seed, actor="test", **more)


def test_an_empty_ledger(store: Store):
    with store.read() as session:
        found = count_trials(session)
    assert found.count == 0
    assert found.sharpes.shape == (0,)


def test_a_trial_is_counted_once(store: Store):
    with store.write() as session:
        first = record(session, sharpe=0.05, subject="shaped")
        again = record(session, sharpe=0.05)
    assert first.is_new
    assert not again.is_new
    assert (again.id, again.subject) == (first.id, "shaped")
    with store.write() as session:
        assert not record(session, config=dict(reversed(CONFIG.items())), sharpe=0.05).is_new
        found = count_trials(session)
    assert found.count == 1
    assert found.sharpes.tolist() == [0.05]


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"data": "e"}, {"config": CONFIG | {"weight": 0.6}}, {"config": {}}],
)
def test_another_seed_weight_or_market_is_another_trial(store: Store, other):
    with store.write() as session:
        record(session, sharpe=0.05)
        assert record(session, sharpe=0.01, **other).is_new
        found = count_trials(session)
    assert found.count == 2
    assert sorted(found.sharpes.tolist()) == [0.01, 0.05]


def test_a_run_and_its_backtest_are_one_trial_and_a_dropped_run_stays(store: Store):
    with store.write() as session:
        record(session, "run")
        record(session, "run", seed=1)
        record(session, "backtest", sharpe=0.03)
        found = count_trials(session)
    assert found.count == 2
    assert found.sharpes.tolist() == [0.03]


def test_a_backtest_stays_measured_whatever_comes_after(store: Store):
    with store.write() as session:
        record(session, "backtest", sharpe=0.03)
        record(session, "run")
        found = count_trials(session)
    assert (found.count, found.sharpes.tolist()) == (1, [0.03])


def test_settings_are_kept_for_reading_and_make_no_other_trial(store: Store):
    with store.write() as session:
        first = record(session, sharpe=0.05, settings={"replay": 40})
        again = record(session, sharpe=0.05, settings={"replay": 80})
        assert (first.is_new, again.is_new) == (True, False)
        assert first.payload["settings"] == {"replay": 40}
        assert count_trials(session).count == 1


def test_events_without_a_key_are_trials_of_their_own(store: Store):
    with store.write() as session:
        for seed in (0, 0):
            payload = {"arm": "base", "seed": seed, "sharpe_per_bar": 0.02}
            append(session, "trial", "backtest", payload, actor="system")
        record(session, sharpe=0.05)
        found = count_trials(session)
    assert found.count == 3
    assert sorted(found.sharpes.tolist()) == [0.02, 0.02, 0.05]


def test_sharpe_ratios_on_other_bars_are_brought_to_the_same(store: Store):
    with store.write() as session:
        record(session, sharpe=0.01, bars_per_year=252.0 * 78)
        assert count_trials(session).sharpes[0] == pytest.approx(0.01 * math.sqrt(78))
        assert count_trials(session, 252.0 * 78).sharpes[0] == pytest.approx(0.01)


def test_the_count_feeds_the_deflated_ratio(store: Store):
    generator = np.random.default_rng(0)
    curves = generator.normal(0.0005, 0.01, (30, 500))
    with store.write() as session:
        for seed, returns in enumerate(curves):
            record(session, seed=seed, sharpe=float(returns.mean() / returns.std(ddof=1)))
        before = count_trials(session)
        for seed in range(30, 300):
            record(session, "run", seed=seed)
        after = count_trials(session)
    assert (before.count, after.count) == (30, 300)
    best = curves[int(before.sharpes.argmax())]
    assert deflated_sharpe(best, after.sharpes, after.count) < deflated_sharpe(
        best, before.sharpes, before.count
    )


@pytest.mark.parametrize("sharpe", [math.nan, math.inf])
def test_a_sharpe_ratio_must_be_a_number(store: Store, sharpe):
    with store.write() as session, pytest.raises(AccountingError, match="finite"):
        record(session, sharpe=sharpe)


@pytest.mark.parametrize("bars_per_year", [0.0, -1.0, math.nan])
def test_a_year_must_have_bars(store: Store, bars_per_year):
    with store.write() as session, pytest.raises(AccountingError, match="positive"):
        record(session, sharpe=0.1, bars_per_year=bars_per_year)


def test_a_reading_session_records_nothing(store: Store):
    with store.read() as session, pytest.raises(StoreError, match="writing session"):
        record(session)


def test_settings_must_be_plain():
    with pytest.raises(StoreError, match="plain JSON"):
        trial_key({"rate": math.nan}, "d", 0)
    assert trial_key({"a": 1, "b": 2}, "d", 0) == trial_key({"b": 2, "a": 1}, "d", 0)
