"""Trained anew and tested further on, again and again: a chapter of the backtest page."""

import math

import pandas as pd
import torch

from trading_rlhf.accounting import per_bar_returns, sharpe_ratio
from trading_rlhf.backtest import (
    CONVINCING,
    Plot,
    Section,
    Table,
    date_range,
    luck_sentence,
    sharpe_standard_error,
)
from trading_rlhf.backtest.arm_plots import curve_plot
from trading_rlhf.backtest.arm_tables import luck_table, pair_table, yearly_return
from trading_rlhf.backtest.labels import percent, signed_percent
from trading_rlhf.loop import EQUAL, HOLD, POLICY, WalkedForward
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["forward_figures", "forward_section", "forward_sentences"]

_TITLE = "Walk-forward"


def forward_section(walked: WalkedForward, rolling: bool) -> Section:
    """The chapter on one path out of sample: what was earned, luck, and each stretch.

    Args:
        walked: what was found.
        rolling: whether trainings are as long as the first.
    """
    names = [POLICY, EQUAL, HOLD]
    result, periods = walked.result, walked.periods
    equity = pd.DataFrame(result.equity.T, index=result.dates, columns=names)
    found = luck_table(names, walked.statistics, walked.bars_per_year)
    table = found.drop(columns=["Best of luck", "Years needed"])
    totals = [_total(walked, row) for row in range(len(names))]
    table.insert(0, "Total return", totals)
    window = "a window that moves along" if rolling else "all earlier bars"
    gap = periods[0].test.start - (periods[0].stopping or periods[0].train).stop
    how = (
        f"The base policy was trained anew {len(periods)} times, on {window} up to {gap} bars "
        "before the stretch that it then traded. The account goes on from one policy to the next, "
        f"so this is one path, out of sample throughout: {date_range(result.dates)} "
        f"({(len(result.dates) - 1) / walked.bars_per_year:.1f} years)."
    )
    return Section(
        _TITLE,
        [how, *forward_sentences(walked)],
        [
            Plot("", curve_plot(equity, POLICY), _CURVE_NOTE),
            Table("Headlines with 95% intervals", table, _LUCK_NOTE),
            Table("Against what needs no policy", pair_table(walked.tests), _TEST_NOTE),
            Table("Each stretch", _periods_table(walked), _PERIOD_NOTE),
        ],
    )


def forward_sentences(walked: WalkedForward) -> list[str]:
    """What came out, in words: the returns, the paired tests, luck."""
    policy, equal, hold = (s.intervals["log_growth"] for s in walked.statistics)
    luck = walked.statistics[0].luck
    sentence = luck_sentence(
        luck.dsr, luck.trials, luck.bars, luck.bars_needed, walked.bars_per_year
    )
    return [
        f"A year after costs, with 95% intervals: the policy {yearly_return(policy)}, {EQUAL} "
        f"{yearly_return(equal)}, {HOLD} {yearly_return(hold)}.",
        *(_against(walked.tests, other) for other in (EQUAL, HOLD)),
        f"Is it luck? {sentence} That counts what the market gave.",
    ]


def forward_figures(walked: WalkedForward) -> JsonDict:
    """What was found, for machines: per-bar returns, measures, intervals, tests and stretches."""
    result, names = walked.result, (POLICY, EQUAL, HOLD)
    measures = result.full_measures().astype(object)
    measures = measures.where(measures.notna(), None).set_axis(list(names), axis=0)
    return {
        "measures": measures.to_dict(orient="index"),
        "intervals": {
            name: {
                figure: [interval.value, interval.low, interval.high]
                for figure, interval in arm.intervals.items()
            }
            for name, arm in zip(names, walked.statistics, strict=True)
        },
        "luck": {
            name: {"psr": arm.luck.psr, "dsr": arm.luck.dsr, "trials": arm.luck.trials}
            for name, arm in zip(names, walked.statistics, strict=True)
        },
        "tests": walked.tests.to_dict(orient="records"),
        "periods": _period_figures(walked),
        "dates": [date.isoformat() for date in result.dates],
        "returns": {name: row.tolist() for name, row in zip(names, _returns(walked), strict=True)},
    }


def _returns(walked: WalkedForward) -> FloatArray:
    """Per-bar returns ``[3, K]``."""
    returns: FloatArray = per_bar_returns(torch.as_tensor(walked.result.equity)).numpy()
    return returns


def _total(walked: WalkedForward, row: int) -> str:
    """Total return of an arm with its interval, from that of yearly log growth."""
    growth = walked.statistics[row].intervals["log_growth"]
    years = (len(walked.result.dates) - 1) / walked.bars_per_year
    value, low, high = (math.expm1(x * years) for x in (growth.value, growth.low, growth.high))
    return f"{percent(value, 0)} ({percent(low, 0)} to {percent(high, 0)})"


def _against(tests: pd.DataFrame, other: str) -> str:
    """The policy less another arm, and whether chance explains it."""
    own = tests[tests["second"] == other].set_index("figure")
    growth, sharpe = (own.loc[name].to_dict() for name in ("log_growth", "sharpe"))
    verdict = "not distinguishable"
    if growth["p_holm"] < 1 - CONVINCING:
        verdict = "more growth" if growth["difference"] > 0 else "less growth"
    return (
        f"Against {other}: {signed_percent(growth['difference'])} of log growth a year "
        f"({signed_percent(growth['low'])} to {signed_percent(growth['high'])}, "
        f"p {growth['p_value']:.2f}), Sharpe {sharpe['difference']:+.2f} "
        f"(p {sharpe['p_value']:.2f}): {verdict}."
    )


def _period_figures(walked: WalkedForward) -> list[JsonDict]:
    """Bars, return and Sharpe ratio of each stretch, by arm."""
    first, dates, rows = walked.periods[0].test.start, walked.result.dates, []
    returns = _returns(walked)
    for period in walked.periods:
        own = returns[:, period.test.start - first : period.test.stop - first]
        sharpes = sharpe_ratio(torch.as_tensor(own), walked.bars_per_year).tolist()
        totals = ((1.0 + own).prod(-1) - 1.0).tolist()
        test = dates[period.test.start - first : period.test.stop - first + 1]
        rows.append(
            {
                "trained_bars": len(period.train),
                "tested": [test[0].isoformat(), test[-1].isoformat()],
                "bars": len(period.test),
                "total_return": dict(zip((POLICY, EQUAL, HOLD), totals, strict=True)),
                "sharpe": dict(zip((POLICY, EQUAL, HOLD), sharpes, strict=True)),
            }
        )
    return rows


def _periods_table(walked: WalkedForward) -> pd.DataFrame:
    rows = {}
    for found in _period_figures(walked):
        first, last = (pd.Timestamp(date).date() for date in found["tested"])
        sharpe = found["sharpe"][POLICY]
        error = sharpe_standard_error(sharpe, found["bars"], walked.bars_per_year)
        rows[f"{first} to {last}"] = {
            "Bars trained on": f"{found['trained_bars']:,}",
            "Bars tested": f"{found['bars']:,}",
            **{f"{name}: return": percent(x) for name, x in found["total_return"].items()},
            "Sharpe of the policy": f"{sharpe:.2f} ± {error:.2f}",
            f"Sharpe of {HOLD}": f"{found['sharpe'][HOLD]:.2f}",
        }
    return pd.DataFrame(rows).T.rename_axis("tested")


_CURVE_NOTE = (
    "Equity after all costs, at the same fills. Equal weight is restored at each month's first "
    "close; buy and hold buys equal weights once."
)
_LUCK_NOTE = (
    "In brackets: 95% interval from resampled blocks of bars. PSR: probability that the true "
    f"Sharpe ratio is positive. DSR: the same after every trial in the run's ledger; from "
    f"{CONVINCING:.2f} on it is better than luck. Every training of this chapter is a trial; the "
    "Sharpe ratios of short stretches lie far apart, which makes this DSR strict."
)
_TEST_NOTE = "The first less the second, the same resampled bars for both; the verdict counts both."
_PERIOD_NOTE = "Stretches follow each other without a gap. After ± one standard error."
