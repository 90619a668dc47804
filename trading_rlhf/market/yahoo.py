"""Bars from Yahoo Finance through yfinance, with the fate of every symbol told.

``yfinance.download`` hides errors in empty frames, so each symbol is fetched by ``Ticker.history``
with exceptions on, and repeated with growing pauses where a fault may pass. Yahoo at times returns
closes that were not adjusted; split days and dividends are tested before anything is kept.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from json import JSONDecodeError
from typing import Any, Final

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.actions import ignored_dividends, later_splits, split_days
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.clock import bar_end, session_close
from trading_rlhf.market.tables import bars_from_table
from trading_rlhf.types import Clock, Progress

__all__ = ["FetchResult", "SymbolFetch", "fetch_bars", "INTERVALS"]

INTERVALS: Final = ("1d", "1h", "30m", "15m", "5m", "1m")

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0
_UNKNOWN = "Yahoo knows no such symbol; check its spelling."
_PRICES = ("Open", "High", "Low", "Close")
_CLOSES = ["open", "high", "low", "close", "raw_close"]


@dataclass(frozen=True)
class SymbolFetch:
    """What became of one symbol.

    Attributes:
        symbol: as asked for, in upper case.
        n_bars: bars received and kept.
        attempts: requests made, the last one included.
        left_out: bars that were impossible or incomplete and count as missing ("2020-01-02").
        error: why there are no bars, in one sentence; None when there are.
        adjustment: "proven on 2020-08-31" where a split day shows that prices are adjusted,
            "no split in range" where nothing can show it, "" without bars.
        currency: of the prices; None where Yahoo does not say.
    """

    symbol: str
    n_bars: int
    attempts: int
    left_out: tuple[str, ...] = ()
    error: str | None = None
    adjustment: str = ""
    currency: str | None = None


@dataclass(frozen=True, eq=False)
class FetchResult:
    """Bars of the symbols that could be fetched, and the fate of all.

    Attributes:
        bars: None when no symbol could be fetched.
        symbols: one entry per symbol asked for, in that order.
    """

    bars: Bars | None
    symbols: tuple[SymbolFetch, ...]

    @property
    def currency(self) -> str | None:
        """The one currency of all bars; None where Yahoo does not say."""
        return next((s.currency for s in self.symbols if s.error is None and s.currency), None)

    @property
    def failed(self) -> tuple[SymbolFetch, ...]:
        """Symbols without bars."""
        return tuple(fetch for fetch in self.symbols if fetch.error is not None)


def fetch_bars(
    symbols: Sequence[str],
    start: date,
    end: date,
    interval: str = "1d",
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
    attempts: int = 4,
    generator: np.random.Generator | None = None,
    clock: Clock | None = None,
) -> FetchResult:
    """Fetch bars from Yahoo Finance; one symbol's failure does not stop the others.

    Yahoo states prices in shares of today, so bars are fetched up to today and cut at ``end``:
    only then is it known what was traded.

    Args:
        symbols: Yahoo's names ("AAPL").
        start: first day.
        end: first day that is not fetched any more.
        interval: one of ``INTERVALS``; below a day Yahoo keeps only the last days or months.
        progress: called with ("fetch", symbols done, symbols in all).
        sleep: waits the given number of seconds.
        attempts: requests per symbol at most. Once a symbol has used them all, later symbols get
            one each until one succeeds, so that no network does not mean hours of waiting.
        generator: draws the jitter of the pauses; without it they have full length.
        clock: when given, a daily bar whose session has not closed yet is left out.

    Raises:
        DataError: no symbol, a repeated one, an unknown interval, or an empty range.
    """
    names = _checked_names(symbols, start, end, interval, attempts)
    tables: list[pd.DataFrame] = []
    fetched: list[SymbolFetch] = []
    patience, currency = attempts, None
    for i, name in enumerate(names):
        answer, error, tries = _patiently(name, start, interval, patience, sleep, generator)
        if answer is None:
            patience = 1 if tries == attempts else patience
            fetched.append(SymbolFetch(name, 0, tries, error=error))
        else:
            patience = attempts
            table, fetch = _judged(name, answer, interval, end, clock, tries, currency)
            currency = currency or fetch.currency
            fetched.append(fetch)
            tables += [] if table is None else [table]
        if progress is not None:
            progress("fetch", i + 1, len(names))
    return FetchResult(bars_from_table(pd.concat(tables)) if tables else None, tuple(fetched))


@dataclass(frozen=True, eq=False)
class _Answer:
    """Yahoo's prices of one symbol, and their currency."""

    frame: pd.DataFrame
    currency: str | None


def _judged(
    name: str,
    answer: _Answer,
    interval: str,
    end: date,
    clock: Clock | None,
    tries: int,
    currency: str | None,
) -> tuple[pd.DataFrame | None, SymbolFetch]:
    """Return the rows of one symbol and its fate; no rows where they cannot be trusted."""

    def failed(error: str) -> tuple[None, SymbolFetch]:
        return None, SymbolFetch(name, 0, tries, error=error)

    if currency is not None and answer.currency not in (None, currency):
        return failed(
            f"Yahoo quotes it in {answer.currency}, the others in {currency}: fetch it alone."
        )
    whole = _masked(_long_table(name, answer.frame, interval))
    error, adjustment = _adjustment(whole)
    if error is not None:
        return failed(error)
    table = _levelled(_cut(whole, end, interval, clock))
    n_bars = int(table["tradable"].sum())
    if not n_bars:
        return failed("Yahoo has no usable prices in this range.")
    missing = table["date"][~table["tradable"]]
    left_out = tuple(str(day).removesuffix(" 00:00:00") for day in missing)
    return table, SymbolFetch(
        name, n_bars, tries, left_out, adjustment=adjustment, currency=answer.currency
    )


def _checked_names(
    symbols: Sequence[str], start: date, end: date, interval: str, attempts: int
) -> list[str]:
    given = [symbols] if isinstance(symbols, str) else symbols
    names = [symbol.strip().upper() for symbol in given]
    if not names or not all(names):
        raise DataError("symbols must be names", repr(list(given)), "Name at least one, like AAPL.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError("each symbol may occur once", ", ".join(repeated), "Drop the repeats.")
    if interval not in INTERVALS:
        raise DataError(f"interval must be one of {', '.join(INTERVALS)}", interval, "Choose one.")
    if not start < end:
        raise DataError("start must be before end", f"{start} and {end}", "Swap or widen them.")
    if attempts < 1:
        raise DataError("attempts must be one or more", str(attempts), "Use 4.")
    return names


def _patiently(
    name: str,
    start: date,
    interval: str,
    attempts: int,
    sleep: Callable[[float], None],
    generator: np.random.Generator | None,
) -> tuple[_Answer | None, str | None, int]:
    """Fetch one symbol; pause and repeat where the fault may pass."""
    for attempt in range(1, attempts + 1):
        answer, error, may_pass = _once(name, start, interval)
        if error is None or not may_pass or attempt == attempts:
            break
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
        sleep(pause * (1.0 if generator is None else float(generator.uniform(0.5, 1.0))))
    return answer, error, attempt


def _once(name: str, start: date, interval: str) -> tuple[_Answer | None, str | None, bool]:
    """Return the answer, or the reason there is none and whether it may pass."""
    import yfinance
    from yfinance import exceptions
    from yfinance.data import YfData

    # Answers are cached in the process, faults included; a repeat would get the same fault.
    YfData.cache_get.cache_clear()
    try:
        with _exceptions_shown(yfinance), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ticker = yfinance.Ticker(name)
            frame = ticker.history(
                start=start.isoformat()[:10], interval=interval, auto_adjust=False
            )
    except exceptions.YFRateLimitError:
        return None, "Yahoo refuses more requests for now (429); try again in some minutes.", True
    except exceptions.YFTzMissingError:
        return None, _UNKNOWN, False
    except exceptions.YFPricesMissingError as error:
        return None, f"Yahoo has no prices in this range: {error.rationale}.", False
    except OSError as error:
        if getattr(getattr(error, "response", None), "status_code", None) == 404:
            return None, _UNKNOWN, False
        return None, f"Yahoo could not be reached ({type(error).__name__}).", True
    except JSONDecodeError:
        return None, "Yahoo answered with an error page instead of data.", True
    except exceptions.YFDataException:
        return None, "Yahoo is down for maintenance.", True
    except Exception as error:  # yfinance reads Yahoo's undocumented answers without checking them
        return None, f"Yahoo's answer could not be read ({type(error).__name__}: {error}).", False
    if frame.empty:
        return None, "Yahoo has no prices in this range.", False
    # Asked for through its property, the currency would cost another request where there is none.
    known = getattr(getattr(ticker, "_price_history", None), "_history_metadata", None) or {}
    return _Answer(frame, known.get("currency")), None, False


@contextmanager
def _exceptions_shown(yfinance: Any) -> Iterator[None]:
    """Let yfinance raise; its switch is global, so it is set back."""
    hidden = yfinance.config.debug.hide_exceptions
    yfinance.config.debug.hide_exceptions = False
    try:
        yield
    finally:
        yfinance.config.debug.hide_exceptions = hidden


def _long_table(name: str, frame: pd.DataFrame, interval: str) -> pd.DataFrame:
    """Restate Yahoo's columns: prices in shares of today, events, and a close adjusted for both."""
    index = pd.DatetimeIndex(frame.index)
    close = frame["Close"].to_numpy(dtype=np.float64)
    dividend = frame["Dividends"].to_numpy(dtype=np.float64)
    split = frame["Stock Splits"].replace(0.0, 1.0).to_numpy(dtype=np.float64)
    later = later_splits(split)
    if interval == "1d":
        factor = frame["Adj Close"].to_numpy(dtype=np.float64) / close
    else:
        # Within a day Yahoo has no adjusted close, and yfinance puts the close in its place.
        previous = pd.Series(close).ffill().shift().to_numpy()
        factor = later_splits(np.where(dividend > 0.0, 1.0 - dividend / previous, 1.0))
    return pd.DataFrame(
        {
            "date": index.tz_localize(None) if interval == "1d" else index.tz_convert("UTC"),
            "symbol": name,
            **{price.lower(): frame[price].to_numpy() * factor for price in _PRICES},
            "volume": frame["Volume"].to_numpy(dtype=np.float64),
            "raw_close": close * later,
            "split": split,
            "dividend": dividend * later,
        }
    )


def _masked(table: pd.DataFrame) -> pd.DataFrame:
    """Mark bars that are incomplete or contradict themselves as missing."""
    values, body = table[_CLOSES].to_numpy(), table[["open", "close"]].to_numpy()
    possible = (
        (np.isfinite(values) & (values > 0.0)).all(axis=1)
        & (body <= table[["high"]].to_numpy() * (1.0 + 1e-9)).all(axis=1)
        & (body >= table[["low"]].to_numpy() * (1.0 - 1e-9)).all(axis=1)
        & (table["volume"] >= 0.0).to_numpy()
    )
    table = table.assign(tradable=possible)
    table.loc[~possible, [*_CLOSES, "volume"]] = np.nan
    return table


def _adjustment(table: pd.DataFrame) -> tuple[str | None, str]:
    """Test all split days and dividends; return what is wrong, and what the splits prove."""
    close, raw, split, dividend = (
        table[[name]].to_numpy() for name in ("close", "raw_close", "split", "dividend")
    )
    proven: list[str] = []
    # Yahoo's close is adjusted for splits, its adjusted close for dividends, too.
    for prices in (raw / later_splits(split), close):
        days = list(split_days(prices, raw, split))
        for day in days:
            if day.fault:
                return (
                    f"Yahoo's closes are not adjusted for the {day.ratio:g}-for-1 split of "
                    f"{_day(table, day.row)} ({day.moved:+.1%} on that day); nothing was kept."
                ), ""
        proven = [_day(table, day.row) for day in days]
    ignored = ignored_dividends(close, raw, split, dividend)
    if ignored:
        row, _, paid = ignored[0]
        return (
            f"Yahoo's closes are not adjusted for the dividend of {_day(table, row)} "
            f"({paid:.1%} of the price); nothing was kept."
        ), ""
    return None, f"proven on {', '.join(proven[:3])}" if proven else "no split in range"


def _day(table: pd.DataFrame, row: int) -> str:
    return f"{table['date'].iloc[row]:%Y-%m-%d}"


def _cut(table: pd.DataFrame, end: date, interval: str, clock: Clock | None) -> pd.DataFrame:
    """Drop bars from ``end`` on and one still going on; restate volume without the rest."""
    dates, last = pd.DatetimeIndex(table["date"]), pd.Timestamp(end.isoformat()[:10])
    daily = dates.tz is None
    keep = np.asarray(dates < (last if daily else last.tz_localize("America/New_York")))
    if clock is not None:
        now, length = clock(), pd.Timedelta(interval)
        ends = map(session_close, dates) if daily else (bar_end(day, length) for day in dates)
        keep = keep & [closes <= now for closes in ends]
    dropped_splits = table["split"].to_numpy()[~keep].prod()
    return table[keep].assign(volume=table["volume"][keep] / dropped_splits)


def _levelled(table: pd.DataFrame) -> pd.DataFrame:
    """Set the adjusted close of the last bar to the one traded.

    Then the level of adjusted prices does not tell of dividends after the range.
    """
    priced = table[table["tradable"].to_numpy()]
    if priced.empty:
        return table
    last = priced.iloc[-1]
    return table.assign(
        **{name: table[name] * (last["raw_close"] / last["close"]) for name in _CLOSES[:-1]}
    )
