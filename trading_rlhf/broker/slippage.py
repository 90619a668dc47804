"""How far a fill lies from what the law predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

from trading_rlhf.accounting import BPS, CostModel
from trading_rlhf.broker.broker import Fill

__all__ = ["Slippage", "compare_fill"]


@dataclass(frozen=True)
class Slippage:
    """A fill against the law, in basis points of the printed price; positive is worse.

    Attributes:
        predicted_price: what the law would have filled at (USD, as traded).
        predicted_bps: half spread plus slippage of the cost model.
        realised_bps: what the fill paid beyond the printed price.
        drift_bps: realised minus predicted.
    """

    predicted_price: float
    predicted_bps: float
    realised_bps: float
    drift_bps: float


def compare_fill(fill: Fill, costs: CostModel, symbols: Sequence[str] = ()) -> Slippage:
    """Compare one fill with what the law predicts at the printed price, impact apart.

    Args:
        fill: the fill.
        costs: the cost model.
        symbols: the assets in the order of the model's rates, where it has one for each.
    """
    costs = costs.for_asset(symbols.index(fill.symbol)) if fill.symbol in symbols else costs
    sign = 1.0 if fill.side == "buy" else -1.0
    realised = sign * (fill.price / fill.reference - 1.0) / BPS
    predicted = costs.adverse / BPS
    return Slippage(
        predicted_price=fill.reference * (1.0 + sign * costs.adverse),
        predicted_bps=predicted,
        realised_bps=realised,
        drift_bps=realised - predicted,
    )
