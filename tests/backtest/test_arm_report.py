"""The page on arms says what the figures say, in words, and nothing that they do not."""

import base64
import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.backtest.compared import compared_arms
from trading_rlhf.backtest import (
    Plot,
    Report,
    Section,
    Table,
    Tile,
    Trials,
    arm_sections,
    arm_statistics,
    arm_summary_lines,
    arm_table,
    arm_tiles,
    luck_sentence,
    report_json,
)
from trading_rlhf.backtest.arm_plots import curve_plot, holdings_plot, monthly_plot, trade_plot
from trading_rlhf.backtest.arm_statistics import cost_curves
from trading_rlhf.backtest.labels import LABELS, measure_text
from trading_rlhf.backtest.statistics import COST_FACTORS


def part(title: str, **options) -> Table | Plot:
    """A part of the page by its title."""
    sections = arm_sections(compared_arms(**options))
    return next(p for s in sections for p in s.parts if p.title == title)


def number(text: str) -> float:
    return float(text.replace("%", "").replace(",", "")) / (100 if "%" in text else 1)


def test_the_first_sentence_is_what_was_earned_and_the_market_beside_it():
    tested = compared_arms()
    main, hold = (tested.measures.loc[name] for name in ("shaped + filter", "buy and hold"))
    first = arm_summary_lines(tested)[0]
    assert first.startswith("Shaped + filter: ")
    assert f"{100 * main['annual_return']:.1f}% a year after costs" in first
    points = 100 * (hold["annual_return"] - main["annual_return"])
    assert abs(points) > 0.1
    word = "more" if points > 0 else "less"
    assert (
        f"Buy and hold: {100 * hold['annual_return']:.1f}% a year, {abs(points):.1f} points {word}"
        in first
    )
    dates = tested.result.dates
    assert f"out of sample from {dates[0].date()} to {dates[-1].date()} (1.0 years)" in first


def test_luck_is_said_after_every_trial_that_was_counted():
    tested = compared_arms()
    luck = tested.luck.luck
    line = arm_summary_lines(tested)[1]
    assert luck_sentence(luck.dsr, 240, luck.bars, luck.bars_needed) in line
    assert "after 240 trials" in line
    assert "Against buy and hold: " in line
    tile = next(tile for tile in arm_tiles(tested) if tile.label == "Luck (DSR)")
    assert number(tile.value) == math.floor(100 * luck.dsr) / 100
    assert "240 trials" in tile.note


def test_uplift_is_claimed_against_the_placebo_alone():
    without = arm_summary_lines(compared_arms(placebos=0))
    assert any("No uplift from reviewers is claimed" in line for line in without)
    assert not any("Against the placebo" in line for line in without)
    tested = compared_arms()
    tests = tested.tests.copy()
    for p_value, difference, words in (
        (0.5, 0.1, "no uplift is shown"),
        (0.001, 0.1, "an uplift"),
        (0.001, -0.1, "worse than the placebo"),
    ):
        rows = (tests["second"] == "placebo") & (tests["figure"] == "log_growth")
        tests.loc[rows, ["p_holm", "difference"]] = [p_value, difference]
        lines = arm_summary_lines(replace(tested, tests=tests))
        (line,) = (line for line in lines if line.startswith("Against the placebo"))
        assert line.startswith("Against the placebo (the same learning from shuffled answers, one ")
        assert line.endswith(f": {words}.")


def test_a_loss_is_called_a_loss():
    tested = compared_arms()
    measures = tested.result.measures.copy()
    measures.loc[tested.row, "annual_return"] = -0.123
    lines = arm_summary_lines(replace(tested, result=replace(tested.result, measures=measures)))
    assert lines[0].startswith("Shaped + filter: a loss of 12.3% a year after costs")


def test_draws_of_the_placebo_are_one_arm_with_mean_figures():
    tested = compared_arms(placebos=3)
    assert tested.rows["placebo"] == [2, 3, 4]
    assert tested.row == 5
    full = tested.result.full_measures()
    assert tested.measures.loc["placebo", "sharpe"] == pytest.approx(full["sharpe"][2:5].mean())
    assert tested.measures.loc[tested.main, "sharpe"] == pytest.approx(full["sharpe"][5])
    for title in (
        "Return of each year",
        "Added to the total return",
        "Headlines with 95% intervals",
        "Yearly return at multiples of the costs",
        "Orders and closings",
        "",
    ):
        frame = part(title, placebos=3).frame if title else arm_table(tested.measures)
        names = frame.columns if "placebo" in frame.columns else frame.index
        assert list(names) == list(tested.what), title
    added = part("Added to the total return", placebos=3).frame["placebo"].map(number)
    assert added["total"] == pytest.approx(full["total_return"][2:5].mean(), abs=6e-4)
    orders = tested.result.orders
    sent = part("Orders and closings", placebos=3).frame.loc["placebo", "Orders"]
    assert number(sent) == round(orders["strategy"].between(2, 4).sum() / 3)
    line = next(x for x in arm_summary_lines(tested) if x.startswith("Against the placebo"))
    last = tested.result.equity[:, -1]
    assert "mean of 3 draws" in line
    assert line.endswith(f"it ended above {(last[2:5] < last[5]).sum()} of the 3 draws.")
    figure = curve_plot(tested.equity, tested.main)
    drawn = [trace for trace in figure.data if trace.legendgroup == "placebo"]
    assert len(drawn) == 6
    assert [trace.name for trace in drawn if trace.showlegend] == ["placebo (3 draws)"]


def test_every_headline_has_an_interval_around_it():
    for placebos in (1, 3):
        for arm in compared_arms(placebos=placebos).statistics:
            assert set(arm.intervals) == {"log_growth", "sharpe", "max_drawdown"}
            for interval in arm.intervals.values():
                assert interval.low < interval.value < interval.high
    frame = part("Sharpe by volatility of the market").frame
    assert frame.map(lambda cell: "±" in cell or cell == "-").all(axis=None)


def test_a_year_has_as_many_bars_in_intervals_as_in_figures():
    tested = compared_arms()
    returns = {"a": tested.result.equity[:1, 1:] / tested.result.equity[:1, :-1] - 1.0}
    ledger = Trials(2, np.array([0.01, 0.02]))
    daily, hourly = (
        arm_statistics(returns, ledger, per_year, torch.Generator().manual_seed(0))[0].intervals
        for per_year in (252.0, 4 * 252.0)
    )
    assert hourly["sharpe"].value == pytest.approx(2 * daily["sharpe"].value)
    assert hourly["log_growth"].high == pytest.approx(4 * daily["log_growth"].high)


def test_an_arm_that_is_missing_stands_in_the_table_with_the_reason():
    frame = part("The arms").frame
    assert frame.loc["approved only (no arm)", "what it is"] == "Nobody answered."


def test_months_and_years_compound_to_the_whole():
    tested = compared_arms()
    equity = tested.equity[tested.main]
    heat = monthly_plot(equity).data[0]
    months = np.asarray(heat.z, dtype=float)
    total = np.nanprod(1 + months[:, :12])
    assert total == pytest.approx(equity.iloc[-1], rel=1e-12)
    assert np.prod(1 + months[:, 12]) == pytest.approx(equity.iloc[-1], rel=1e-12)
    years = part("Return of each year").frame["shaped + filter"].map(number)
    assert np.prod(1 + years) == pytest.approx(equity.iloc[-1], abs=2e-3)


def test_what_assets_added_makes_up_the_total_return():
    table = part("Added to the total return").frame["shaped + filter"].map(number)
    total = compared_arms().measures.loc["shaped + filter", "total_return"]
    assert table["total"] == pytest.approx(total, abs=6e-4)
    assert table.drop("total").sum() == pytest.approx(total, abs=4e-3)


def test_every_measure_has_a_plain_name_and_no_raw_one_is_left():
    tested = compared_arms()
    table = arm_table(tested.measures)
    assert set(tested.measures) == set(LABELS)
    assert list(table.columns) == list(tested.what)
    content = json.dumps(report_json(Report("t", [], [], sections=arm_sections(tested))))
    words = re.sub(r'"figure": ".*?[^\\]"', "", content)
    assert not [name for name in LABELS if "_" in name and name in words]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("annual_return", 0.1234, "12.3%"),
        ("annual_return", -0.0001, "0.0%"),
        ("cost", 0.00571, "0.57%"),
        ("sharpe", 1.2345, "1.23"),
        ("drawdown_length", 1234.0, "1,234"),
        ("calmar", float("nan"), "-"),
        ("sortino", float("inf"), "-"),
    ],
)
def test_a_measure_as_text(name, value, text):
    assert measure_text(name, value) == text


def test_fills_stand_on_the_chart_where_and_when_they_happened():
    tested = compared_arms()
    orders = tested.result.select(tested.row).orders
    bars = tested.result.conditions.bars
    close = pd.DataFrame(bars.close, index=bars.dates, columns=list(bars.symbols))
    figure = trade_plot(close, orders)
    shown = [trace for trace in figure.data if trace.visible]
    assert [trace.name for trace in shown] == ["close", "buy", "sell"]
    traded = orders.groupby("symbol", observed=True)["value"].apply(lambda v: v.abs().sum())
    first = figure.layout.updatemenus[0].buttons[0].label
    assert first == traded.idxmax()
    own = orders[orders["symbol"] == first]
    for trace in shown[1:]:
        fills = own[own["side"] == trace.name]
        assert pd.DatetimeIndex(trace.x).tolist() == fills["filled_on"].tolist()
        np.testing.assert_allclose(trace.y, close[first].reindex(fills["filled_on"]))
    assert len(figure.layout.updatemenus[0].buttons) == 4
    second = figure.layout.updatemenus[0].buttons[1].args[0]["visible"]
    assert [i for i, seen in enumerate(second) if seen] == [3, 4, 5]


def test_drawdown_lies_under_the_equity_that_it_belongs_to():
    tested = compared_arms()
    figure = curve_plot(tested.equity, tested.main)
    curves = [trace for trace in figure.data if trace.name == tested.main]
    assert [trace.yaxis for trace in curves] == ["y", "y2"]
    assert curves[1].fill == "tozeroy"
    drop = tested.measures.loc[tested.main, "max_drawdown"]
    assert min(curves[1].y) == pytest.approx(-drop, rel=1e-9)


def test_shorts_are_drawn_below_zero_and_small_holdings_together():
    dates = pd.date_range("2020-01-01", periods=3)
    weights = pd.DataFrame({f"A{i}": [0.01 * (20 - i)] * 3 for i in range(15)}, index=dates)
    weights["A0"] = [-0.2, 0.1, -0.3]
    figure = holdings_plot(weights)
    groups = {(trace.name, trace.stackgroup) for trace in figure.data}
    assert ("A0", "long") in groups
    assert ("A0", "short") in groups
    assert ("A1", "short") not in groups
    rest = next(trace for trace in figure.data if trace.name == "all others")
    assert rest.y[0] == pytest.approx(0.08 + 0.07 + 0.06)


def test_the_break_even_is_what_was_paid_for_what_was_traded():
    def rerun(factor: float) -> pd.DataFrame:
        rows = {"annual_return": [0.06 - 0.03 * factor, 0.05], "turnover": [0.1, 0.0],
                "cost": [0.03, 0.0]}  # fmt: skip
        return pd.DataFrame(rows)

    curves = cost_curves({"a": [0], "still": [1]}, rerun, 252.0)
    assert list(curves) == ["a"]
    assert list(curves["a"].table.index) == list(COST_FACTORS)
    assert curves["a"].break_even == pytest.approx(2.0)
    # 3% a year over 252 bars on a tenth of the equity a bar is 11.9 bps of what is traded.
    assert curves["a"].break_even_bps == pytest.approx(2 * 0.03 / 252 / 0.1 * 1e4)


def test_a_verdict_counts_every_pair():
    tested = compared_arms()
    table = part("Between arms, on the same bars").frame
    assert set(table.index) == {
        f"shaped + filter against {name}" for name in list(tested.what)[:-1]
    }
    tests = tested.tests.assign(p_value=0.03, p_holm=0.09, difference=0.1)
    drawdown = tests["figure"] == "max_drawdown"
    tests.loc[drawdown & (tests["second"] == "placebo"), "p_holm"] = 0.01
    sections = arm_sections(replace(tested, tests=tests))
    frame = next(s for s in sections if s.title == "Is it luck?").parts[1].frame
    assert frame.loc["shaped + filter against placebo", "Verdict"] == "more drawdown"
    assert frame.loc["shaped + filter against buy and hold", "Verdict"] == "not distinguishable"


def test_a_report_as_json_holds_what_a_screen_needs():
    frame = pd.DataFrame({"x": ["1", "2"]}, index=pd.Index(["a", "b"], name="arm"))
    figure = curve_plot(compared_arms().equity, "placebo")
    report = Report(
        "Title", ["It went."], ["Beware."], facts=[("Seed", "0")], tiles=[Tile("L", "1", "n")],
        sections=[Section("One", ["Line."], [Table("T", frame, "note"), Plot("P", figure)])],
    )  # fmt: skip
    content = json.loads(json.dumps(report_json(report), allow_nan=False))
    (section,) = content["sections"]
    table, plot = section["parts"]
    assert table["columns"] == ["arm", "x"]
    assert table["rows"] == [["a", "1"], ["b", "2"]]
    packed = json.loads(plot["figure"])["data"][0]["y"]
    drawn = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=packed["dtype"])
    assert drawn.tolist() == figure.data[0].y.tolist()
    assert content["tiles"] == [["L", "1", "n"]]
