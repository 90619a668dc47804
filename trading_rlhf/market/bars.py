"""A frozen panel of price bars that checks itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.axes import YEARS, checked_dates, checked_symbols, day_of
from trading_rlhf.types import BoolArray, FloatArray

__all__ = [
    "Bars",
    "PriceHistory",
    "ARRAY_NAMES",
    "PRICE_NAMES",
    "PRICE_RANGE",
    "SESSIONS_PER_YEAR",
    "YEARS",
]

PRICE_NAMES: Final = ("open", "high", "low", "close")
ARRAY_NAMES: Final = (*PRICE_NAMES, "volume", "raw_close", "split", "dividend", "tradable")
SESSIONS_PER_YEAR: Final = 252.0
PRICE_RANGE: Final = (1e-9, 1e12)
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class PriceHistory:
    """One asset's bars up to t, as a reader at t knew them.

    Attributes:
        dates: ``[K]`` dates of the bars, the last is t.
        open: ``[K]`` USD, adjusted only for splits up to t; None where the data has none.
        high: as ``open``.
        low: as ``open``.
        close: ``[K]`` USD; the last one is the close as traded.
        volume: ``[K]`` shares, in shares of t; None where the data has none.
        bars_per_year: bars in a year.
    """

    dates: pd.DatetimeIndex
    open: FloatArray | None
    high: FloatArray | None
    low: FloatArray | None
    close: FloatArray
    volume: FloatArray | None
    bars_per_year: float


@dataclass(frozen=True, eq=False, init=False)
class Bars:
    """Open, high, low, close and volume of N assets over T bars, with splits and dividends.

    Arrays are float64 ``[T, N]`` and read-only. Returns and features come from the adjusted prices;
    charts, share counts and order prices come from ``known_at``.

    Attributes:
        dates: ``[T]`` session dates without time zone, or UTC times for bars within a day.
        symbols: N unique names.
        open: USD, adjusted for splits and dividends; None for close-only data.
        high: as ``open``.
        low: as ``open``.
        close: USD, adjusted for splits and dividends.
        volume: shares, adjusted for the splits of this panel; None where unknown.
        raw_close: USD as traded; the close where it was not given.
        split: new shares per old share on the first session with the new price; 1 where none.
        dividend: USD per share as traded, on the ex date; 0 where none.
        tradable: False where there was no bar; only there may prices be missing (NaN).
    """

    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    open: FloatArray | None
    high: FloatArray | None
    low: FloatArray | None
    close: FloatArray
    volume: FloatArray | None
    raw_close: FloatArray
    split: FloatArray
    dividend: FloatArray
    tradable: BoolArray

    def __init__(
        self,
        dates: pd.DatetimeIndex | Sequence[str],
        symbols: Sequence[str],
        open: npt.ArrayLike | None,
        high: npt.ArrayLike | None,
        low: npt.ArrayLike | None,
        close: npt.ArrayLike,
        volume: npt.ArrayLike | None,
        raw_close: npt.ArrayLike | None = None,
        split: npt.ArrayLike | None = None,
        dividend: npt.ArrayLike | None = None,
        tradable: npt.ArrayLike | None = None,
    ) -> None:
        """Copy, freeze and check.

        Raises:
            DataError: unsorted or repeated dates, repeated symbols, wrong shapes, a price that is
                missing or not positive, a high below a low, a negative volume, split or dividend.
        """
        index, names = checked_dates(dates), checked_symbols(symbols)
        shape = (len(index), len(names))
        given = {
            "open": open,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "raw_close": close if raw_close is None else raw_close,
            "split": np.ones(shape) if split is None else split,
            "dividend": np.zeros(shape) if dividend is None else dividend,
        }
        flags = _flags(np.ones(shape, bool) if tradable is None else tradable, shape)
        object.__setattr__(self, "dates", index)
        object.__setattr__(self, "symbols", names)
        for name, values in given.items():
            array = None if values is None else _numbers(name, values, shape)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "tradable", flags)
        self._check_prices()
        self._check_order()
        self._check_volume_and_actions(raw_given=raw_close is not None)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bars T and of assets N."""
        return len(self.dates), len(self.symbols)

    @property
    def has_open(self) -> bool:
        """Whether orders can fill at the open; close-only data fills at the close."""
        return self.open is not None

    @property
    def fill_price(self) -> FloatArray:
        """``[T, N]`` the price at which orders fill (USD, adjusted): the open, else the close."""
        return self.close if self.open is None else self.open

    @property
    def fillable(self) -> BoolArray:
        """``[T, N]`` whether an order can fill: there is a bar and its volume is not zero."""
        if self.volume is None:
            return self.tradable
        return np.asarray(self.tradable & (self.volume != 0.0))

    @cached_property
    def bars_per_year(self) -> float:
        """252 for daily bars; within a day 252 times the median number of bars per session."""
        if self.dates.tz is None:
            return SESSIONS_PER_YEAR
        sessions = self.dates.tz_convert("America/New_York").normalize().asi8
        return SESSIONS_PER_YEAR * float(np.median(np.unique(sessions, return_counts=True)[1]))

    @cached_property
    def interval(self) -> pd.Timedelta:
        """How long a bar lasts: a day, or the most common distance of bars within a day."""
        steps = np.diff(self.dates.asi8)
        if self.dates.tz is None or not steps.size:
            return pd.Timedelta(days=1)
        lengths, counts = np.unique(steps, return_counts=True)
        return pd.Timedelta(int(lengths[counts.argmax()]), unit="us")

    @cached_property
    def lifetimes(self) -> npt.NDArray[np.intp]:
        """``[N, 2]`` first and last tradable row of each asset; 0 and -1 where it never traded."""
        ever = self.tradable.any(axis=0)
        first = self.tradable.argmax(axis=0)
        last = len(self.dates) - 1 - self.tradable[::-1].argmax(axis=0)
        rows = np.stack([first, np.where(ever, last, -1)], axis=1)
        rows.setflags(write=False)
        return rows

    @cached_property
    def sha256(self) -> str:
        """Hex hash of dates, symbols and all arrays: equal content, equal hash."""
        digest = hashlib.sha256()
        for text in (str(self.dates.tz), *self.symbols):
            digest.update(f"{len(text)}:{text}".encode())
        digest.update(self.dates.as_unit("us").asi8.astype("<i8").tobytes())
        for name in ARRAY_NAMES:
            array = getattr(self, name)
            digest.update(f"{name}{'' if array is None else array.shape}".encode())
            if array is not None:
                digest.update(array.astype("<f8").tobytes())
        return digest.hexdigest()

    def window(self, start: int, stop: int) -> "Bars":
        """Return bars ``start`` to ``stop - 1``; volume is restated without later splits.

        Raises:
            DataError: the range is empty or reaches beyond the bars.
        """
        if not 0 <= start < stop <= len(self.dates):
            raise DataError(
                f"a window must satisfy 0 <= start < stop <= {len(self.dates)}",
                f"start {start}, stop {stop}",
                "Choose a range within the bars.",
            )
        cut: dict[str, Any] = {
            name: None if (array := getattr(self, name)) is None else array[start:stop]
            for name in ARRAY_NAMES
        }
        if self.volume is not None:
            cut["volume"] = self.volume[start:stop] / self.split[stop:].prod(axis=0)
        return Bars(self.dates[start:stop], self.symbols, **cut)

    def known_at(self, t: int, symbol_index: int, lookback: int) -> PriceHistory:
        """Return at most ``lookback`` bars of one asset as they were known at the close of t.

        Prices are adjusted only for splits up to t, so that the last close is the one traded; fully
        adjusted levels would tell of later dividends and splits. Bars without a price are left out.

        Raises:
            DataError: t or the symbol index is outside the bars, or lookback is not positive.
        """
        bars, assets = self.shape
        if not (0 <= t < bars and 0 <= symbol_index < assets and lookback > 0):
            raise DataError(
                f"t must lie in 0..{bars - 1}, the symbol in 0..{assets - 1}, lookback above 0",
                f"t {t}, symbol {symbol_index}, lookback {lookback}",
                "Choose a bar and symbol of these bars.",
            )
        span, column = slice(max(0, t - lookback + 1), t + 1), symbol_index
        present = np.isfinite(self.close[span, column])
        split = self.split[span, column]
        splits_until_t = np.append(np.cumprod(split[:0:-1])[::-1], 1.0)
        known = (self.raw_close[span, column] / splits_until_t)[present]
        ratio = known / self.close[span, column][present]

        def restated(prices: FloatArray | None) -> FloatArray | None:
            return None if prices is None else _frozen(prices[span, column][present] * ratio)

        volume = None
        if self.volume is not None:
            later = self.split[t + 1 :, column].prod()
            volume = _frozen(self.volume[span, column][present] / later)
        return PriceHistory(
            dates=self.dates[span][present],
            open=restated(self.open),
            high=restated(self.high),
            low=restated(self.low),
            close=_frozen(known),
            volume=volume,
            bars_per_year=self.bars_per_year,
        )

    def _check_prices(self) -> None:
        for name in (*PRICE_NAMES, "raw_close"):
            prices = getattr(self, name)
            if prices is None:
                continue
            missing = np.isnan(prices)
            self._reject(
                missing & self.tradable,
                f"{name} must be a price wherever the asset is tradable",
                prices,
                "Fill in the price, or leave the bar out (tradable False).",
            )
            self._reject(
                ~missing & ~((prices >= PRICE_RANGE[0]) & (prices <= PRICE_RANGE[1])),
                f"{name} must be positive and finite, 1e-9 to 1e12",
                prices,
                "Correct the price or leave the bar out.",
            )

    def _check_order(self) -> None:
        high = np.inf if self.high is None else self.high
        low = 0.0 if self.low is None else self.low
        remedy = "Correct the bar or leave it out."
        if self.high is not None and self.low is not None:
            bad = self.high < self.low * (1.0 - _TOLERANCE)
            self._reject(bad, "high must not be below low", self.high, remedy)
        for name in ("open", "close"):
            prices = getattr(self, name)
            if prices is None:
                continue
            bad = (prices > high * (1.0 + _TOLERANCE)) | (prices < low * (1.0 - _TOLERANCE))
            self._reject(bad, f"{name} must lie between low and high", prices, remedy)

    def _check_volume_and_actions(self, raw_given: bool) -> None:
        if self.volume is not None:
            unknown = np.isnan(self.volume)
            self._reject(
                (unknown & self.tradable) | ~(unknown | (self.volume >= 0.0)),
                "volume must be zero or more",
                self.volume,
                "Correct the volume or leave the bar out.",
            )
            self._reject(
                self.volume > 1e18,
                "volume must be finite, 1e18 at most",
                self.volume,
                "Correct it.",
            )
        self._reject(
            ~((self.split >= 1e-6) & (self.split <= 1e6)),
            "split must be positive, 1e-6 to 1e6",
            self.split,
            "Write 1 where there was none and 2 for two new shares per old one.",
        )
        self._reject(
            ~((self.dividend >= 0.0) & (self.dividend <= PRICE_RANGE[1])),
            "dividend must be zero or more, 1e12 at most",
            self.dividend,
            "Write 0 where there was none.",
        )
        if not raw_given:
            self._reject(
                self.split != 1.0,
                "bars with splits must come with the close as traded",
                self.split,
                "Pass raw_close.",
            )

    def _reject(self, bad: BoolArray, must: str, values: FloatArray, remedy: str) -> None:
        """Raise a DataError that names the first bad cell."""
        if not bad.any():
            return
        row, column = (int(i) for i in np.argwhere(bad)[0])
        where = f"{self.symbols[column]} on {day_of(self.dates[row])}"
        raise DataError(must, f"{values[row, column]:g} for {where}", remedy)


def _numbers(name: str, values: npt.ArrayLike, shape: tuple[int, int]) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64, order="C")
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} must hold numbers", str(error), "Convert it to float.") from None
    if array.shape != shape:
        raise DataError(f"{name} must have the shape {shape}", str(array.shape), "Pass [T, N].")
    # One bit pattern for NaN and zero, so that equal content has an equal hash.
    array[np.isnan(array)] = np.nan
    array += 0.0
    return _frozen(array)


def _flags(values: npt.ArrayLike, shape: tuple[int, int]) -> BoolArray:
    array = np.array(values)
    if array.dtype != np.bool_ or array.shape != shape:
        raise DataError(
            f"tradable must be true or false in the shape {shape}",
            f"{array.dtype} in {array.shape}",
            "Pass a boolean [T, N].",
        )
    array.setflags(write=False)
    return array


def _frozen(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array
