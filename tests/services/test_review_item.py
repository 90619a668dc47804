import json
import math
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.services.desk_run import WEIGHTS, make_proposal
from trading_rlhf.market import Bars
from trading_rlhf.proposals import Explanation, Proposal, Reason
from trading_rlhf.services.review_chart import CHART_BARS, MEAN_BARS, price_chart
from trading_rlhf.services.review_item import build_item, preview
from trading_rlhf.services.review_mask import mask_for
from trading_rlhf.services.review_portfolio import holding_rows, needed_sales
from trading_rlhf.services.review_views import ReviewItem

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LOOKBACK = CHART_BARS + MEAN_BARS - 1


def item_of(bars: Bars, proposal: Proposal, *siblings: Proposal) -> ReviewItem:
    history = bars.known_at(proposal.bar, bars.symbols.index(proposal.symbol), LOOKBACK)
    mask = mask_for(proposal, bars.symbols)
    return build_item(proposal, siblings, history, mask, token="t", now=NOW)


def shown(item: ReviewItem) -> str:
    """What may reach the browser: all but what stays on the server."""
    record = asdict(item)
    for name in ("proposal_id", "token", "shown_at"):
        record.pop(name)
    return json.dumps(record)


def test_a_masked_item_tells_neither_symbol_nor_date_nor_price(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "IBM", target=0.12)
    item = item_of(bars, proposal, make_proposal(bars, 1600, "AAPL", target=0.36))
    text = shown(item)
    assert item.masked
    for symbol in bars.symbols:
        assert symbol not in text
    assert f"{bars.dates[1600].year}" not in text
    assert proposal.id not in text
    assert f"{proposal.price:.2f}" not in text
    assert f"{abs(proposal.shares):,.0f}" not in text
    assert "$" not in text


def test_a_masked_chart_ends_at_a_hundred_at_the_decision(bars: Bars) -> None:
    item = item_of(bars, make_proposal(bars, 1600, "IBM", target=0.12))
    chart = item.chart
    assert chart.x == tuple(range(-120, 1))
    assert chart.close[-1] == chart.last == 100.0
    assert chart.entry == 96.0
    assert chart.labels[-1] == "the decision"
    assert chart.ticks == (-120, -100, -80, -60, -40, -20, 0)


def test_nothing_after_the_decision_changes_the_item(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "IBM", target=0.12)
    later = {
        name: np.array(getattr(bars, name))
        for name in ("open", "high", "low", "close", "volume", "raw_close", "split", "dividend")
    }
    for name in ("open", "high", "low", "close", "volume", "raw_close"):
        later[name][1601:] *= 1.7
    other = Bars(bars.dates, bars.symbols, **later, tradable=bars.tradable)
    assert item_of(other, proposal) == item_of(bars, proposal)


def test_volume_of_a_masked_item_is_relative_to_its_mean(bars: Bars) -> None:
    item = item_of(bars, make_proposal(bars, 1600, "IBM", target=0.12))
    volume = bars.known_at(1600, bars.symbols.index("IBM"), LOOKBACK).volume
    assert volume is not None
    assert item.chart.volume is not None
    assert item.chart.volume[-1] == pytest.approx(volume[-1] / volume[-20:].mean(), abs=0.006)
    assert item.chart.volume[0] == pytest.approx(volume[19] / volume[:20].mean(), abs=0.006)


def test_the_mean_is_that_of_twenty_closes(bars: Bars) -> None:
    proposal = make_proposal(bars, 2400, "MSFT", "live", target=0.074)
    closes = bars.known_at(2400, bars.symbols.index("MSFT"), LOOKBACK).close
    chart = item_of(bars, proposal).chart
    assert chart.mean[-1] == pytest.approx(closes[-20:].mean(), abs=0.006)
    assert chart.mean[0] == pytest.approx(closes[:20].mean(), abs=0.006)


def test_letters_change_from_item_to_item(bars: Bars) -> None:
    names = {
        mask_for(make_proposal(bars, t, "IBM", target=0.12), bars.symbols).name("IBM")
        for t in range(1600, 1640)
    }
    assert names == {"Asset A", "Asset B", "Asset C", "Asset D"}


def test_many_assets_get_letters_as_in_a_spreadsheet(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "IBM", target=0.12)
    mask = mask_for(proposal, [f"S{i}" for i in range(30)])
    assert {"Asset A", "Asset Z", "Asset AA", "Asset AH"} <= set(mask.names.values())
    assert len(set(mask.names.values())) == len(mask.names)


def test_a_live_item_says_everything(bars: Bars) -> None:
    proposal = make_proposal(
        bars, 2400, "MSFT", "live", target=0.074, expires_at=datetime(2026, 1, 5, 14, 5, tzinfo=UTC)
    )
    item = item_of(bars, proposal)
    assert item.sentence == f"{item.headline}  3.0% → 7.4% of equity"
    assert item.headline == f"Buy {44_000 / proposal.price:,.0f} MSFT"
    assert item.deadline == "answer by Mon 05 Jan 09:05 New York (in 2 h 5 min), else no trade"
    assert item.decided == "decided Wed 16 Sep 16:00 New York, nothing later is shown"
    assert item.position == f"Long 3.0%, entered at ${proposal.price * 0.96:.2f}, profit +4.2%"
    assert item.chart.labels[-1] == "Wed 16 Sep 2009"
    assert item.chart.close[-1] == proposal.price
    assert item.chart.tick_labels == ("Apr 2009", "May", "Jun", "Jul", "Aug", "Sep")
    assert {f.label: f.value for f in item.figures} == {
        "Size": "$44.0k",
        "Cost": "3.0 bps",
        "Volatility": next(f.value for f in item.figures if f.label == "Volatility"),
        "Of day volume": "< 0.01%",
        "Conviction": "62%",
        "Horizon": "20 bars",
    }


def test_close_only_bars_give_a_line_that_fills_at_the_close(bars: Bars) -> None:
    plain = Bars(
        bars.dates, bars.symbols, None, None, None, bars.close, None, tradable=bars.tradable
    )
    proposal = replace(
        make_proposal(bars, 1600, "IBM", target=0.12),
        price=float(bars.close[1600, bars.symbols.index("IBM")]),
    )
    item = item_of(plain, proposal)
    assert item.chart.open is None
    assert item.chart.volume is None
    assert item.chart.fill_label == "fills<br>at next<br>close"
    assert {f.label: f.value for f in item.figures}["Of day volume"] == "n/a"


def test_early_bars_give_a_short_chart(bars: Bars) -> None:
    item = item_of(bars, make_proposal(bars, 10, "IBM", target=0.12))
    assert item.chart.x == tuple(range(-10, 1))
    assert item.chart.mean == (None,) * 11
    assert {f.label: f.value for f in item.figures}["Volatility"] == "n/a"


def test_reasons_point_to_the_side_they_support(bars: Bars) -> None:
    for target, side in ((0.12, -1), (0.25, 1)):
        proposal = replace(
            make_proposal(bars, 1600, "IBM", target=target),
            reasons=(
                Reason("a", "for", 1.0, 0.02 * side),
                Reason("b", "against", -0.5, -0.01 * side),
            ),
            explanation=None,
        )
        strong, weak = item_of(bars, proposal).reasons
        assert (strong.supports, strong.span.start, strong.span.length) == (True, 50.0, 50.0)
        assert (weak.supports, weak.span.start, weak.span.length) == (False, 25.0, 25.0)
        assert weak.value == "-0.5 sd"
        assert {strong.amount, weak.amount, item_of(bars, proposal).total} == {""}
        assert item_of(bars, proposal).why == ""


def test_the_rows_add_up_to_the_trade(bars: Bars) -> None:
    item = item_of(bars, make_proposal(bars, 2400, "MSFT", "live", target=0.074))
    rows = [(row.label, row.value, row.amount, row.supports) for row in item.reasons]
    assert rows == [
        ("60-day trend", "+1.8 sd", "+3.30%", True),
        ("20-day volume", "+0.9 sd", "+1.10%", True),
        ("20-day volatility", "-0.4 sd", "-1.10%", False),
        ("all other signals", "", "+0.22%", True),
        ("what is held", "", "+2.20%", True),
        ("cost and caution", "", "-1.32%", False),
    ]
    assert item.total == "+4.40%"
    assert sum(float(row.amount.rstrip("%")) for row in item.reasons) == pytest.approx(4.4)
    assert max(row.span.length for row in item.reasons) == 50.0


def test_a_sale_is_said_under_the_name_that_may_be_shown(bars: Bars) -> None:
    live = make_proposal(bars, 2400, "IBM", "live", target=0.12)
    said = "60-day trend -1.8 sd, holds more than usual; held back by cost and caution."
    assert item_of(bars, live).why == f"Sells IBM: {said}"
    assert item_of(bars, live).total == "-6.00%"
    hidden = item_of(bars, make_proposal(bars, 1600, "GOOG", target=0.0))
    assert re.fullmatch(f"Sells all of Asset [A-D]: {re.escape(said)}", hidden.why)


def test_parts_that_print_as_nothing_are_left_out(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "IBM", target=0.12)
    small = Explanation(1e-5, -1e-6, 0.0, -0.06, 0.0, "nothing")
    labels = [row.label for row in item_of(bars, replace(proposal, explanation=small)).reasons]
    assert labels[3:] == ["cost and caution"]


def test_the_part_of_the_last_bar_is_said_where_it_differs(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "IBM", target=0.25)
    first, *others = proposal.reasons
    for latest, text in ((None, "change, %"), (first.contribution, "change, %"), (0.01, "+1.00%")):
        changed = replace(proposal, reasons=(replace(first, latest=latest), *others))
        assert text in item_of(bars, changed).reasons[0].help


def test_a_trade_without_reasons_or_change_of_reasons_is_drawn(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "IBM", target=0.12)
    proposal = replace(proposal, explanation=None)
    assert item_of(bars, replace(proposal, reasons=())).reasons == ()
    flat = replace(proposal, reasons=(Reason("a", "flat", 0.0, 0.0),))
    assert item_of(bars, flat).reasons[0].span.length == 0.0


def test_the_portfolio_changes_only_in_the_traded_asset_and_cash(bars: Bars) -> None:
    proposal = make_proposal(bars, 2400, "MSFT", "live", target=0.074)
    rows = holding_rows(proposal, mask_for(proposal, bars.symbols))
    assert [(row.label, row.change) for row in rows] == [
        ("MSFT", "3.0% → 7.4%"),
        ("AAPL", "31.0%"),
        ("GOOG", "22.0%"),
        ("IBM", "18.0%"),
        ("cash", "26.0% → 21.6%"),
    ]
    assert [row.label for row in rows if row.after_span is not None] == ["MSFT"]
    assert [row.label for row in rows if row.now_span is None] == ["cash"]
    assert rows[1].now_span.length == 100.0
    assert rows[0].traded


def test_small_holdings_are_summed_and_shorts_start_at_zero(bars: Bars) -> None:
    held = {f"S{i}": 0.02 for i in range(10)} | {"IBM": -0.1}
    proposal = replace(
        make_proposal(bars, 2400, "IBM", "live", target=-0.05), held=-0.1, portfolio=held
    )
    rows = holding_rows(proposal, mask_for(proposal, held))
    assert rows[0].now_span.start == 0.0
    assert rows[0].now_span.length > rows[0].after_span.length > 0
    assert (rows[5].label, rows[5].change) == ("6 others", "12.0%")
    assert (rows[6].label, rows[6].change) == ("cash", "90.0% → 85.0%")


def test_a_purchase_without_cash_names_the_sales_it_needs(bars: Bars) -> None:
    buy = make_proposal(bars, 1600, "MSFT", "live", target=0.40)
    sale = make_proposal(bars, 1600, "IBM", "live", target=0.0)
    mask = mask_for(buy, bars.symbols)
    assert sum(WEIGHTS.values()) + 0.37 > 1
    assert needed_sales(buy, [sale], mask) == "Needs the sale of IBM."
    assert "scaled down" in needed_sales(buy, [], mask)
    assert needed_sales(sale, [buy], mask) == ""
    assert needed_sales(replace(buy, target=0.05), [sale], mask) == ""


def test_only_the_largest_siblings_are_named(bars: Bars) -> None:
    proposal = make_proposal(bars, 1600, "MSFT", "live", target=0.05)
    others = [
        make_proposal(bars, 1600, symbol, "live", target=target)
        for symbol, target in (("IBM", 0.1), ("GOOG", 0.1), ("AAPL", 0.1), ("IBM", 0.17))
    ]
    lines = item_of(bars, proposal, *others).siblings
    assert [line.split()[2] for line in lines[:3]] == ["AAPL", "GOOG", "IBM"]
    assert lines[3] == "and 1 more"


@pytest.mark.parametrize(("target", "held"), [(0.07456, 0.03), (0.03001, 0.0), (-0.0333, 0.0101)])
def test_the_ends_of_the_resize_range_are_inside_the_trade(
    bars: Bars, target: float, held: float
) -> None:
    proposal = replace(make_proposal(bars, 1600, "MSFT", target=target), held=held)
    resize = item_of(bars, proposal).resize
    low, high = sorted((held, target))
    assert low <= resize.minimum / 100 <= resize.maximum / 100 <= high
    assert high - resize.maximum / 100 < 1e-4
    for _, weight in resize.presets:
        assert resize.minimum <= weight <= resize.maximum


def test_the_preview_of_a_resize_scales_size_and_cost(bars: Bars) -> None:
    proposal = make_proposal(bars, 2400, "MSFT", "live", target=0.074)
    mask = mask_for(proposal, bars.symbols)
    half = preview(proposal, mask, 0.052)
    assert half.allowed
    assert half.sentence == f"Buy {22_000 / proposal.price:,.0f} MSFT  3.0% → 5.2% of equity"
    assert half.detail == "50% of the proposed trade, $22.0k, cost 0.07 bps of equity"
    for weight in (0.03, 0.08, 0.0, math.nan):
        assert not preview(proposal, mask, weight).allowed


def test_missing_bars_are_left_out_of_the_chart(bars: Bars) -> None:
    young = make_proposal(bars, 1400, "GOOG", target=0.1)
    history = bars.known_at(1400, bars.symbols.index("GOOG"), LOOKBACK)
    chart = price_chart(young, history, mask_for(young, bars.symbols))
    assert None not in chart.close
    assert len(chart.close) == min(CHART_BARS, len(history.close))
