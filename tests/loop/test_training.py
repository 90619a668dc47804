"""Base policies: resampled histories, features of one's own, costs in USD and late reviews."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.config import RunConfig, read_config
from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.loop import Context, SettableClock, open_context, train_base
from trading_rlhf.loop.training import training_histories
from trading_rlhf.market import load_sample, write_bars
from trading_rlhf.proposals import HORIZON

OWN = """
from trading_rlhf.market import Feature


def register(registry):
    registry.register(
        Feature("gap", 1, "gap over night", "log(open / close before)", gap)
    )


def gap(bars):
    import numpy as np

    values = np.full(bars.shape, np.nan)
    values[1:] = 50 * np.log(bars.open[1:] / bars.close[:-1])
    return np.clip(values, -3, 3)
"""


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "us4.parquet"
    write_bars(load_sample("us4").window(1200, 1700), path)
    return path


def opened(folder: Path, bars_file: Path, **settings: object) -> Context:
    chosen = {"data": str(bars_file), "train.iterations": 12, **settings}
    config: RunConfig = read_config(None, chosen)
    folder.mkdir(parents=True, exist_ok=True)
    return open_context(folder, KEY, SettableClock(present), config)


def base_weights(context: Context) -> list[torch.Tensor]:
    try:
        train_base(context, silent)
        policy, _ = context.policy("base")
    finally:
        context.store.close()
    return [p.detach().clone() for p in policy.parameters()]


def test_resampled_histories_are_trained_on(tmp_path: Path, bars_file: Path) -> None:
    context = opened(tmp_path / "a", bars_file, histories=2, block=20.0)
    histories = training_histories(context)
    assert len(histories) == 3
    (real, bars), *others = histories
    assert bars == context.train_bars
    for market, visited in others:
        assert visited == range(bars.start, context.train_bars.stop)
        assert not torch.equal(market.overnight, real.overnight[: market.shape[0]])
        # Days of the past in another order, none of them made up.
        seen = set(real.intraday[: bars.stop, 0].tolist())
        assert len(set(market.intraday[1:, 0].tolist()) - seen) < 0.02 * market.shape[0]
    with_them = base_weights(context)
    alone = base_weights(opened(tmp_path / "b", bars_file))
    again = base_weights(opened(tmp_path / "c", bars_file, histories=2, block=20.0))
    assert all(torch.equal(x, y) for x, y in zip(with_them, again, strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(with_them, alone, strict=True))


def test_they_know_nothing_of_the_test_period(tmp_path: Path, bars_file: Path) -> None:
    one = opened(tmp_path / "a", bars_file, histories=1)
    changed = tmp_path / "changed.parquet"
    later = (np.arange(one.bars.shape[0]) >= one.train_bars.stop)[:, None]
    factor = np.where(later, np.random.default_rng(0).uniform(0.8, 1.25, one.bars.shape), 1.0)
    names = ("open", "high", "low", "close", "raw_close")
    write_bars(replace(one.bars, **{n: getattr(one.bars, n) * factor for n in names}), changed)
    other = opened(tmp_path / "b", changed, histories=1)
    (_, (drawn, _)), (_, (same, _)) = training_histories(one), training_histories(other)
    for name in ("features", "overnight", "intraday", "fillable"):
        assert torch.equal(getattr(drawn, name), getattr(same, name)), name
    one.store.close()
    other.store.close()


def test_features_of_ones_own(tmp_path: Path, bars_file: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN)
    settings = {"feature_files": [str(mine)], "features": ["trend_60", "gap"]}
    context = opened(tmp_path / "run", bars_file, **settings)
    assert context.registry.get("gap").label == "gap over night"
    assert context.market.features.shape[-1] == 2
    assert base_weights(context)
    mine.write_text(OWN.replace("values[1:] =", "values[:-1] ="))
    with pytest.raises(LookAheadError, match="feature gap must depend on no later bar"):
        opened(tmp_path / "leak", bars_file, **settings)


def test_costs_in_usd_and_late_reviews_are_trained_under(tmp_path: Path, bars_file: Path) -> None:
    plain = base_weights(opened(tmp_path / "plain", bars_file))
    for name, settings in {
        "impact": {"costs.impact": {"coefficient": 2.0}, "equity": 1e9},
        "late": {"gate.delay": 2},
    }.items():
        trained = base_weights(opened(tmp_path / name, bars_file, **settings))
        assert any(not torch.equal(x, y) for x, y in zip(plain, trained, strict=True)), name
        assert all(p.isfinite().all() for p in trained)


def test_a_gap_in_a_resampled_history_is_no_delisting(tmp_path: Path) -> None:
    """GOOG lists in the fifth year, so that blocks from before leave it without bars."""
    context = opened(tmp_path / "run", Path("us4"), histories=1)
    try:
        _, (drawn, _) = training_histories(context)
        assert not drawn.fillable[:, 1].all()
        assert not drawn.delists
    finally:
        context.store.close()


def test_validation_bars_lie_between_fitting_and_reporting(tmp_path: Path, bars_file: Path) -> None:
    kept = opened(tmp_path / "a", bars_file)
    none = opened(tmp_path / "b", bars_file, validation_fraction=0)
    try:
        whole = none.train_bars
        assert whole == range(120, int(500 * 0.68) - HORIZON)
        assert len(none.validation_bars) == 0
        assert kept.test_bars == none.test_bars == range(340, 500)
        assert kept.validation_bars == range(280, whole.stop)
        assert kept.train_bars == range(120, 280 - HORIZON)
        base_weights(none)
    finally:
        kept.store.close()
    with pytest.raises(DataError, match="smaller validation_fraction"):
        opened(tmp_path / "c", bars_file, train_fraction=0.33, validation_fraction=0.6)


def test_validation_bars_are_not_fitted_on(tmp_path: Path, bars_file: Path) -> None:
    one = opened(tmp_path / "a", bars_file, histories=1)
    later = (np.arange(one.bars.shape[0]) >= one.train_bars.stop)[:, None]
    factor = np.where(later, np.random.default_rng(0).uniform(0.8, 1.25, one.bars.shape), 1.0)
    names = ("open", "high", "low", "close", "raw_close")
    changed = tmp_path / "changed.parquet"
    write_bars(replace(one.bars, **{n: getattr(one.bars, n) * factor for n in names}), changed)
    other = opened(tmp_path / "b", changed, histories=1)
    assert other.bars.sha256 != one.bars.sha256
    for x, y in zip(base_weights(one), base_weights(other), strict=True):
        assert torch.equal(x, y)
