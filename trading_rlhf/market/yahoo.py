"""Bars from Yahoo Finance through yfinance, with the fate of every symbol told.

``yfinance.download`` hides errors in empty frames, so each symbol is fetched by ``Ticker.history``
with exceptions on, and repeated with growing pauses where a fault may pass.
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
from trading_rlhf.market.actions import later_splits
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.clock import session_close
from trading_rlhf.market.tables import bars_from_table
from trading_rlhf.types import Clock, Progress

__all__ = ["FetchResult", "SymbolFetch", "fetch_bars", "INTERVALS"]

INTERVALS: Final = ("1d", "1h", "30m", "15m", "5m", "1m")

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0
_UNKNOWN = "Yahoo knows no such symbol; check its spelling."
_PRICES = ("Open", "High", "Low", "Close")


@dataclass(frozen=True)
class SymbolFetch:
    """What became of one symbol.

    Attributes:
        symbol: as asked for, in upper case.
        n_bars: bars received and kept.
        attempts: requests made, the last one included.
        left_out: bars that were impossible or incomplete and count as missing ("2020-01-02").
        error: why there are no bars, in one sentence; None when there are.
    """

    symbol: str
    n_bars: int
    attempts: int
    left_out: tuple[str, ...]
    error: str | None


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
    patience = attempts
    for i, name in enumerate(names):
        frame, error, tries = _patiently(name, start, interval, patience, sleep, generator)
        if frame is None:
            patience = 1 if tries == attempts else patience
            fetched.append(SymbolFetch(name, 0, tries, (), error))
        else:
            patience = attempts
            table, left_out = _checked(_cut(_long_table(name, frame, interval), end, clock))
            n_bars = int(table["tradable"].sum())
            error = None if n_bars else "Yahoo has no usable prices in this range."
            fetched.append(SymbolFetch(name, n_bars, tries, left_out, error))
            tables += [table] if n_bars else []
        if progress is not None:
            progress("fetch", i + 1, len(names))
    return FetchResult(bars_from_table(pd.concat(tables)) if tables else None, tuple(fetched))


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
) -> tuple[pd.DataFrame | None, str | None, int]:
    """Fetch one symbol; pause and repeat where the fault may pass."""
    for attempt in range(1, attempts + 1):
        frame, error, may_pass = _once(name, start, interval)
        if error is None or not may_pass or attempt == attempts:
            break
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
        sleep(pause * (1.0 if generator is None else float(generator.uniform(0.5, 1.0))))
    return frame, error, attempt


def _once(name: str, start: date, interval: str) -> tuple[pd.DataFrame | None, str | None, bool]:
    """Return the frame, or the reason there is none and whether it may pass."""
    import yfinance
    from yfinance import exceptions
    from yfinance.data import YfData

    # Answers are cached in the process, faults included; a repeat would get the same fault.
    YfData.cache_get.cache_clear()
    try:
        with _exceptions_shown(yfinance), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = yfinance.Ticker(name).history(
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
    return frame, None, False


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
    factor = frame["Adj Close"] / frame["Close"]
    split = frame["Stock Splits"].replace(0.0, 1.0).to_numpy(dtype=np.float64)
    later = later_splits(split)
    return pd.DataFrame(
        {
            "date": index.tz_localize(None) if interval == "1d" else index.tz_convert("UTC"),
            "symbol": name,
            **{price.lower(): (frame[price] * factor).to_numpy() for price in _PRICES},
            "volume": frame["Volume"].to_numpy(dtype=np.float64),
            "raw_close": frame["Close"].to_numpy() * later,
            "split": split,
            "dividend": frame["Dividends"].to_numpy() * later,
        }
    )


def _cut(table: pd.DataFrame, end: date, clock: Clock | None) -> pd.DataFrame:
    """Drop bars from ``end`` on and a session still going on; restate volume without the rest."""
    last, daily = pd.Timestamp(end.isoformat()[:10]), table["date"].dt.tz is None
    keep = (table["date"] < (last if daily else last.tz_localize("America/New_York"))).to_numpy()
    if clock is not None and daily:
        keep = keep & [session_close(day) <= clock() for day in table["date"]]
    dropped_splits = table["split"].to_numpy()[~keep].prod()
    return table[keep].assign(volume=table["volume"][keep] / dropped_splits)


def _checked(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Mark bars that are incomplete or contradict themselves as missing; set the level of the rest.

    The adjusted close of the last bar becomes the one traded, so that the level of adjusted prices
    does not tell of dividends after the range.
    """
    prices = [*(price.lower() for price in _PRICES), "raw_close"]
    values, body = table[prices].to_numpy(), table[["open", "close"]].to_numpy()
    possible = (
        (np.isfinite(values) & (values > 0.0)).all(axis=1)
        & (body <= table[["high"]].to_numpy() * (1.0 + 1e-9)).all(axis=1)
        & (body >= table[["low"]].to_numpy() * (1.0 - 1e-9)).all(axis=1)
        & (table["volume"] >= 0.0).to_numpy()
    )
    table = table.assign(tradable=possible)
    left_out = tuple(str(day).removesuffix(" 00:00:00") for day in table["date"][~possible])
    table.loc[~possible, [*prices, "volume"]] = np.nan
    if possible.any():
        last = table[possible].iloc[-1]
        table[prices[:-1]] *= last["raw_close"] / last["close"]
    return table, left_out
