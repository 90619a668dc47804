"""Is a Sharpe ratio luck? What chance and the number of trials explain of it.

Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier", and (2014), "The deflated
Sharpe ratio", through skfolio where it has them. Skew and kurtosis of the returns are allowed for;
returns are taken as independent, so serial correlation is left to the bootstrap.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trading_rlhf.accounting import BARS_PER_YEAR
from trading_rlhf.errors import AccountingError
from trading_rlhf.types import FloatArray, JsonDict

__all__ = [
    "CONVINCING",
    "SUGGESTIVE",
    "Luck",
    "assess_luck",
    "deflated_sharpe",
    "expected_max_sharpe",
    "luck_sentence",
    "minimum_track_record",
    "probabilistic_sharpe",
    "sharpe_per_bar",
    "sharpe_significance",
    "sharpe_standard_error",
]

CONVINCING = 0.95
"""A deflated Sharpe ratio from here on is called better than luck (Bailey and Lopez de Prado)."""

SUGGESTIVE = 0.90
"""From here to ``CONVINCING`` it is called some evidence."""

_FEWEST_BARS = 3


@dataclass(frozen=True)
class Luck:
    """How far chance explains one curve.

    Attributes:
        psr: probability that the true Sharpe ratio is positive; None where returns do not move.
        dsr: probability that it is, after the trials; None with fewer than two measured trials.
        trials: number of trials counted.
        expected_max: yearly Sharpe ratio that the best of as many worthless trials would show;
            None with fewer than two measured trials.
        bars: number of returns.
        bars_needed: returns that would make ``psr`` 0.95 at this Sharpe ratio; infinite where it
            is not positive, None where returns do not move.
    """

    psr: float | None
    dsr: float | None
    trials: int
    expected_max: float | None
    bars: int
    bars_needed: float | None


def sharpe_standard_error(
    sharpe: float, n_bars: int, bars_per_year: float = BARS_PER_YEAR
) -> float:
    """Standard error of a yearly Sharpe ratio of independent returns (Lo 2002, eq. 9)."""
    per_bar = sharpe / math.sqrt(bars_per_year)
    return math.sqrt((1 + 0.5 * per_bar**2) / n_bars) * math.sqrt(bars_per_year)


def sharpe_per_bar(returns: FloatArray) -> float:
    """Mean over standard deviation (n - 1) of ``[T]`` returns; 0 where nothing moved."""
    return float(np.mean(returns) / np.std(returns, ddof=1)) if _moves(returns) else 0.0


def probabilistic_sharpe(returns: FloatArray, benchmark: float = 0.0) -> float | None:
    """Probability that the true Sharpe ratio exceeds a benchmark (2012, eq. 9).

    Args:
        returns: ``[T]`` per-bar returns.
        benchmark: Sharpe ratio per bar.

    Returns:
        A number in 0..1, or None: returns do not move, are fewer than three, or are too skewed
        for the formula.
    """
    # skfolio takes a second to load, which every command would pay.
    from skfolio.measures import probabilistic_sharpe_ratio

    if not _moves(returns):
        return None
    value = float(probabilistic_sharpe_ratio(returns, benchmark))
    return value if math.isfinite(value) else None


def expected_max_sharpe(trials: int, spread: float) -> float:
    """Sharpe ratio that the best of independent worthless trials is expected to show (2014, eq. 1).

    Args:
        trials: number of trials, at least 1.
        spread: standard deviation of their Sharpe ratios, in the unit wanted back.

    Raises:
        AccountingError: an argument is out of range.
    """
    from skfolio.measures import expected_max_sharpe_ratio

    try:
        return float(expected_max_sharpe_ratio(trials, spread))
    except ValueError as error:
        raise AccountingError(
            "the best of several trials needs a count from 1 and a spread from 0",
            f"{trials} trials with a spread of {spread:g}",
            "Count at least the trial itself.",
        ) from error


def deflated_sharpe(
    returns: FloatArray, trial_sharpes: FloatArray | list[float], trials: int | None = None
) -> float | None:
    """Probability that the true Sharpe ratio is positive, after the trials (2014, eq. 2).

    Args:
        returns: ``[T]`` per-bar returns.
        trial_sharpes: per-bar Sharpe ratios of the trials that have one, this one included.
        trials: number of trials counted; None is as many as there are Sharpe ratios.

    Returns:
        A number in 0..1, or None with fewer than two Sharpe ratios or where there is no PSR.
    """
    if len(trial_sharpes) < 2:
        return None
    count = len(trial_sharpes) if trials is None else trials
    spread = float(np.std(trial_sharpes, ddof=1))
    return probabilistic_sharpe(returns, expected_max_sharpe(count, spread))


def minimum_track_record(
    returns: FloatArray, benchmark: float = 0.0, confidence: float = CONVINCING
) -> float | None:
    """Bars after which the PSR of such returns would reach the confidence (2012, eq. 11).

    Args:
        returns: ``[T]`` per-bar returns; their Sharpe ratio, skew and kurtosis are used.
        benchmark: Sharpe ratio per bar to be beaten.
        confidence: between 0.5 and 1.

    Returns:
        A number of bars, not rounded; infinite where the Sharpe ratio does not exceed the
        benchmark; None where returns do not move or are too skewed for the formula.
    """
    from skfolio.measures import kurtosis, skew

    if not _moves(returns):
        return None
    sharpe = sharpe_per_bar(returns)
    variance = 1 - float(skew(returns)) * sharpe + (float(kurtosis(returns)) - 1) / 4 * sharpe**2
    if not variance > 0:
        return None
    if sharpe <= benchmark:
        return math.inf
    return 1 + variance * (NormalDist().inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def assess_luck(
    returns: FloatArray,
    trial_sharpes: FloatArray | list[float],
    trials: int | None = None,
    bars_per_year: float = BARS_PER_YEAR,
) -> Luck:
    """Everything that is said of luck about one curve.

    Args:
        returns: ``[T]`` per-bar returns.
        trial_sharpes: per-bar Sharpe ratios of the trials that have one, this one included.
        trials: number of trials counted; None is as many as there are Sharpe ratios.
        bars_per_year: bars in a year.
    """
    count = len(trial_sharpes) if trials is None else trials
    expected = None
    if len(trial_sharpes) > 1:
        spread = float(np.std(trial_sharpes, ddof=1))
        expected = expected_max_sharpe(count, spread) * math.sqrt(bars_per_year)
    return Luck(
        psr=probabilistic_sharpe(returns),
        dsr=deflated_sharpe(returns, trial_sharpes, count),
        trials=count,
        expected_max=expected,
        bars=len(returns),
        bars_needed=minimum_track_record(returns),
    )


def sharpe_significance(returns: FloatArray, trial_sharpes: list[float]) -> JsonDict:
    """PSR and DSR of ``[T]`` per-bar returns as a JSON-ready dict.

    Args:
        returns: ``[T]`` per-bar returns.
        trial_sharpes: per-bar Sharpe ratios of every trial counted, this one included.

    Returns:
        ``psr`` and ``dsr`` in 0..1 (None where returns do not move or fewer than two trials),
        and ``trials``.
    """
    return {
        "psr": probabilistic_sharpe(returns),
        "dsr": deflated_sharpe(returns, trial_sharpes),
        "trials": len(trial_sharpes),
    }


def luck_sentence(
    dsr: float | None,
    trials: int,
    bars: int | None = None,
    bars_needed: float | None = None,
    bars_per_year: float = BARS_PER_YEAR,
) -> str:
    """One or two plain sentences: what the deflated Sharpe ratio says after so many trials.

    Args:
        dsr: deflated Sharpe ratio, or None.
        trials: number of trials counted.
        bars: number of returns; with ``bars_needed`` adds how long a record would be needed.
        bars_needed: from ``minimum_track_record``.
        bars_per_year: bars in a year.
    """
    if dsr is None:
        counted = "1 trial" if trials == 1 else f"{trials:,} trials"
        return f"No DSR after {counted}: it needs two measured trials and returns that move."
    if dsr >= CONVINCING:
        verdict = f"better than the best of {trials:,} random ones (it takes {CONVINCING:.2f})"
    elif dsr >= SUGGESTIVE:
        verdict = (
            f"some evidence against the best of {trials:,} random ones, "
            f"short of the {CONVINCING:.2f} it takes"
        )
    elif dsr > 1 - CONVINCING:
        verdict = f"not distinguishable from the best of {trials:,} random ones"
    else:
        verdict = f"worse than the best of {trials:,} random ones"
    # Rounding must not lift a value over a threshold that it misses.
    shown = math.floor(dsr * 100 + 1e-9) / 100
    sentence = f"DSR {shown:.2f} after {trials:,} trials: {verdict}."
    if bars is None or bars_needed is None or not math.isfinite(bars_needed):
        return sentence
    years, needed = bars / bars_per_year, bars_needed / bars_per_year
    return f"{sentence} Tried once, it would need {needed:.1f} years of record; it has {years:.1f}."


def _moves(returns: FloatArray) -> bool:
    return len(returns) >= _FEWEST_BARS and float(np.ptp(returns)) > 0
