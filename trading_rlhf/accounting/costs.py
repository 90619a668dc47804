"""What a trade and a position cost: adverse at the fill, accruing from close to close."""

import math
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from trading_rlhf.errors import AccountingError

__all__ = ["BPS", "DAYS_PER_YEAR", "CostModel", "ImpactModel", "PerAsset", "ShareCommission"]

BPS = 1e-4
DAYS_PER_YEAR = 365.0

PerAsset: TypeAlias = float | tuple[float, ...]
"""One number for all assets, or one for each in the order of the symbols."""

_TRADING = ("commission_bps", "half_spread_bps", "slippage_bps")
_PER_ASSET = (*_TRADING, "borrow_bps_per_year")
_HIGHEST_BPS = {**dict.fromkeys(_TRADING, 1e3), "borrow_bps_per_year": 1e6}


class ShareCommission(BaseModel):
    """Commission by the share, as US brokers charge it; defaults are IBKR Pro's fixed prices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_share_usd: float = Field(
        0.005, ge=0, le=100, description="USD for each share (IBKR Pro, fixed pricing)."
    )
    minimum_usd: float = Field(
        1.0, ge=0, le=1e4, description="USD at least for each order (IBKR Pro, fixed pricing)."
    )
    maximum_bps: float = Field(
        100.0,
        ge=0,
        le=1e4,
        description="Of the order's slipped value at most, before the minimum (IBKR Pro: 1%).",
    )

    def scaled(self, factor: float) -> "ShareCommission":
        """Return the commission multiplied."""
        return self.model_copy(
            update={
                "per_share_usd": self.per_share_usd * factor,
                "minimum_usd": self.minimum_usd * factor,
                "maximum_bps": self.maximum_bps * factor,
            }
        )


class ImpactModel(BaseModel):
    """Square-root impact, and the share of a bar's volume that an order may take.

    An order moves its price by ``coefficient * sigma * sqrt(traded / ADV)`` of it, with the daily
    volatility and the average daily volume in USD known at the decision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coefficient: float = Field(
        1.0,
        ge=0,
        le=1000,
        description="Y of the square-root law; of order one (Toth et al. 2011, PRX 1, 021006).",
    )
    participation: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Largest share of the volume of the bar in which an order fills; the rest "
        "expires. Between the usual 2.5% and 10%.",
    )
    lookback: int = Field(
        20, ge=2, le=2520, description="Bars of average volume and volatility; a month of sessions."
    )

    def rate(self, traded: Tensor, daily_volume: Tensor, volatility: Tensor) -> Tensor:
        """Adverse move per traded notional.

        Args:
            traded: ``[..., N]`` absolute value traded (USD).
            daily_volume: ``[..., N]`` average daily volume (USD, positive where something trades).
            volatility: ``[..., N]`` daily standard deviation of returns.

        Returns:
            ``[..., N]`` fraction of the notional; 0 where nothing is traded.
        """
        share = traded / torch.where(daily_volume > 0, daily_volume, torch.ones_like(daily_volume))
        # The root has no finite slope at zero: it is taken, and differentiated, only beyond it.
        moves = share > 0
        root = torch.where(moves, share, torch.ones_like(share)).sqrt()
        return self.coefficient * volatility * torch.where(moves, root, torch.zeros_like(root))


class CostModel(BaseModel):
    """Costs in basis points; a fill is always worse than the printed price.

    Rates marked "one or one per asset" take a number, or a list or array in the order of the
    symbols. Rules
    in USD (commission by the share, impact, whole shares) need the account's equity in USD.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    commission_bps: PerAsset = Field(
        1.0,
        description="Of the slipped notional, one or one per asset; 0.005 USD on a share of 50 USD "
        "(IBKR Pro).",
    )
    half_spread_bps: PerAsset = Field(
        1.0,
        description="Half the quoted spread, one or one per asset; the least tick of 0.01 USD on a "
        "share of 50 USD (SEC Rule 612).",
    )
    slippage_bps: PerAsset = Field(
        1.0,
        description="Adverse move beyond the spread, one or one per asset; an assumption, as much "
        "again as the half spread.",
    )
    borrow_bps_per_year: PerAsset = Field(
        50.0,
        description="Fee on the value sold short, one or one per asset; nine in ten US stocks lend "
        "below 100 (D'Avolio 2002, JFE 66).",
    )
    margin_bps_per_year: float = Field(
        600.0,
        ge=0,
        le=1e6,
        description="Interest on borrowed cash; a broker's benchmark of 4.5% plus 1.5% (IBKR Pro).",
    )
    cash_bps_per_year: float = Field(0.0, ge=0, le=1e6, description="Interest earned on free cash.")
    short_rebate_bps_per_year: float = Field(
        0.0, ge=0, le=1e6, description="Earned on short proceeds."
    )
    share_commission: ShareCommission | None = Field(
        None, description="Commission by the share in USD; replaces commission_bps."
    )
    impact: ImpactModel | None = Field(
        None, description="Square-root impact and partial fills; needs volumes."
    )
    whole_shares: bool = Field(
        False,
        description="Orders are whole shares as traded at the decision, rounded toward zero; "
        "closing a position sells all of it.",
    )
    cash_account: bool = Field(
        False,
        description="Buys are clipped to the cash there is, costs included: sells first, then buys "
        "from the smallest on (vectorbt's rule).",
    )
    delisting_haircut: float = Field(
        0.30,
        ge=0,
        le=1,
        description="Lost on the last price of a position in a delisted asset, long or short "
        "(Shumway 1997, J. Finance 52).",
    )
    delisted_after: int = Field(
        10,
        ge=1,
        le=2520,
        description="Bars without a price in a row after which an asset counts as delisted and a "
        "position in it is closed; two weeks of sessions.",
    )

    @field_validator(*_PER_ASSET, mode="before")
    @classmethod
    def _check_rates(cls, value: Any, info: Any) -> PerAsset:
        highest = _HIGHEST_BPS[info.field_name]
        if hasattr(value, "tolist"):
            # An array or a tensor, of whichever library.
            value = value.tolist()
        many = isinstance(value, list | tuple)
        try:
            given = tuple(value) if many else (value,)
            rates = () if any(isinstance(x, bool) for x in given) else tuple(map(float, given))
        except (TypeError, ValueError):
            rates = ()
        if not rates or not all(math.isfinite(x) and 0 <= x <= highest for x in rates):
            raise ValueError(
                "input should be greater than or equal to 0 and at most "
                f"{highest:g}, one number or a list of one per asset"
            )
        return rates if many else rates[0]

    @property
    def needs_equity(self) -> bool:
        """Whether a rule counts in USD, so that the account's equity must be known."""
        return bool(self.share_commission or self.impact or self.whole_shares)

    @property
    def adverse(self) -> float:
        """Half spread plus slippage, the q of the law (fraction of notional).

        Raises:
            AccountingError: assets have rates of their own; ask ``for_asset`` for one of them.
        """
        return (_one(self.half_spread_bps) + _one(self.slippage_bps)) * BPS

    @property
    def commission(self) -> float:
        """Commission (fraction of the slipped notional); 0 where it is charged by the share.

        Raises:
            AccountingError: as for ``adverse``.
        """
        return 0.0 if self.share_commission else _one(self.commission_bps) * BPS

    def for_asset(self, column: int) -> "CostModel":
        """Return the model of the asset in a column: every rate is one number."""
        rates = {name: getattr(self, name) for name in _PER_ASSET}
        return self.model_copy(
            update={k: v[column] if isinstance(v, tuple) else v for k, v in rates.items()}
        )

    def check_assets(self, n_assets: int) -> None:
        """Check that lists of rates fit.

        Raises:
            AccountingError: a list has another length than there are assets.
        """
        for name in _PER_ASSET:
            rates = getattr(self, name)
            if isinstance(rates, tuple) and len(rates) != n_assets:
                raise AccountingError(
                    f"{name} must be one number or {n_assets}, one for each asset",
                    f"{len(rates)} numbers",
                    "Give the rates in the order of the symbols.",
                )

    def adverse_rate(self, like: Tensor) -> float | Tensor:
        """Half spread plus slippage, a number or a row ``[N]`` on the device of ``like``."""
        if isinstance(self.half_spread_bps, float) and isinstance(self.slippage_bps, float):
            return (self.half_spread_bps + self.slippage_bps) * BPS
        return (_rates(self.half_spread_bps, like) + _rates(self.slippage_bps, like)) * BPS

    def rate(self, change: Tensor, impact: Tensor | float = 0.0) -> Tensor:
        """Cost per traded notional, higher for buys because commission follows the slipped price.

        Commission by the share is not in it: that is no rate.

        Args:
            change: ``[..., N]`` traded weight (fraction of equity, signed).
            impact: ``[..., N]`` impact on the price (fraction), part of q.

        Returns:
            ``[..., N]`` q + f*(1+q) for buys, q + f*(1-q) for sells (fraction of notional).
        """
        adverse = self.adverse_rate(change) + impact
        if self.share_commission is not None:
            return adverse + torch.zeros_like(change)
        commission = _rates(self.commission_bps, change) * BPS
        return adverse + commission * (1.0 + adverse * change.sign())

    def accrual(self, weights: Tensor, days: Tensor) -> Tensor:
        """Interest and borrow fees between two closes.

        Short proceeds earn the rebate and do not fund longs, so free cash is what longs leave.

        Args:
            weights: ``[..., N]`` weights held (fraction of equity).
            days: ``[...]`` or scalar, calendar days between the closes.

        Returns:
            ``[...]`` net charge (fraction of equity; negative when interest earned exceeds it).
        """
        years = days / DAYS_PER_YEAR
        short = (-weights).clamp(min=0)
        cash = 1.0 - weights.clamp(min=0).sum(-1)
        borrow, rebate = self.borrow_bps_per_year, self.short_rebate_bps_per_year
        if isinstance(borrow, float):
            lent = short.sum(-1) * (borrow - rebate)
        else:
            lent = (short * (_rates(borrow, weights) - rebate)).sum(-1)
        yearly = (
            lent
            + (-cash).clamp(min=0) * self.margin_bps_per_year
            - cash.clamp(min=0) * self.cash_bps_per_year
        )
        return yearly * BPS * years

    def scaled(self, factor: float) -> "CostModel":
        """Return the model with trading costs multiplied (for the cost curve).

        Carry, the delisting haircut and the participation cap stay.
        """
        update: dict[str, Any] = {name: _times(getattr(self, name), factor) for name in _TRADING}
        if self.share_commission is not None:
            update["share_commission"] = self.share_commission.scaled(factor)
        if self.impact is not None:
            steeper = {"coefficient": self.impact.coefficient * factor}
            update["impact"] = self.impact.model_copy(update=steeper)
        return self.model_copy(update=update)


def _one(rate: PerAsset) -> float:
    if isinstance(rate, tuple):
        raise AccountingError(
            "this needs the rate of one asset", f"{len(rate)} rates", "Use costs.for_asset(column)."
        )
    return rate


def _times(rate: PerAsset, factor: float) -> PerAsset:
    return tuple(x * factor for x in rate) if isinstance(rate, tuple) else rate * factor


def _rates(rate: PerAsset, like: Tensor) -> float | Tensor:
    """A number stays one; rates per asset become a row ``[N]`` like another tensor."""
    return _row(rate, like.dtype, like.device) if isinstance(rate, tuple) else rate


@lru_cache(maxsize=64)
def _row(rates: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(rates, dtype=dtype, device=device)
