"""What a trade and a position cost: adverse at the fill, accruing from close to close."""

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

__all__ = ["CostModel", "BPS", "DAYS_PER_YEAR"]

BPS = 1e-4
DAYS_PER_YEAR = 365.0


class CostModel(BaseModel):
    """Costs in basis points; a fill is always worse than the printed price."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commission_bps: float = Field(1.0, ge=0, le=1000, description="Of the slipped notional.")
    half_spread_bps: float = Field(1.0, ge=0, le=1000, description="Half the quoted spread.")
    slippage_bps: float = Field(1.0, ge=0, le=1000, description="Adverse move beyond the spread.")
    borrow_bps_per_year: float = Field(50.0, ge=0, description="Fee on the value sold short.")
    margin_bps_per_year: float = Field(600.0, ge=0, description="Interest on borrowed cash.")
    cash_bps_per_year: float = Field(0.0, ge=0, description="Interest earned on free cash.")
    short_rebate_bps_per_year: float = Field(0.0, ge=0, description="Earned on short proceeds.")

    @property
    def adverse(self) -> float:
        """Half spread plus slippage, the q of the law (fraction of notional)."""
        return (self.half_spread_bps + self.slippage_bps) * BPS

    def rate(self, change: Tensor) -> Tensor:
        """Cost per traded notional, higher for buys because commission follows the slipped price.

        Args:
            change: ``[..., N]`` traded weight (fraction of equity, signed).

        Returns:
            ``[..., N]`` q + f*(1+q) for buys, q + f*(1-q) for sells (fraction of notional).
        """
        commission = self.commission_bps * BPS
        return self.adverse + commission * (1.0 + self.adverse * change.sign())

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
        short = (-weights).clamp(min=0).sum(-1)
        cash = 1.0 - weights.clamp(min=0).sum(-1)
        yearly = (
            short * (self.borrow_bps_per_year - self.short_rebate_bps_per_year)
            + (-cash).clamp(min=0) * self.margin_bps_per_year
            - cash.clamp(min=0) * self.cash_bps_per_year
        )
        return yearly * BPS * years

    def scaled(self, factor: float) -> "CostModel":
        """Return the model with trading costs multiplied (for the cost curve); carry unchanged."""
        return self.model_copy(
            update={
                name: getattr(self, name) * factor
                for name in ("commission_bps", "half_spread_bps", "slippage_bps")
            }
        )
