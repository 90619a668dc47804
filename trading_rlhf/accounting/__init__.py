"""The law of money: fills, marks, costs and measures; pure torch."""

from trading_rlhf.accounting.costs import BPS, DAYS_PER_YEAR, CostModel
from trading_rlhf.accounting.law import fill, mark, settle, size_at_fill
from trading_rlhf.accounting.measures import (
    BARS_PER_YEAR,
    annual_return,
    annual_volatility,
    max_drawdown,
    sharpe_ratio,
)

__all__ = [
    "BARS_PER_YEAR",
    "BPS",
    "DAYS_PER_YEAR",
    "CostModel",
    "annual_return",
    "annual_volatility",
    "fill",
    "mark",
    "max_drawdown",
    "settle",
    "sharpe_ratio",
    "size_at_fill",
]
