"""The real yfinance client against a local server that speaks Yahoo's chart format."""

import json
import socket
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tests.market.yahoo_server import (
    BROKEN,
    DIVIDEND_DAY,
    END,
    SESSIONS,
    SPLIT_DAY,
    START,
    TOO_MANY,
    chart,
    events,
    point_yfinance_at,
    quotes,
    yahoo_server,
)
from trading_rlhf.errors import DataError
from trading_rlhf.market import check_bars, fetch_bars
from trading_rlhf.market.clock import session_open

ZONE = "America/New_York"


@pytest.fixture
def yahoo(monkeypatch):
    with yahoo_server(monkeypatch) as server:
        yield server


def fetch(*symbols, **changes):
    slept = []
    result = fetch_bars(symbols, START, END, **({"sleep": slept.append} | changes))
    return result, slept


def test_good_data_with_splits_and_a_dividend(yahoo):
    yahoo.answers["AAA"] = [chart("AAA", events=events())]
    result, slept = fetch("aaa")
    bars, (symbol,) = result.bars, result.symbols
    assert slept == []
    assert (symbol.symbol, symbol.error, symbol.attempts) == ("AAA", None, 1)
    assert symbol.n_bars == bars.shape[0] == 30
    assert list(bars.dates) == list(SESSIONS[:30])
    assert bars.dates.tz is None
    split, dividend = (int(bars.dates.get_loc(day)) for day in (SPLIT_DAY, DIVIDEND_DAY))
    assert np.flatnonzero(bars.split[:, 0] != 1.0).tolist() == [split]
    assert bars.split[split, 0] == 4.0
    # A later split of 2 and this one of 4: eight shares of today were one share then.
    traded = quotes()["close"][:30] * np.where(np.arange(30) < split, 8.0, 2.0)
    np.testing.assert_allclose(bars.raw_close[:, 0], traded)
    np.testing.assert_allclose(bars.dividend[dividend, 0], 0.1025 * 8.0)
    assert (bars.dividend > 0).sum() == 1
    np.testing.assert_allclose(bars.volume[:, 0], quotes()["volume"][:30] / 2.0)


def test_adjusted_prices_join_over_events_and_end_at_the_traded_level(yahoo):
    yahoo.answers["AAA"] = [chart("AAA", events=events())]
    bars = fetch("AAA")[0].bars
    factor = np.where(bars.dates < DIVIDEND_DAY, 0.99, 1.0) * 2.0
    for name in ("open", "high", "low", "close"):
        expected = quotes()[name][:30] * factor
        np.testing.assert_allclose(getattr(bars, name)[:, 0], expected)
    assert bars.close[-1, 0] == pytest.approx(bars.raw_close[-1, 0], rel=1e-15)
    history = bars.known_at(5, 0, 3)
    np.testing.assert_allclose(history.close, quotes()["close"][3:6] * 8.0)
    np.testing.assert_allclose(history.volume, quotes()["volume"][3:6] / 8.0)


def test_an_unknown_symbol_is_told_and_the_others_are_kept(yahoo):
    yahoo.answers["AAA"] = [chart("AAA")]
    done = []
    result, slept = fetch("NOPE", "AAA", progress=lambda *step: done.append(step))
    assert result.bars.symbols == ("AAA",)
    assert [entry.symbol for entry in result.failed] == ["NOPE"]
    assert result.failed[0].error == "Yahoo knows no such symbol; check its spelling."
    assert result.failed[0].attempts == 1
    assert slept == []
    assert done == [("fetch", 1, 2), ("fetch", 2, 2)]


def test_too_many_requests_then_good(yahoo):
    # yfinance itself asks once more before it reports the refusal.
    yahoo.answers["AAA"] = [TOO_MANY] * 4 + [chart("AAA")]
    result, slept = fetch("AAA")
    assert result.symbols[0].error is None
    assert result.symbols[0].attempts == 3
    assert result.bars.shape == (30, 1)
    assert slept == [2.0, 4.0]


def test_pauses_are_shortened_at_random_by_the_generator_alone(yahoo):
    pauses = []
    for seed in (1, 1, 2):
        yahoo.answers["AAA"] = [TOO_MANY]
        pauses.append(fetch("AAA", generator=np.random.default_rng(seed))[1])
    assert pauses[0] == pauses[1] != pauses[2]
    for pause, full in zip(pauses[0], (2.0, 4.0, 8.0), strict=True):
        assert full / 2 <= pause <= full


def test_a_refusal_that_stays_ends_after_the_attempts(yahoo):
    yahoo.answers["AAA"] = [TOO_MANY]
    result, slept = fetch("AAA", attempts=7)
    assert result.bars is None
    assert "429" in result.failed[0].error
    assert result.failed[0].attempts == 7
    assert slept == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


def test_a_server_fault_is_repeated_although_yfinance_caches_answers(yahoo):
    yahoo.answers["AAA"] = [BROKEN, BROKEN, chart("AAA")]
    result, slept = fetch("AAA")
    assert result.symbols[0].error is None
    assert slept == [2.0]


def test_a_server_fault_that_stays_is_one_sentence(yahoo):
    yahoo.answers["AAA"] = [BROKEN]
    result, _ = fetch("AAA", attempts=2)
    assert result.failed[0].error == "Yahoo answered with an error page instead of data."


def test_no_server_is_one_sentence_and_does_not_wait_for_every_symbol(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_yfinance_at(f"http://127.0.0.1:{free.getsockname()[1]}", monkeypatch)
        result, slept = fetch("AAA", "BBB", "CCC", attempts=3)
    assert result.bars is None
    assert [entry.attempts for entry in result.symbols] == [3, 1, 1]
    assert "Yahoo could not be reached" in result.failed[0].error
    assert slept == [2.0, 4.0]


def test_patience_returns_with_the_first_success(yahoo):
    yahoo.answers |= {"AAA": [TOO_MANY], "BBB": [chart("BBB")], "CCC": [TOO_MANY]}
    result, _ = fetch("AAA", "BBB", "CCC", attempts=2)
    assert [entry.attempts for entry in result.symbols] == [2, 1, 2]


def test_a_range_without_prices_is_told(yahoo):
    empty = json.loads(chart("AAA")[1])
    del empty["chart"]["result"][0]["timestamp"]
    empty["chart"]["result"][0]["indicators"] = {"quote": [{}], "adjclose": [{}]}
    yahoo.answers["AAA"] = [(200, json.dumps(empty))]
    result, slept = fetch("AAA")
    assert "no prices in this range" in result.failed[0].error
    assert slept == []


def test_an_answer_of_another_form_is_told(yahoo):
    good = json.loads(chart("AAA")[1])
    del good["chart"]["result"][0]["meta"]["instrumentType"]
    yahoo.answers["AAA"] = [(200, json.dumps(good))]
    result, slept = fetch("AAA")
    error = "Yahoo's answer could not be read (KeyError: 'instrumentType')."
    assert result.failed[0].error == error
    assert slept == []


def test_yahoo_in_maintenance_is_asked_again(yahoo):
    yahoo.answers["AAA"] = [chart("AAA"), (200, "<h1>Will be right back...</h1>"), chart("AAA")]
    result, slept = fetch("AAA")
    assert result.symbols[0].error is None
    assert slept == [2.0]


def test_impossible_and_incomplete_bars_are_left_out_and_named(yahoo):
    values = quotes()
    values["high"][3] = values["low"][3] - 1.0
    values["close"][6] = np.nan
    split = int(SESSIONS.get_loc(SPLIT_DAY))
    values["open"][split] = 0.0
    yahoo.answers["AAA"] = [chart("AAA", values, events=events())]
    result, _ = fetch("AAA")
    assert result.symbols[0].left_out == ("2020-08-06", "2020-08-11", SPLIT_DAY)
    assert result.symbols[0].n_bars == 27
    bars = result.bars
    assert bars.shape == (30, 1)
    assert np.flatnonzero(~bars.tradable[:, 0]).tolist() == [3, 6, split]
    assert bars.split[split, 0] == 4.0
    np.testing.assert_allclose(bars.known_at(split + 1, 0, 3).close, [208.0, 202.0], atol=8.0)


def test_symbols_with_different_days_share_one_panel(yahoo):
    late = {name: v[10:] for name, v in quotes().items()}
    times = [session_open(day) for day in SESSIONS[10:]]
    yahoo.answers |= {"AAA": [chart("AAA")], "BBB": [chart("BBB", late, times)]}
    bars = fetch("AAA", "BBB")[0].bars
    assert bars.shape == (30, 2)
    assert not bars.tradable[:10, 1].any()
    assert bars.tradable[10:].all()


def test_a_session_that_still_goes_on_is_left_out(yahoo):
    yahoo.answers["AAA"] = [chart("AAA")]
    during, after = (datetime(2020, 9, 14, hour, tzinfo=UTC) for hour in (19, 20))
    assert fetch("AAA", clock=lambda: during)[0].bars.dates[-1] == pd.Timestamp("2020-09-11")
    assert fetch("AAA", clock=lambda: after)[0].bars.dates[-1] == pd.Timestamp("2020-09-14")


def test_bars_within_a_day_are_in_utc(yahoo):
    times = list(pd.date_range("2020-09-14 09:30", periods=7, freq="1h", tz="America/New_York"))
    period = {"timezone": "EDT", "gmtoffset": -14400, "start": int(times[0].timestamp())}
    answer = json.loads(chart("AAA", quotes(7), times)[1])
    meta = answer["chart"]["result"][0]["meta"]
    meta["tradingPeriods"] = [[period | {"end": period["start"] + 23_400}]]
    yahoo.answers["AAA"] = [(200, json.dumps(answer))]
    bars = fetch("AAA", interval="1h")[0].bars
    assert bars.shape == (7, 1)
    assert str(bars.dates.tz) == "UTC"
    assert bars.dates[0] == pd.Timestamp("2020-09-14 13:30", tz="UTC")
    assert yahoo.asked[-1][1]["interval"] == ["1h"]


def test_what_is_asked_of_yahoo(yahoo):
    yahoo.answers["AAA"] = [chart("AAA")]
    fetch("AAA")
    symbol, query = yahoo.asked[-1]
    assert symbol == "AAA"
    start = pd.Timestamp(START, tz="America/New_York").timestamp()
    assert query["period1"] == [str(int(start))]
    assert query["interval"] == ["1d"]
    assert "splits" in query["events"][0]


def test_the_switch_of_yfinance_is_set_back(yahoo):
    import yfinance

    yahoo.answers["AAA"] = [TOO_MANY]
    assert yfinance.config.debug.hide_exceptions
    fetch("AAA", attempts=1)
    assert yfinance.config.debug.hide_exceptions


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"symbols": []}, "symbols must be names"),
        ({"symbols": ["AAA", " "]}, "symbols must be names"),
        ({"symbols": ["AAA", "aaa"]}, "each symbol may occur once; got AAA"),
        ({"interval": "1wk"}, "interval must be one of 1d, .*; got 1wk"),
        ({"start": END, "end": START}, "start must be before end"),
        ({"attempts": 0}, "attempts must be one or more"),
    ],
)
def test_impossible_requests_are_refused_before_asking(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        fetch_bars(**({"symbols": ["AAA"], "start": START, "end": END} | changes))


def test_a_split_day_proves_that_prices_are_adjusted(yahoo):
    yahoo.answers |= {"AAA": [chart("AAA", events=events())], "BBB": [chart("BBB")]}
    one, other = fetch("AAA", "BBB")[0].symbols
    assert one.adjustment == f"proven on {SPLIT_DAY}, 2020-09-21"
    assert other.adjustment == "no split in range"
    assert (one.currency, other.currency) == ("USD", "USD")


@pytest.mark.parametrize("both", [True, False])
def test_closes_returned_as_traded_are_caught_and_not_kept(yahoo, both):
    """Yahoo forgot the split in its adjusted close, or in all of its prices."""
    before = np.array([day < pd.Timestamp(SPLIT_DAY) for day in SESSIONS])
    factor = np.where(before, 4.0, 1.0)
    values = quotes()
    adjusted = values["close"] * factor
    if both:
        values = {name: v * (factor if name != "volume" else 1.0) for name, v in values.items()}
    yahoo.answers |= {
        "AAA": [chart("AAA", values, events=events(), adjusted=adjusted)],
        "BBB": [chart("BBB")],
    }
    result, slept = fetch("AAA", "BBB")
    assert result.bars.symbols == ("BBB",)
    error = result.failed[0].error
    assert error.startswith("Yahoo's closes are not adjusted for the 4-for-1 split of 2020-08-31")
    assert error.endswith("nothing was kept.")
    assert slept == []


def test_an_adjusted_close_without_its_dividend_is_caught(yahoo):
    """yfinance puts the close in the place of an adjusted close that Yahoo leaves out."""
    moment = int(session_open(pd.Timestamp(DIVIDEND_DAY)).timestamp())
    paid = {"dividends": {"1": {"date": moment, "amount": 2.0}}}
    good = json.loads(chart("AAA", events=paid)[1])
    del good["chart"]["result"][0]["indicators"]["adjclose"]
    yahoo.answers["AAA"] = [(200, json.dumps(good))]
    result, _ = fetch("AAA")
    assert result.bars is None
    assert "not adjusted for the dividend of 2020-08-07 (1.9% of the price)" in (
        result.failed[0].error
    )


def test_an_answer_cut_off_is_asked_for_again(yahoo):
    status, text = chart("AAA")
    yahoo.answers["AAA"] = [chart("AAA"), (status, text[: len(text) // 2]), chart("AAA")]
    result, slept = fetch("AAA")
    assert result.symbols[0].error is None
    assert slept == [2.0]
    yahoo.answers["AAA"] = [(status, text[: len(text) // 2])]
    assert fetch("AAA", attempts=2)[0].failed[0].error == (
        "Yahoo answered with an error page instead of data."
    )


def test_a_holiday_is_no_gap_and_a_session_left_out_is_one(yahoo):
    assert "2020-09-07" not in SESSIONS
    yahoo.answers["AAA"] = [chart("AAA")]
    assert "gap" not in check_bars(fetch("AAA")[0].bars).counts
    rest = [i for i, day in enumerate(SESSIONS) if day != pd.Timestamp("2020-09-03")]
    values = {name: v[rest] for name, v in quotes().items()}
    yahoo.answers["AAA"] = [chart("AAA", values, [session_open(SESSIONS[i]) for i in rest])]
    found = check_bars(fetch("AAA")[0].bars).findings
    assert found[found["rule"] == "gap"]["date"].tolist() == ["2020-09-03"]


def test_symbols_in_other_currencies_are_not_mixed_in(yahoo):
    yahoo.answers |= {"AAA": [chart("AAA")], "BBB": [chart("BBB", currency="GBp")]}
    result, _ = fetch("AAA", "BBB")
    assert result.bars.symbols == ("AAA",)
    assert result.currency == "USD"
    assert result.failed[0].error == ("Yahoo quotes it in GBp, the others in USD: fetch it alone.")


def hours(yahoo, events=None):
    days = ("2020-09-11", "2020-09-14")
    times = [t for d in days for t in pd.date_range(f"{d} 09:30", periods=7, freq="1h", tz=ZONE)]
    period = {"timezone": "EDT", "gmtoffset": -14400}
    periods = [
        [period | {"start": int(times[i].timestamp()), "end": int(times[i].timestamp()) + 23_400}]
        for i in (0, 7)
    ]
    values = {name: np.array(v) for name, v in quotes(14).items()}
    answer = chart("AAA", values, times, events, adjusted=values["close"], tradingPeriods=periods)
    yahoo.answers["AAA"] = [answer]
    return times


def test_an_hour_that_still_goes_on_is_left_out(yahoo):
    times = hours(yahoo)
    for minute, last in ((0, 13), (-1, 12)):
        now = datetime(2020, 9, 14, 20, tzinfo=UTC) + pd.Timedelta(minutes=minute)
        bars = fetch("AAA", interval="1h", clock=lambda now=now: now)[0].bars
        assert bars.dates[-1] == times[last]


def test_hourly_closes_are_adjusted_for_dividends_although_yahoos_are_not(yahoo):
    moment = int(pd.Timestamp("2020-09-14 09:30", tz=ZONE).timestamp())
    hours(yahoo, {"dividends": {"1": {"date": moment, "amount": 5.0}}})
    bars = fetch("AAA", interval="1h")[0].bars
    close = quotes(14)["close"]
    np.testing.assert_allclose(bars.close[7:, 0], close[7:])
    np.testing.assert_allclose(bars.close[:7, 0], close[:7] * (1.0 - 5.0 / close[6]))
    np.testing.assert_allclose(bars.raw_close[:, 0], close)
    assert bars.dividend[7, 0] == 5.0
