"""What a user may hand to a backtest: each mistake is one sentence, what is plain works."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import AccountingError, DataError
from trading_rlhf.market import Bars


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars(21, n_bars=30)


@pytest.fixture(scope="module")
def wanted() -> np.ndarray:
    return np.random.default_rng(3).uniform(0.0, 0.3, (30, 3))


WRONG_SETTINGS = [
    *[({"delay": x}, "delay must be zero or more bars") for x in (1.5, math.nan, "a", None, True)],
    *[({"equity_usd": x}, "equity_usd must be positive") for x in ("a", None, math.inf, 10**400)],
    *[({"max_gross": x}, "max_gross must be a number") for x in ("a", -1, math.nan)],
    *[({"device": x}, "device must be") for x in ("cuda:99", "nope", "meta", 5, None)],
    *[({name: x}, f"{name} must be ") for name in ("costs", "market") for x in (5, "x", {})],
    *[
        ({name: x}, f"{name} must be ")
        for name in ("size_at", "ledger", "keep", "engine")
        for x in ("Close", "nope", None, 5, ["close"])
    ],
]


@pytest.mark.parametrize(("setting", "start"), WRONG_SETTINGS)
def test_a_wrong_setting_is_one_sentence(bars, wanted, setting, start):
    with pytest.raises(AccountingError) as caught:
        run_backtest(bars, wanted, **setting)
    message = str(caught.value)
    assert message.startswith(start)
    assert "\n" not in message
    assert len(message) < 250


@pytest.mark.parametrize("no_bars", [None, "us4", {}])
def test_bars_are_bars(wanted, no_bars):
    with pytest.raises(AccountingError, match="bars must be of class Bars; got "):
        run_backtest(no_bars, wanted)


def test_a_market_is_that_of_the_bars(bars, wanted):
    costs = CostModel()
    longer, wider = random_bars(2, n_bars=40), random_bars(2, n_bars=30, n_assets=4)
    for other in (longer, wider):
        market = MarketTensors.for_costs(other, np.zeros((*other.shape, 1)), costs)
        with pytest.raises(DataError, match=r"a market must have the bars' shape \(30, 3\)"):
            run_backtest(bars, wanted, market=market)
    market = MarketTensors.for_costs(bars, np.zeros((30, 3, 1)), costs)
    with pytest.raises(AccountingError, match="slippage_bps must be one number or 3"):
        run_backtest(bars, wanted, CostModel(slippage_bps=(1.0, 2.0)), market=market)
    away = MarketTensors(**{**vars(market), "overnight": market.overnight.to("meta")})
    with pytest.raises(DataError, match="got meta"):
        run_backtest(bars, wanted, market=away)


def test_targets_come_in_any_array(bars, wanted):
    frozen = wanted.copy()
    frozen.flags.writeable = False
    labelled = pd.DataFrame(wanted, bars.dates, list(bars.symbols))
    alike = {
        "list": wanted.tolist(),
        "objects": wanted.astype(object),
        "flipped": wanted[::-1].copy()[::-1],
        "frozen": frozen,
        "bytes": wanted.astype(">f8"),
        "long": wanted.astype(np.longdouble),
        "frame": pd.DataFrame(wanted),
        "numbered": pd.DataFrame(wanted, columns=[0, 1, 2]),
        "labelled": labelled,
        "reordered": labelled[["S2", "S0", "S1"]],
        "gradient": torch.tensor(wanted, requires_grad=True),
        "sparse": torch.tensor(wanted).to_sparse(),
        "iterator": iter([labelled]),
    }
    for engine in ("auto", "reference"):
        expected = run_backtest(bars, wanted, engine=engine).equity
        for name, targets in alike.items():
            given = iter([labelled]) if name == "iterator" else targets
            found = run_backtest(bars, given, engine=engine).equity
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_flipped_targets_are_taken_as_they_are(bars, wanted):
    for precision in (np.float32, np.float64):
        given = wanted.astype(precision)[::-1]
        np.testing.assert_array_equal(
            run_backtest(bars, given).equity, run_backtest(bars, given.copy()).equity
        )


@pytest.mark.parametrize(
    "targets",
    [
        np.full((30, 3), 0.1j), torch.full((30, 3), 0.1j), np.full((30, 3), None),
        np.full((30, 3), 10**400), np.array([[np.complex128(1j)] * 3] * 30, dtype=object),
        np.full((30, 3), "0.2"), np.full((30, 3), "0.2", dtype=object), {"a": 1},
        np.full((30, 3), np.datetime64("2020-01-01")), iter([None]), lambda: None,
    ],
)  # fmt: skip
def test_what_is_no_number_is_one_sentence(bars, targets):
    with pytest.raises(AccountingError) as caught:
        run_backtest(bars, targets)
    message = str(caught.value)
    assert message.startswith("targets must be an array of numbers; got ")
    assert "\n" not in message
    assert len(message) < 250


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_no_strategy_is_one_sentence(bars: Bars, engine: str) -> None:
    with pytest.raises(
        AccountingError, match=r"must hold at least one strategy; got B = 0\. Check"
    ):
        run_backtest(bars, np.zeros((0, *bars.shape)), engine=engine)


@pytest.mark.parametrize("weight", [1e300, -2e6, math.inf])
def test_a_weight_that_money_cannot_be_counted_in_is_one_sentence(
    bars: Bars, weight: float
) -> None:
    targets = np.full(bars.shape, 0.2)
    targets[4, 1] = weight
    with pytest.raises(AccountingError, match=r"at most 1,000,000 times equity.* for S1 on "):
        run_backtest(bars, targets, size_at="fill")
    targets[4, 1] = 9e5
    assert run_backtest(bars, targets).measures["exposure"][0] > 0


@pytest.mark.parametrize(
    ("columns", "shift", "start"),
    [
        (["S0", "S1", "X"], 0, "columns of targets must be the symbols"),
        (["S0", "S1", "S1"], 0, "columns of targets must be the symbols"),
        ([2, 0, 1], 0, "columns of targets must be the symbols"),
        (["S0", "S1", "S2"], 1, "rows of targets must be the dates"),
    ],
)
def test_labels_of_other_data_are_one_sentence(bars, wanted, columns, shift, start):
    frame = pd.DataFrame(wanted, bars.dates + pd.Timedelta(days=shift), columns)
    with pytest.raises(AccountingError) as caught:
        run_backtest(bars, frame)
    assert str(caught.value).startswith(start)


def test_a_mask_is_not_lost_without_a_word(bars: Bars) -> None:
    masked = np.ma.masked_greater(np.full(bars.shape, 0.2), 0.1)
    with pytest.raises(AccountingError, match=r"whose mask would be lost.*filled"):
        run_backtest(bars, masked)
    given = np.ma.masked_array(np.full(bars.shape, 0.2))
    assert run_backtest(bars, given).measures.equals(run_backtest(bars, given.data).measures)
