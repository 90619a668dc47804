"""Is a Sharpe ratio luck? Probabilistic and deflated Sharpe ratios over counted trials."""

import math

import numpy as np

from trading_rlhf.accounting import BARS_PER_YEAR
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["sharpe_significance", "sharpe_standard_error"]


def sharpe_standard_error(sharpe: float, n_bars: int) -> float:
    """Standard error of a yearly Sharpe ratio of independent returns (Lo 2002, eq. 9)."""
    per_bar = sharpe / math.sqrt(BARS_PER_YEAR)
    return math.sqrt((1 + 0.5 * per_bar**2) / n_bars) * math.sqrt(BARS_PER_YEAR)


def sharpe_significance(returns: FloatArray, trial_sharpes: list[float]) -> JsonDict:
    """Probability that the true Sharpe ratio is positive, and that it beats the luck of trying.

    Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier", and (2014), "The
    deflated Sharpe ratio", through skfolio.

    Args:
        returns: ``[T]`` per-bar returns.
        trial_sharpes: per-bar Sharpe ratios of every trial counted, this one included.

    Returns:
        ``psr`` and ``dsr`` in 0..1 (None where returns do not move or fewer than two trials),
        and ``trials``.
    """
    # skfolio takes a second to load, which every command would pay.
    from skfolio.measures import deflated_sharpe_ratio, probabilistic_sharpe_ratio

    moved = float(np.std(returns)) > 0
    psr = float(probabilistic_sharpe_ratio(returns)) if moved else None
    dsr = None
    if moved and len(trial_sharpes) > 1:
        dsr = float(deflated_sharpe_ratio(returns, np.asarray(trial_sharpes)))
    return {"psr": psr, "dsr": dsr, "trials": len(trial_sharpes)}
