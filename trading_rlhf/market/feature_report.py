"""What features said about later returns: information coefficients and returns by quantile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from trading_rlhf.errors import DataError
from trading_rlhf.market.bars import Bars
from trading_rlhf.market.features import Feature, compute_feature
from trading_rlhf.types import FloatArray

__all__ = ["FeatureReport", "FeatureScore", "LEAST_ASSETS", "forward_returns", "score_features"]

LEAST_ASSETS: Final = 5
_ASSETS_FOR_QUINTILES = 15
_LEAST_DATES = 30


@dataclass(frozen=True, eq=False)
class FeatureScore:
    """One feature against the returns over one horizon.

    Attributes:
        feature: its name.
        horizon: bars from fill to fill.
        ic: mean rank information coefficient.
        t_statistic: of that mean, by Newey and West's standard error with horizon - 1 lags.
        hit_share: share of dates with a positive coefficient.
        n_dates: dates with a coefficient.
        quantile_returns: mean return in each quantile of the feature, lowest first.
        spread: highest less lowest quantile's mean return.
        spread_error: standard error of the spread.
        by_date: the coefficient of each date.
    """

    feature: str
    horizon: int
    ic: float
    t_statistic: float
    hit_share: float
    n_dates: int
    quantile_returns: tuple[float, ...]
    spread: float
    spread_error: float
    by_date: "pd.Series[float]"


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """Scores of all features and horizons.

    Attributes:
        scores: one per feature and horizon, features first.
        across_assets: whether assets are ranked against each other on each date; else each asset's
            dates are ranked against each other.
        n_quantiles: 5, or 3 for few assets.
        left_out: features that these bars cannot give.
    """

    scores: tuple[FeatureScore, ...]
    across_assets: bool
    n_quantiles: int
    left_out: tuple[str, ...]


def forward_returns(bars: Bars, horizon: int) -> FloatArray:
    """Return ``[T, N]`` simple returns that a decision at the close of t can earn.

    The order fills at the open of t+1 (at its close in close-only data) and is closed at the same
    point ``horizon`` bars later. NaN where either bar fills nothing or lies beyond the data.
    """
    price = np.where(bars.fillable, bars.fill_price, np.nan)
    result = np.full(bars.shape, np.nan)
    n = bars.shape[0] - 1 - horizon
    if n > 0:
        result[:n] = price[1 + horizon :] / price[1 : 1 + n] - 1.0
    return result


def score_features(
    bars: Bars, features: Sequence[Feature], horizons: Sequence[int] = (1, 5, 20)
) -> FeatureReport:
    """Score features against later returns, in sample: figures that describe these bars.

    With five assets or more, the coefficient of a date is Spearman's correlation across assets
    (Grinold and Kahn, Active Portfolio Management, chapter 6). With fewer, ranks are taken over
    each asset's own dates, and the coefficient of a date is the mean product of standardized ranks,
    so that the mean over dates is Spearman's correlation over time.

    Overlapping returns make neighbouring dates alike: standard errors are those of Newey and West
    (1987) with horizon - 1 lags, for the spread over the sums of each date.

    Args:
        bars: T bars of N assets.
        features: what is scored; one that lacks an array of the bars is left out.
        horizons: bars from fill to fill.

    Raises:
        DataError: a horizon is below one, a feature fails, or too few dates can be scored.
    """
    if not horizons or min(horizons) < 1:
        raise DataError("a horizon must be one bar or more", str(list(horizons)), "Use 1,5,20.")
    n_assets = bars.shape[1]
    across = n_assets >= LEAST_ASSETS
    n_quantiles = 3 if across and n_assets < _ASSETS_FOR_QUINTILES else 5
    usable = [feature for feature in features if not feature.lacks(bars)]
    later = {horizon: forward_returns(bars, horizon) for horizon in horizons}
    scores = []
    for feature in usable:
        values = np.where(bars.tradable, compute_feature(feature, bars), np.nan)
        for horizon in horizons:
            both = _paired(values, later[horizon], bars.dates)
            scores.append(_score(feature.name, horizon, *both, across, n_quantiles))
    left_out = tuple(feature.name for feature in features if feature.lacks(bars))
    return FeatureReport(tuple(scores), across, n_quantiles, left_out)


def _paired(
    values: FloatArray, later: FloatArray, dates: pd.DatetimeIndex
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep cells that have both numbers."""
    both = np.isfinite(values) & np.isfinite(later)
    return (
        pd.DataFrame(np.where(both, values, np.nan), index=dates),
        pd.DataFrame(np.where(both, later, np.nan), index=dates),
    )


def _score(
    name: str,
    horizon: int,
    values: pd.DataFrame,
    later: pd.DataFrame,
    across: bool,
    n_quantiles: int,
) -> FeatureScore:
    if across:
        enough = values.notna().sum(axis=1) >= LEAST_ASSETS
        values, later = values[enough], later[enough]
    by_date = _across_assets(values, later) if across else _over_time(values, later)
    if len(by_date) < max(_LEAST_DATES, 2 * horizon):
        raise DataError(
            f"scoring {name} over {horizon} bars takes {max(_LEAST_DATES, 2 * horizon)} dates",
            f"{len(by_date)} of them with a feature and a later return",
            "Use a longer history or a shorter horizon.",
        )
    ic = np.asarray(by_date, dtype=np.float64)
    error = _error_of_sum(ic - ic.mean(), horizon - 1) / len(ic)
    returns, spread_error = _quantiles(values, later, across, n_quantiles, horizon)
    return FeatureScore(
        feature=name,
        horizon=horizon,
        ic=float(by_date.mean()),
        t_statistic=float(by_date.mean()) / error if error > 0.0 else float("nan"),
        hit_share=float((by_date > 0.0).mean()),
        n_dates=len(by_date),
        quantile_returns=returns,
        spread=returns[-1] - returns[0],
        spread_error=spread_error,
        by_date=by_date,
    )


def _across_assets(values: pd.DataFrame, later: pd.DataFrame) -> "pd.Series[float]":
    """Return Spearman's correlation across assets on each date."""
    ranks, outcomes = values.rank(axis=1), later.rank(axis=1)
    # A date on which all values are equal has no ranks to correlate.
    varied = (ranks.std(axis=1) > 0.0) & (outcomes.std(axis=1) > 0.0)
    return ranks[varied].corrwith(outcomes[varied], axis=1)


def _over_time(values: pd.DataFrame, later: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean product of standardized ranks over the assets of each date."""
    ranks, outcomes = values.rank(), later.rank()
    ranks = (ranks - ranks.mean()) / ranks.std(ddof=0).where(lambda sd: sd > 0.0)
    outcomes = (outcomes - outcomes.mean()) / outcomes.std(ddof=0).where(lambda sd: sd > 0.0)
    return (ranks * outcomes).mean(axis=1).dropna()


def _quantiles(
    values: pd.DataFrame, later: pd.DataFrame, across: bool, n_quantiles: int, horizon: int
) -> tuple[tuple[float, ...], float]:
    """Return the mean return of each quantile, and the standard error of highest less lowest."""
    place = values.rank(axis="columns" if across else "index", pct=True).to_numpy()
    quantile = np.ceil(np.round(place * n_quantiles, 9))
    returns = later.to_numpy()
    means, sums = [], []
    for number in range(1, n_quantiles + 1):
        inside = quantile == number
        count = max(int(inside.sum()), 1)
        mean = float(np.sum(returns, where=inside)) / count if inside.any() else float("nan")
        means.append(mean)
        sums.append(np.sum(returns - mean, axis=1, where=inside) / count)
    error = _error_of_sum(sums[-1] - sums[0], horizon - 1)
    return tuple(means), error


def _error_of_sum(deviations: FloatArray, lags: int) -> float:
    """Return Newey and West's standard error of a sum of deviations from their mean."""
    variance = float(deviations @ deviations)
    for lag in range(1, min(lags, len(deviations) - 1) + 1):
        weight = 1.0 - lag / (lags + 1.0)
        variance += 2.0 * weight * float(deviations[lag:] @ deviations[:-lag])
    return float(np.sqrt(max(variance, 0.0)))
