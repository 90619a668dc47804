"""Which engine runs, that it makes no difference, batches that come one by one, what is kept."""

import numpy as np
import pytest
import torch

from tests.backtest.market_draws import Draw, draw
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import BacktestResult, run_backtest
from trading_rlhf.errors import AccountingError

COMPILED, REFERENCE = "compiled law on cpu", "torch reference on cpu"


@pytest.fixture(scope="module")
def case() -> Draw:
    found = draw(3)
    assert len(found.targets) > 10
    return found


def run(case: Draw, targets=None, **given) -> BacktestResult:
    wanted = case.targets if targets is None else targets
    return run_backtest(case.bars, wanted, case.costs, market=case.market, **given)


def assert_equal(found: BacktestResult, expected: BacktestResult) -> None:
    for name in ("equity", "weights", "traded", "filled", "costs"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-11, err_msg=name
        )
    assert list(found.measures) == list(expected.measures)
    assert found.measures.index.equals(expected.measures.index)
    assert found.measures.index.name == "strategy"
    np.testing.assert_allclose(found.measures, expected.measures, rtol=1e-10, atol=1e-11)


def test_the_engine_makes_no_difference(case):
    compiled, reference = run(case), run(case, engine="reference")
    assert (compiled.engine, reference.engine) == (COMPILED, REFERENCE)
    assert np.abs(reference.filled).max() > 0.1
    assert_equal(compiled, reference)


@pytest.mark.parametrize("size_at", ["close", "fill"])
@pytest.mark.parametrize("keep", ["equity", "measures"])
def test_what_is_not_kept_is_empty(case, size_at, keep):
    found, whole = (run(case, size_at=size_at, keep=k) for k in (keep, "paths"))
    slow = run(case, size_at=size_at, keep=keep, engine="reference")
    assert (found.engine, slow.engine) == (COMPILED, REFERENCE)
    assert_equal(found, slow)
    assert found.weights.shape == found.traded.shape == found.filled.shape == (0, *case.bars.shape)
    assert found.costs.shape == (0, len(case.bars.dates))
    if keep == "equity":
        np.testing.assert_allclose(found.equity, whole.equity, rtol=1e-12)
    else:
        assert found.equity.shape == (0, len(case.bars.dates))


@pytest.mark.parametrize(
    "given",
    [{"delay": 1}, {"size_at": "fill"}, {"costs": CostModel(cash_account=True)},
     {"costs": CostModel(whole_shares=True)}],
)  # fmt: skip
def test_what_the_compiled_law_does_not_know_is_left_to_the_reference(case, given):
    found = run_backtest(case.bars, case.targets[:2], **given)
    assert found.engine == REFERENCE


def test_batches_may_come_one_by_one(case):
    together = run(case)
    parts = [case.targets[:4], case.targets[4], torch.tensor(case.targets[5:])]
    for targets in (iter(parts), lambda: iter(parts)):
        assert_equal(run(case, targets), together)
    drawn = []

    def batches():
        for part in parts:
            drawn.append(part)
            yield part

    run(case, batches(), keep="measures")
    assert len(drawn) == 3
    with pytest.raises(AccountingError, match="must give at least one batch; got none"):
        run(case, iter([]))


def test_single_precision_is_not_copied_to_double(case):
    single = case.targets.astype(np.float32)
    assert_equal(run(case, single), run(case, single.astype(np.float64)))
    assert_equal(run(case, torch.tensor(single)), run(case, single, engine="reference"))


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("bar", [0, 2, -1])
def test_an_infinite_target_is_one_sentence(case, engine, bar):
    targets = case.targets.copy()
    targets[2, bar, 0] = -np.inf
    day = case.bars.dates[bar].date()
    with pytest.raises(AccountingError, match=f"an infinite weight for S0 on {day}"):
        run(case, targets, engine=engine)


def test_an_infinite_target_of_a_ruined_account_is_one_sentence():
    case = draw(6, wild=True)
    lost = np.flatnonzero(run(case).equity[:, -3] == 0)
    case.targets[lost[0], -2, 0] = np.inf
    with pytest.raises(AccountingError, match="an infinite weight for S0"):
        run(case, keep="measures")


def test_targets_with_a_gradient_are_values_here(case):
    targets = torch.tensor(case.targets, requires_grad=True)
    assert_equal(run(case, targets), run(case))
