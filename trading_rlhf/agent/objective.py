"""The profit objective: log growth minus a variance term."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["ProfitReward"]


@dataclass(frozen=True)
class ProfitReward:
    """Log growth less half the risk aversion times its square (mean-variance per step).

    Attributes:
        risk_aversion: weight of the squared log growth (1 / fraction).
    """

    risk_aversion: float

    def __call__(self, log_growth: Tensor, change: Tensor, approval: Tensor | None) -> Tensor:
        """Return ``[..., B]``; change and approval do not enter."""
        del change, approval
        return log_growth - 0.5 * self.risk_aversion * log_growth.square()
