"""A page on arms tested over the same bars, for someone who opens it cold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trading_rlhf.accounting import BARS_PER_YEAR
from trading_rlhf.backtest.arm_plots import (
    cost_plot,
    curve_plot,
    exposure_plot,
    holdings_plot,
    monthly_plot,
    trade_plot,
)
from trading_rlhf.backtest.arm_statistics import ArmStatistics
from trading_rlhf.backtest.arm_tables import (
    asset_shares,
    cost_table,
    luck_table,
    pair_table,
    regime_table,
    trading_table,
    year_table,
    yearly_return,
)
from trading_rlhf.backtest.labels import arm_table, date_range, percent, signed_percent
from trading_rlhf.backtest.report import Plot, Section, Table, Tile
from trading_rlhf.backtest.result import BacktestResult
from trading_rlhf.backtest.statistics import CONVINCING, CostCurve, luck_sentence

__all__ = ["ComparedArms", "arm_rows", "arm_sections", "arm_summary_lines", "arm_tiles"]

_PLACEBO = "placebo"
_HOLD = "buy and hold"


@dataclass(frozen=True)
class ComparedArms:
    """Arms over the same bars, and what was worked out about them.

    Attributes:
        what: sentence on each arm by name, in the order of the result's strategies.
        main: the arm that the page is about.
        result: their backtest.
        statistics: one per arm.
        tests: between arms, from ``compare_arms``.
        costs: cost curves by arm.
        overfitting: sentence on the probability of backtest overfitting, or what would tell it.
        missing: sentence on why an arm could not be run, by its name.
        draws: number of strategies of an arm that was drawn several times; figures of such an arm
            are means over its draws.
    """

    what: dict[str, str]
    main: str
    result: BacktestResult
    statistics: list[ArmStatistics]
    tests: pd.DataFrame
    costs: dict[str, CostCurve]
    overfitting: str
    missing: dict[str, str] = field(default_factory=dict)
    draws: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the arms in order."""
        return list(self.what)

    @property
    def rows(self) -> dict[str, list[int]]:
        """Strategies of the result by arm."""
        return arm_rows(self.names, self.draws)

    @property
    def row(self) -> int:
        """Number of the main arm's strategy."""
        return self.rows[self.main][0]

    @property
    def luck(self) -> ArmStatistics:
        """Statistics of the main arm."""
        return self.statistics[self.names.index(self.main)]

    @property
    def bars_per_year(self) -> float:
        """Of the bars that were tested."""
        conditions = self.result.conditions
        return BARS_PER_YEAR if conditions is None else conditions.bars.bars_per_year

    @property
    def equity(self) -> pd.DataFrame:
        """``[dates x strategies]``, each under its arm's name."""
        columns = [name for name, own in self.rows.items() for _ in own]
        return pd.DataFrame(self.result.equity.T, index=self.result.dates, columns=columns)

    @property
    def measures(self) -> pd.DataFrame:
        """Every measure, one row per arm."""
        found = self.result.full_measures()
        means = {name: found.iloc[own].mean() for name, own in self.rows.items()}
        return pd.DataFrame(means).T.rename_axis("arm")


def arm_rows(names: Iterable[str], draws: Mapping[str, int]) -> dict[str, list[int]]:
    """Strategies of a result by arm, in order.

    Args:
        names: of the arms.
        draws: strategies of an arm, where it has more than one.
    """
    rows: dict[str, list[int]] = {}
    first = 0
    for name in names:
        count = draws.get(name, 1)
        rows[name] = list(range(first, first + count))
        first += count
    return rows


def arm_summary_lines(tested: ComparedArms) -> list[str]:
    """The result in a few sentences: what was earned, luck, the placebo, the costs."""
    table = tested.measures.to_dict(orient="index")
    main, years = table[tested.main], len(tested.result.dates) / tested.bars_per_year
    earned = (
        f"{_capital(tested.main)}: {_yearly(main['annual_return'])} a year after costs, out of "
        f"sample from {date_range(tested.result.dates)} ({years:.1f} years), at most "
        f"{percent(main['max_drawdown'], 0)} below its peak, {percent(main['exposure'], 0)} "
        "invested on average."
    )
    if _HOLD in table and tested.main != _HOLD:
        hold = table[_HOLD]
        points = 100 * (hold["annual_return"] - main["annual_return"])
        earned += (
            f" Buy and hold: {_yearly(hold['annual_return'])} a year, "
            f"{abs(points):.1f} points {'more' if points > 0 else 'less'}, at most "
            f"{percent(hold['max_drawdown'], 0)} below its peak."
        )
    luck = tested.luck.luck
    sentence = luck_sentence(
        luck.dsr, luck.trials, luck.bars, luck.bars_needed, tested.bars_per_year
    )
    lines = [earned, f"Is it luck? {sentence} {_hold_line(tested)}".rstrip(), _placebo_line(tested)]
    if tested.main in tested.costs:
        lines.append(f"Costs: {tested.costs[tested.main].sentence}")
    return lines


def arm_tiles(tested: ComparedArms) -> list[Tile]:
    """Figures of the main arm that are read at a glance."""
    statistics = tested.luck
    luck, found = statistics.luck, statistics.intervals
    value, interval = yearly_return(found["log_growth"]).split(" ", 1)
    sharpe, drop = found["sharpe"], found["max_drawdown"]
    curve = tested.costs.get(tested.main)
    even, _, why = ("-: never trades" if curve is None else curve.words).partition(": ")
    return [
        Tile("Return (yearly)", value, f"95%: {interval.strip('()')}"),
        Tile("Sharpe (yearly)", f"{sharpe.value:.2f}",
             f"95%: {sharpe.low:.2f} to {sharpe.high:.2f}"),
        Tile("Max drawdown", percent(drop.value),
             f"95%: {percent(drop.low, 0)} to {percent(drop.high, 0)}"),
        Tile("Luck (DSR)", _dsr(luck.dsr), f"after {luck.trials:,} trials, market included"),
        Tile("Break-even costs", even, why or "of what is traded, one way"),
    ]  # fmt: skip


def arm_sections(tested: ComparedArms) -> list[Section]:
    """Chapters on the arms, in the order in which a reader asks."""
    none = {f"{name} (no arm)": why for name, why in tested.missing.items()}
    what = pd.DataFrame({"what it is": tested.what | none})
    what.index.name = "arm"
    arms = Table("The arms", what)
    curves = curve_plot(tested.equity, tested.main)
    note = "Equity after all costs. The shaded area below is the arm that this page is about."
    return [
        Section(
            "Equity and drawdown",
            [],
            [Plot("", curves, note), arms],
        ),
        _luck_section(tested),
        Section("Statistics", [], [Table("", arm_table(tested.measures), _MEASURE_NOTE)]),
        _months_section(tested),
        _exposure_section(tested),
        _trades_section(tested),
        _splits_section(tested),
        _costs_section(tested),
    ]


def _luck_section(tested: ComparedArms) -> Section:
    names, per_year = tested.names, tested.bars_per_year
    parts: list[Table | Plot] = [
        Table(
            "Headlines with 95% intervals",
            luck_table(names, tested.statistics, per_year),
            _LUCK_NOTE,
        )
    ]
    if len(tested.tests):
        parts.append(Table("Between arms, on the same bars", pair_table(tested.tests), _TEST_NOTE))
    return Section("Is it luck?", [tested.overfitting], parts)


def _months_section(tested: ComparedArms) -> Section:
    figure = monthly_plot(tested.equity[tested.main])
    note = "Percent. The first and the last month may be parts of a month."
    return Section("Month by month", [f"{_capital(tested.main)}."], [Plot("", figure, note)])


def _exposure_section(tested: ComparedArms) -> Section:
    result = tested.result
    gross = np.abs(result.weights).sum(-1)
    means = {name: gross[own].mean(0) for name, own in tested.rows.items()}
    frame = pd.DataFrame(means, index=result.dates)
    held = pd.DataFrame(
        result.weights[tested.row], index=result.dates, columns=list(result.symbols)
    )
    return Section(
        "Exposure",
        [],
        [
            Plot(
                "Invested, every arm", exposure_plot(frame), "Sum of absolute weights at the close."
            ),
            Plot(f"Holdings of {tested.main}", holdings_plot(held), "The rest is cash."),
        ],
    )


def _trades_section(tested: ComparedArms) -> Section:
    result, row = tested.result, tested.row
    parts: list[Table | Plot] = []
    own = result.select(row).orders
    bars = None if result.conditions is None else result.conditions.bars
    if bars is not None and len(own):
        close = pd.DataFrame(bars.close, index=bars.dates, columns=list(bars.symbols))
        parts.append(Plot(f"Fills of {tested.main}", trade_plot(close, own), _TRADE_NOTE))
    parts.append(Table("Orders and closings", trading_table(result, tested.rows), _CLOSING_NOTE))
    return Section("Trades", [], parts)


def _splits_section(tested: ComparedArms) -> Section:
    result, rows = tested.result, tested.rows
    return Section(
        "By year, market and asset",
        [],
        [
            Table("Return of each year", year_table(result, rows), _YEAR_NOTE),
            Table(
                "Sharpe by volatility of the market",
                regime_table(result, rows, tested.bars_per_year),
                _REGIME_NOTE,
            ),
            Table("Added to the total return", asset_shares(result, rows), _ASSET_NOTE),
        ],
    )


def _costs_section(tested: ComparedArms) -> Section:
    if not tested.costs:
        return Section("Costs", ["No arm trades, so there is no curve."], [])
    main = tested.costs.get(tested.main)
    lines = [] if main is None else [f"{_capital(tested.main)}: {main.sentence}"]
    return Section(
        "Costs",
        lines,
        [
            Plot("", cost_plot(tested.costs, tested.names), _COST_NOTE),
            Table("Yearly return at multiples of the costs", cost_table(tested.costs)),
        ],
    )


def _against(tested: ComparedArms, other: str) -> tuple[str, float, float] | None:
    """The main arm less another in words, its growth difference and that one's p value."""
    tests = tested.tests
    own = tests[(tests["first"] == tested.main) & (tests["second"] == other)].set_index("figure")
    if not len(own):
        return None
    growth, sharpe = (own.loc[name].to_dict() for name in ("log_growth", "sharpe"))
    text = (
        f"{signed_percent(growth['difference'])} of log growth a year (p {growth['p_value']:.2f}), "
        f"Sharpe {sharpe['difference']:+.2f} (p {sharpe['p_value']:.2f})"
    )
    return text, growth["difference"], growth["p_holm"]


def _hold_line(tested: ComparedArms) -> str:
    found = _against(tested, _HOLD)
    if found is None:
        return ""
    text, difference, p = found
    verdict = "better" if difference > 0 else "worse"
    if p >= 1 - CONVINCING:
        word = "more" if difference > 0 else "less"
        verdict = f"{word} growth than the market's own rise, by no more than luck explains"
    return f"That counts what the market gave. Against {_HOLD}: {text}: {verdict}."


def _placebo_line(tested: ComparedArms) -> str:
    found = _against(tested, _PLACEBO)
    if found is None:
        return (
            "No uplift from reviewers is claimed: that takes a placebo (the same learning from "
            "shuffled answers) to compare with, and this run holds none."
        )
    text, difference, p = found
    verdict = "an uplift" if difference > 0 else "worse than the placebo"
    if p >= 1 - CONVINCING:
        verdict = "no uplift is shown"
    last = tested.result.equity[:, -1]
    beaten = last[tested.rows[_PLACEBO]] < last[tested.row]
    which = "one draw" if len(beaten) == 1 else f"mean of {len(beaten)} draws"
    line = (
        f"Against the placebo (the same learning from shuffled answers, {which}): {text}: {verdict}"
    )
    if len(beaten) == 1:
        return f"{line}."
    return f"{line}; it ended above {int(beaten.sum())} of the {len(beaten)} draws."


def _yearly(value: float) -> str:
    """A yearly return; a loss is called one."""
    return f"a loss of {percent(-value)}" if value < 0 else percent(value)


def _dsr(dsr: float | None) -> str:
    return "-" if dsr is None else f"{int(dsr * 100 + 1e-9) / 100:.2f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_LUCK_NOTE = (
    "In brackets: 95% interval from resampled blocks of bars. PSR: probability that the true "
    f"Sharpe ratio is positive. DSR: the same after every trial so far; from {CONVINCING:.2f} on "
    "it is better than luck. Best of luck: Sharpe ratio that the best of as many worthless trials "
    "would show, were they spread as those counted; trials that are much alike make it low and the "
    "DSR lenient. Years needed: record that would make the PSR 0.95, had it been the only trial."
)
_TEST_NOTE = (
    "The first arm less the second. Interval and two-sided p from resampled blocks, the same bars "
    "for both arms. "
    "The verdict counts all pairs (Holm), so a single p below 0.05 may not be enough."
)
_MEASURE_NOTE = (
    "Equal weights: every asset bought at the first close and held, free of costs. Calmar: return "
    "over max drawdown. Ratios assume no interest on cash unless the costs say so. Of an arm with "
    "several draws: means over them."
)
_TRADE_NOTE = (
    "Choose the asset at the top right; the most traded comes first. Up: buy, down: sell; larger "
    "marks are larger orders."
)
_CLOSING_NOTE = (
    "A closing sells a position or a part of it; it is won where it earned more than its costs. "
    "What is still open at the end is not counted."
)
_YEAR_NOTE = "The first and the last may be parts of a year."
_REGIME_NOTE = (
    "Thirds of the last month's volatility of equal weights, ranked among all before it and known "
    "at the close before; unknown: the first months. After ± one standard error."
)
_ASSET_NOTE = "Of the starting equity, after costs of trading."
_COST_NOTE = (
    "The same orders at other costs of trading; the policy is not asked again. Break-even: cost of "
    "what is traded, one way, at which nothing is earned."
)
