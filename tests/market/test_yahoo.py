"""The real yfinance client against a local server that speaks Yahoo's chart format."""

import json
import socket
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import fetch_bars
from trading_rlhf.market.clock import session_open, trading_sessions

START, END = date(2020, 8, 3), date(2020, 9, 15)
SESSIONS = trading_sessions(date(2020, 8, 3), date(2020, 9, 30))
SPLIT_DAY, LATE_SPLIT_DAY, DIVIDEND_DAY = "2020-08-31", "2020-09-21", "2020-08-07"


def quotes(n=42):
    """Return prices in shares of today, as Yahoo states them."""
    close = 100.0 + np.arange(n) % 7
    return {
        "open": close - 0.5,
        "high": close + 1.0,
        "low": close - 1.0,
        "close": close,
        "volume": 1000.0 + np.arange(n),
    }


def chart(symbol, values=None, times=None, events=None):
    values = quotes() if values is None else values
    times = [session_open(day) for day in SESSIONS] if times is None else times
    before = np.array([stamp < session_open(pd.Timestamp(DIVIDEND_DAY)) for stamp in times])
    adjusted = values["close"] * np.where(before, 0.99, 1.0)
    seconds = [int(stamp.timestamp()) for stamp in times]
    meta = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NMS",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EDT",
        "gmtoffset": -14400,
        "dataGranularity": "1d",
        "priceHint": 2,
        "regularMarketTime": seconds[-1] if seconds else 0,
        "validRanges": ["1d", "5d", "max"],
    }
    result = {
        "meta": meta,
        "timestamp": seconds,
        "events": events or {},
        "indicators": {
            "quote": [{name: _jsonable(v) for name, v in values.items()}],
            "adjclose": [{"adjclose": _jsonable(adjusted)}],
        },
    }
    return 200, json.dumps({"chart": {"result": [result], "error": None}})


def _jsonable(values):
    return [None if np.isnan(value) else float(value) for value in values]


def events():
    def at(day):
        return int(session_open(pd.Timestamp(day)).timestamp())

    split = {"numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}
    late = {"numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1"}
    return {
        "splits": {
            "1": {"date": at(SPLIT_DAY), **split},
            "2": {"date": at(LATE_SPLIT_DAY), **late},
        },
        "dividends": {"1": {"date": at(DIVIDEND_DAY), "amount": 0.1025}},
    }


UNKNOWN = (
    404,
    json.dumps(
        {
            "chart": {
                "result": None,
                "error": {"code": "Not Found", "description": "No data found, symbol may be"},
            }
        }
    ),
)
TOO_MANY = (429, "Too Many Requests")
BROKEN = (500, "<html>Internal Server Error</html>")


class Yahoo:
    """Answers by symbol: a list is used up, its last entry stays."""

    def __init__(self):
        self.answers, self.asked = {}, []

    def answer(self, path):
        parts = urlsplit(path)
        symbol = parts.path.rsplit("/", 1)[-1]
        if "/v8/finance/chart/" not in parts.path:
            return UNKNOWN
        self.asked.append((symbol, parse_qs(parts.query)))
        answers = self.answers.get(symbol, [UNKNOWN])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def requests(self, symbol):
        return sum(asked == symbol for asked, _ in self.asked)


@pytest.fixture
def point_at(monkeypatch):
    """Return a function that points yfinance at another address and keeps it off the network."""
    import yfinance.base
    import yfinance.cache
    import yfinance.scrapers.history
    import yfinance.scrapers.quote
    from yfinance.data import YfData

    def point(url):
        for module in (yfinance.base, yfinance.scrapers.history, yfinance.scrapers.quote):
            monkeypatch.setattr(module, "_BASE_URL_", url)
        monkeypatch.setattr(yfinance.scrapers.quote, "_QUERY1_URL_", url)
        monkeypatch.setattr(yfinance.scrapers.quote, "_QUOTE_SUMMARY_URL_", f"{url}/v10/quote")
        crumb = ("stub", "basic")
        monkeypatch.setattr(YfData, "_get_cookie_and_crumb", lambda self, timeout=30: crumb)
        monkeypatch.setattr(
            yfinance.cache._TzCacheManager, "_tz_cache", yfinance.cache._TzCacheDummy()
        )
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    return point


@pytest.fixture
def yahoo(point_at):
    server = Yahoo()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = server.answer(self.path)
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        point_at(f"http://127.0.0.1:{http.server_port}")
        yield server
        http.shutdown()
        thread.join()


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


def test_no_server_is_one_sentence_and_does_not_wait_for_every_symbol(point_at):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_at(f"http://127.0.0.1:{free.getsockname()[1]}")
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
