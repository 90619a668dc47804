"""A local server that speaks Yahoo's chart format, for the real yfinance client."""

import json
import threading
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd

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


def chart(symbol, values=None, times=None, events=None, adjusted=None, **meta_changes):
    values = quotes() if values is None else values
    times = [session_open(day) for day in SESSIONS] if times is None else times
    if adjusted is None:
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
    } | meta_changes
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


def point_yfinance_at(url, monkeypatch):
    """Point yfinance at another address and keep it off the network."""
    import yfinance.base
    import yfinance.cache
    import yfinance.scrapers.history
    import yfinance.scrapers.quote
    from yfinance.data import YfData

    for module in (yfinance.base, yfinance.scrapers.history, yfinance.scrapers.quote):
        monkeypatch.setattr(module, "_BASE_URL_", url)
    monkeypatch.setattr(yfinance.scrapers.quote, "_QUERY1_URL_", url)
    monkeypatch.setattr(yfinance.scrapers.quote, "_QUOTE_SUMMARY_URL_", f"{url}/v10/quote")
    crumb = ("stub", "basic")
    monkeypatch.setattr(YfData, "_get_cookie_and_crumb", lambda self, timeout=30: crumb)
    monkeypatch.setattr(yfinance.cache._TzCacheManager, "_tz_cache", yfinance.cache._TzCacheDummy())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def yahoo_server(monkeypatch):
    """Serve answers by symbol to yfinance."""
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
        point_yfinance_at(f"http://127.0.0.1:{http.server_port}", monkeypatch)
        yield server
        http.shutdown()
        thread.join()
