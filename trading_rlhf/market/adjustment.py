"""Tables that bring their own adjustment: what it means, worked out or refused, never guessed."""

from typing import TypeAlias

import numpy as np

from trading_rlhf.errors import DataError
from trading_rlhf.market.actions import infer_actions, later_splits, restore_traded, split_days
from trading_rlhf.market.bars import PRICE_RANGE
from trading_rlhf.types import BoolArray, FloatArray

__all__ = ["Panels", "adjusted_panels", "split_remedy"]

Panels: TypeAlias = dict[str, FloatArray | None]
_SCALED = ("open", "high", "low", "close")


def adjusted_panels(
    panels: Panels, tradable: BoolArray, events_of_yahoo: bool
) -> tuple[Panels, tuple[str, ...]]:
    """Give the panels of a table prices adjusted for splits and dividends, and closes as traded.

    With an adjusted close beside the close, all prices are multiplied by adjusted close over
    close. With Yahoo's splits and dividends alone, closes are Yahoo's adjusted ones.
    Anything else already is as ``Bars`` wants it.

    Args:
        panels: ``[T, N]`` by column; prices in USD, None where the table has no such column.
        tradable: ``[T, N]`` where there is a bar.
        events_of_yahoo: see ``LongTable``.

    Returns:
        The panels without adj_close, and what was done in one sentence each.

    Raises:
        DataError: the meaning of the close is ambiguous.
    """
    panels = dict(panels)
    adjusted = panels.pop("adj_close", None)
    split = panels.get("split")
    if events_of_yahoo and split is not None:
        # Yahoo writes 0 where there was no split.
        panels["split"] = split = np.where(split == 0.0, 1.0, split)
    if adjusted is not None:
        return _from_two_closes(panels, adjusted, tradable, events_of_yahoo)
    events = any(
        values is not None and (values != plain).any()
        for values, plain in ((split, 1.0), (panels.get("dividend"), 0.0))
    )
    if events_of_yahoo and events and panels.get("raw_close") is None:
        return _from_yahoo(panels, tradable)
    return panels, ()


def split_remedy() -> str:
    """What to do about a split that is not worked in."""
    return "Give prices adjusted for splits and dividends, and the close as traded in raw_close."


def _from_yahoo(panels: Panels, tradable: BoolArray) -> tuple[Panels, tuple[str, ...]]:
    close, split = _array(panels, "close"), _array(panels, "split")
    dividend = panels.get("dividend")
    paid = np.zeros_like(close) if dividend is None else dividend
    raw, traded = close.copy(), paid.copy()
    for column in range(close.shape[1]):
        rows = tradable[:, column]
        raw[rows, column], traded[rows, column] = restore_traded(
            close[rows, column], split[rows, column], paid[rows, column]
        )
    note = (
        "Prices were taken as adjusted for splits and dividends (yfinance's auto_adjust); the "
        "close as traded was restored from the splits and dividends."
    )
    return panels | {"raw_close": raw, "split": split, "dividend": traded}, (note,)


def _from_two_closes(
    panels: Panels, adjusted: FloatArray, tradable: BoolArray, events_of_yahoo: bool
) -> tuple[Panels, tuple[str, ...]]:
    close = _array(panels, "close")
    if panels.get("raw_close") is not None:
        raise DataError(
            "a table has either raw_close and close or close and adj close",
            "all three",
            "Drop raw_close, or drop adj close if close is adjusted.",
        )
    for name, prices in (("adj close", adjusted), ("close", close)):
        if not ((prices >= PRICE_RANGE[0]) & (prices <= PRICE_RANGE[1]))[tradable].all():
            raise DataError(
                f"{name} must be a positive price wherever there is a bar",
                "a missing, zero, negative or impossible one",
                f"Correct the {name}, or drop the adj close.",
            )
    given = panels.get("split")
    split, dividend = np.ones_like(close), np.zeros_like(close)
    raw, factor = close.copy(), np.full_like(close, np.nan)
    of_today = given is not None and _in_shares_of_the_last_day(close, given, events_of_yahoo)
    for column in range(close.shape[1]):
        rows = tradable[:, column]
        if not rows.any():
            continue
        here, there = close[rows, column], adjusted[rows, column]
        split[rows, column], dividend[rows, column] = infer_actions(here, there, _decimals(there))
        # The level must not tell of dividends after the last bar.
        factor[rows, column] = there / here * (here[-1] / there[-1])
    later = later_splits(split if given is None else given)
    paid = panels.get("dividend")
    out = dict(panels)
    if of_today:
        raw, paid = close * later, None if paid is None else paid * later
    elif panels.get("volume") is not None:
        out["volume"] = _array(panels, "volume") * later
    for name in _SCALED:
        if panels.get(name) is not None:
            out[name] = _array(panels, name) * factor
    out |= {"raw_close": raw, "split": split if given is None else given}
    # Inferred dividends of closes in shares of the last day are so, too.
    out["dividend"] = paid if paid is not None else dividend * (later if of_today else 1.0)
    return out, (_note(of_today, given is not None, split),)


def _note(of_today: bool, given: bool, split: FloatArray) -> str:
    found = int((split != 1.0).sum())
    where = "taken from the table" if given else f"read from the steps of the ratio ({found})"
    traded = "Close times later splits" if of_today else "Close"
    return (
        "Close and Adj Close: prices were multiplied by Adj Close / Close; the close as traded is "
        f"{traded}, and splits were {where}."
    )


def _in_shares_of_the_last_day(close: FloatArray, split: FloatArray, unless: bool) -> bool:
    """Whether the close beside an adjusted one already has its splits worked in, as Yahoo's has.

    Where no split is large enough to tell, the answer is ``unless``.
    """
    raw = close * later_splits(split)
    judged = [day.fault == "" for day in split_days(close, raw, split)]
    if any(judged) and not all(judged):
        raise DataError(
            "close must be as traded or adjusted for splits throughout",
            f"{sum(judged)} of {len(judged)} splits worked in",
            split_remedy(),
        )
    return any(judged) if judged else unless


def _decimals(adjusted: FloatArray) -> int:
    """Digits after the point of an adjusted close, six at most."""
    for digits in range(2, 6):
        if np.array_equal(np.round(adjusted, digits), adjusted):
            return digits
    return 6


def _array(panels: Panels, name: str) -> FloatArray:
    values = panels.get(name)
    return np.ones_like(_array(panels, "close")) if values is None else values
