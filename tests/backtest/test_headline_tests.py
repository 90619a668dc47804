"""Arms tested against each other on every headline."""

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import max_drawdown
from trading_rlhf.backtest import headlines
from trading_rlhf.backtest.headline_tests import _holm, compare_arms
from trading_rlhf.errors import AccountingError


def arms() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(4).normal(0.0, 0.01, 500)
    return {
        "good": noise + 0.002,
        "poor": noise * 1.5,
        "twin": noise * 1.5,
    }


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_differences_are_those_of_the_curves_and_the_better_arm_is_found() -> None:
    returns = arms()
    table = compare_arms(returns, draws(), 252.0, draws=400)
    assert table[["figure", "first", "second"]].drop_duplicates().shape[0] == 9
    rows = table.set_index(["figure", "first", "second"])
    for name, statistic in headlines(252.0).items():
        good, poor = (float(statistic(torch.tensor(returns[arm]))) for arm in ("good", "poor"))
        row = rows.loc[name, "good", "poor"]
        assert row["difference"] == pytest.approx(good - poor)
        assert row["low"] < row["difference"] < row["high"]
        assert row["p_value"] < 0.05
    curve = torch.tensor(np.concatenate([[1.0], (1.0 + returns["poor"]).cumprod()]))
    lower = rows.loc["max_drawdown", "good", "poor"]["difference"]
    assert lower < 0 < float(max_drawdown(curve))


def test_equal_arms_do_not_differ() -> None:
    table = compare_arms(arms(), draws(), pairs=[("poor", "twin")], draws=100)
    assert table["difference"].tolist() == [0.0, 0.0, 0.0]
    assert table["p_value"].tolist() == [1.0, 1.0, 1.0]


def test_every_pair_looked_at_is_counted() -> None:
    # 3 * 0.01; then the larger of that and 2 * 0.02; then 0.5.
    assert _holm([0.02, 0.5, 0.01]) == pytest.approx([0.04, 0.5, 0.03])
    assert _holm([0.03, 0.02]) == pytest.approx([0.04, 0.04])
    assert _holm([0.9, 0.8]) == [1.0, 1.0]
    table = compare_arms(arms(), draws(), draws=100)
    growth = table[table["figure"] == "log_growth"]
    assert growth["p_holm"].tolist() == pytest.approx(_holm(growth["p_value"].tolist()))
    assert (table["p_holm"] >= table["p_value"]).all()


def test_a_pair_of_unknown_arms_is_refused() -> None:
    with pytest.raises(AccountingError, match="pairs must name arms"):
        compare_arms(arms(), draws(), pairs=[("good", "best")])


def test_arms_over_other_bars_are_refused() -> None:
    returns = arms() | {"short": np.zeros(400)}
    with pytest.raises(AccountingError, match="same bars"):
        compare_arms(returns, draws(), pairs=[("good", "short")])
