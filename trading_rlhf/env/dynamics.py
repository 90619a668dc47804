"""The simulated market as pure functions: what every environment, backtest and trainer steps."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import (
    CostModel,
    FillBar,
    fill,
    limit_orders,
    mark,
    size_at_fill,
    whole_orders,
)
from trading_rlhf.env.liquidity import Liquidity
from trading_rlhf.errors import AccountingError, DataError
from trading_rlhf.market import Bars, carry_forward
from trading_rlhf.types import BoolArray, FloatArray

__all__ = [
    "Ledger",
    "MarketTensors",
    "Session",
    "advance",
    "advance_to_weights",
    "fill_bar",
    "trade_session",
]

Ledger = Literal["adjusted", "raw"]
"""Whether returns are adjusted for dividends, or prices are as traded and dividends are cash."""


@dataclass(frozen=True)
class MarketTensors:
    """A market on a device: exogenous, shared by all episodes.

    Attributes:
        features: ``[T, N, F]`` float32, known at the close of t.
        overnight: ``[T, N]`` fill price of t over close of t-1, minus one (0 at t = 0).
        intraday: ``[T, N]`` close of t over fill price of t, minus one (0 for close-only bars).
        fillable: ``[T, N]`` whether an order can fill at t.
        days: ``[T]`` calendar days since the previous close.
        listed: ``[T, N]`` bool, whether a price is known at the close of t, so that an order can be
            sized; None where all are.
        delisted: ``[T, N]`` bool, whether a position is closed at t at its last price less the
            haircut; None where nothing is.
        cost_scale: ``[T]`` multiplies what trades cost in session t; None leaves it.
        dividends: ``[T, N]`` cash paid before the fill of t, as a fraction of the close of t-1;
            None where returns include it.
        liquidity: prices in USD and volumes; None where no rule counts in USD.
    """

    features: Tensor
    overnight: Tensor
    intraday: Tensor
    fillable: Tensor
    days: Tensor
    listed: Tensor | None = None
    delisted: Tensor | None = None
    cost_scale: Tensor | None = None
    dividends: Tensor | None = None
    liquidity: Liquidity | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return int(self.overnight.shape[0]), int(self.overnight.shape[1])

    @cached_property
    def delists(self) -> bool:
        """Whether any asset is delisted at all."""
        return self.delisted is not None and bool(self.delisted.any())

    @classmethod
    def from_bars(
        cls,
        bars: Bars,
        features: np.ndarray,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
        *,
        ledger: Ledger = "adjusted",
        delisted_after: int = 10,
        liquidity: bool = False,
        lookback: int = 20,
    ) -> "MarketTensors":
        """Build from bars and features ``[T, N, F]``.

        A missing bar keeps the last price, moves nothing and fills nothing. On the raw ledger
        splits change share counts, and dividends are cash on their ex date: longs receive it,
        shorts pay it.

        Args:
            bars: prices.
            features: known at the close of each bar.
            device: torch device.
            dtype: precision of money.
            ledger: "adjusted" earns dividends in the returns, "raw" pays them in cash.
            delisted_after: bars without a price in a row after which a position is closed.
            liquidity: build what the USD rules need.
            lookback: bars of average volume and volatility, as in ``ImpactModel``.

        Raises:
            DataError: features do not cover the bars or are not finite.
        """
        covers = features.ndim == 3 and features.shape[:2] == bars.shape
        if not covers or not np.isfinite(features).all():
            raise DataError(
                f"features must be finite and of shape [T, N, F] with T, N = {bars.shape}",
                f"shape {features.shape}",
                "Compute them from these bars with compute_features.",
            )
        price, close, before = _ledger_prices(bars, ledger)
        times = bars.dates.tz_localize(None).to_numpy()
        days = np.diff(times, prepend=times[:1]) / np.timedelta64(1, "D")

        def money(values: FloatArray) -> Tensor:
            return torch.as_tensor(values, dtype=dtype, device=device)

        return cls(
            features=torch.tensor(features, dtype=torch.float32, device=device),
            overnight=money(_relative(price, before)),
            intraday=money(_relative(close, price)),
            fillable=torch.as_tensor(bars.fillable & np.isfinite(before), device=device),
            days=money(days),
            listed=torch.as_tensor(np.isfinite(close), device=device),
            delisted=torch.as_tensor(_delisted(bars.tradable, delisted_after), device=device),
            dividends=money(_dividends(bars, before)) if ledger == "raw" else None,
            liquidity=Liquidity.from_bars(bars, lookback, device, dtype) if liquidity else None,
        )

    @classmethod
    def for_costs(
        cls,
        bars: Bars,
        features: np.ndarray,
        costs: CostModel,
        device: str = "cpu",
        dtype: torch.dtype = torch.float64,
        *,
        ledger: Ledger = "adjusted",
    ) -> "MarketTensors":
        """Build with everything that a cost model needs, and check that the model fits.

        Raises:
            AccountingError: rates are given for another number of assets.
            DataError: as ``from_bars``, or the model needs volumes that the bars lack.
        """
        costs.check_assets(bars.shape[1])
        if costs.impact is not None and bars.volume is None:
            raise DataError(
                "impact and participation need volumes", "bars without", "Use data with volumes."
            )
        lookback = {} if costs.impact is None else {"lookback": costs.impact.lookback}
        return cls.from_bars(
            bars, features, device, dtype, ledger=ledger, liquidity=costs.needs_equity,
            delisted_after=costs.delisted_after, **lookback,
        )  # fmt: skip

    def to(self, dtype: torch.dtype) -> "MarketTensors":
        """Return the same market with prices in another precision (features stay float32)."""
        money = {"overnight", "intraday", "days", "cost_scale", "dividends", "liquidity"}
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name in money}
        return replace(self, **{k: v.to(dtype) for k, v in given.items() if v is not None})


def _ledger_prices(bars: Bars, ledger: Ledger) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fill price, close and close before ``[T, N]``, comparable over time."""
    price, close = bars.fill_price, bars.close
    if ledger == "raw":
        # In shares of the first bar, so that a split moves no price.
        shares = np.cumprod(bars.split, axis=0)
        price, close = price * bars.raw_close / close * shares, bars.raw_close * shares
    close = carry_forward(np.where(bars.tradable, close, np.nan))
    return np.where(bars.tradable, price, close), close, np.vstack([close[:1], close[:-1]])


def _dividends(bars: Bars, before: FloatArray) -> FloatArray:
    """Dividends over the close before; both in shares of the first bar."""
    paid = bars.dividend * np.cumprod(bars.split, axis=0)
    known = np.isfinite(before)
    return np.divide(paid, before, out=np.zeros(bars.shape), where=known)


def _delisted(tradable: BoolArray, after: int) -> BoolArray:
    """Whether an asset that was listed has had no bar for ``after`` bars in a row."""
    rows = np.arange(len(tradable))[:, None]
    last = np.maximum.accumulate(np.where(tradable, rows, -1), axis=0)
    return np.asarray((last >= 0) & (rows - last >= after))


def _relative(later: FloatArray, earlier: FloatArray) -> FloatArray:
    """Price relative minus one; 0 where either price is unknown."""
    known = np.isfinite(later) & np.isfinite(earlier)
    return np.where(known, np.divide(later, earlier, where=known, out=np.ones_like(later)) - 1, 0.0)


@dataclass(frozen=True)
class Session:
    """What one session did to accounts.

    Attributes:
        held: ``[..., N]`` weights at its close (fraction of equity).
        growth: ``[...]`` equity at its close over equity at the close before.
        before: ``[..., N]`` weights just before the fill, delisted positions gone (fraction of
            equity at the fill).
        after: ``[..., N]`` weights that were reached, before costs (same unit).
        cost: ``[...]`` what trades and delistings cost (fraction of equity at the fill).
        carry: ``[...]`` interest and fees less dividends (fraction of equity at the close before).
        overnight: ``[...]`` equity at the fill over equity at the close before.
    """

    held: Tensor
    growth: Tensor
    before: Tensor
    after: Tensor
    cost: Tensor
    carry: Tensor
    overnight: Tensor

    @property
    def filled(self) -> Tensor:
        """``[..., N]`` what was filled (fraction of equity at the fill, signed)."""
        return self.after - self.before


def advance(
    market: MarketTensors,
    t: Tensor,
    held: Tensor,
    change: Tensor,
    costs: CostModel,
    equity: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Move accounts from the close of t to the close of t+1, filling settled orders on the way.

    Args:
        market: the market.
        t: ``[B]`` (or scalar) bar of the decision.
        held: ``[..., B, N]`` weights at the close of t (fraction of equity).
        change: ``[..., B, N]`` orders sized at that close (fraction of equity, signed).
        costs: the cost model.
        equity: ``[..., B]`` equity at the close of t (USD); for rules in USD.

    Returns:
        Weights ``[..., B, N]`` at the close of t+1 and growth ``[..., B]`` of equity since t.

    Raises:
        AccountingError: the cost model needs equity, prices or volumes that are missing.
    """
    session = trade_session(market, t, held, costs, change=change, equity=equity)
    return session.held, session.growth


def advance_to_weights(
    market: MarketTensors,
    t: Tensor,
    held: Tensor,
    target: Tensor,
    costs: CostModel,
    equity: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Like ``advance``, but orders reach target weights of the equity at the fill.

    Kept for parity with engines whose targets are a percentage at the fill. NaN holds.

    Args:
        market: the market.
        t: ``[B]`` (or scalar) bar of the decision.
        held: ``[..., B, N]`` weights at the close of t (fraction of equity).
        target: ``[..., B, N]`` weights wanted at the fill (fraction of equity), NaN = hold.
        costs: the cost model.
        equity: ``[..., B]`` equity at the close of t (USD); for rules in USD.

    Returns:
        As ``advance``.
    """
    session = trade_session(market, t, held, costs, target=target, equity=equity)
    return session.held, session.growth


def trade_session(
    market: MarketTensors,
    t: Tensor,
    held: Tensor,
    costs: CostModel,
    *,
    change: Tensor | None = None,
    target: Tensor | None = None,
    equity: Tensor | None = None,
) -> Session:
    """Trade the session after the close of t: ``advance`` with what happened on the way.

    Arguments and errors are those of ``advance`` (``change``) or ``advance_to_weights``
    (``target``).
    """
    now = t + 1
    overnight = market.overnight[now]
    carry = costs.accrual(held, market.days[now])
    if market.dividends is not None:
        carry = carry - (held * market.dividends[now]).sum(-1)
    at_fill, night = mark(held, carry, overnight)
    bar = fill_bar(market, t, costs, equity, night) if costs.needs_equity else None
    if target is not None:
        wanted = _sized_at_fill(target, at_fill, night, costs, bar)
    elif change is not None:
        if costs.whole_shares and market.liquidity is not None and equity is not None:
            change = whole_orders(change, held, equity, market.liquidity.close[t])
        wanted = size_at_fill(change, at_fill, 1.0 + overnight, night)
    else:
        raise ValueError("either change or target")
    wanted = torch.where(market.fillable[now], wanted, at_fill)
    lost = None
    if market.delists and market.delisted is not None:
        gone = market.delisted[now]
        lost = (at_fill.abs() * gone).sum(-1) * costs.delisting_haircut
        at_fill, wanted = torch.where(gone, 0.0, at_fill), torch.where(gone, 0.0, wanted)
    scale = 1.0 if market.cost_scale is None else market.cost_scale[now]
    if costs.cash_account or costs.impact is not None:
        cash = 1.0 - at_fill.sum(-1) - (0.0 if lost is None else lost)
        wanted = limit_orders(at_fill, wanted, costs, bar, cash, scale)
    cost = fill(at_fill, wanted, costs, bar)
    if market.cost_scale is not None:
        cost = cost * scale
    if lost is not None:
        cost = cost + lost
    weights, day = mark(wanted, cost, market.intraday[now])
    return Session(weights, night * day, at_fill, wanted, cost, carry, night)


def _sized_at_fill(
    target: Tensor, at_fill: Tensor, night: Tensor, costs: CostModel, bar: FillBar | None
) -> Tensor:
    """Weights that targets of the equity at the fill lead to; NaN and ruin hold."""
    wanted = torch.where(target.isnan() | (night <= 0).unsqueeze(-1), at_fill, target)
    if costs.whole_shares and bar is not None:
        return at_fill + whole_orders(wanted - at_fill, at_fill, bar.equity, bar.price)
    return wanted


def fill_bar(
    market: MarketTensors, t: Tensor, costs: CostModel, equity: Tensor | None, night: Tensor
) -> FillBar:
    """The bar after t for the USD rules: its own price and volume, averages known at t."""
    known = market.liquidity
    if equity is None or known is None:
        raise AccountingError(
            "commission by the share, impact and whole shares need equity and prices in USD",
            "no equity" if equity is None else "a market without liquidity",
            "Pass equity, and build the market with liquidity=True.",
        )
    if costs.impact is not None and (
        not known.has_volume or known.lookback != costs.impact.lookback
    ):
        raise AccountingError(
            f"impact needs volumes averaged over {costs.impact.lookback} bars",
            f"{known.lookback} bars" if known.has_volume else "bars without volumes",
            "Build the market with MarketTensors.for_costs.",
        )
    return FillBar(
        equity * night,
        known.fill_price[t + 1],
        known.volume[t + 1],
        known.daily_volume[t],
        known.volatility[t],
    )
