"""Features for the command line: what there is, whether it is sound, what it said about returns."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from trading_rlhf.backtest import Plot, Report, Table, bar_plot, line_plot, write_report
from trading_rlhf.errors import DataError, TradingRlhfError
from trading_rlhf.market import (
    Bars,
    Feature,
    check_feature,
    default_registry,
    load_bars,
    load_feature_file,
    registry_with,
    survivorship_note,
)
from trading_rlhf.market.feature_report import FeatureReport, FeatureScore, score_features
from trading_rlhf.types import JsonDict

__all__ = ["check_features", "list_features", "report_features"]

_CHECK_SEED = 0
_BPS = 1e4


def list_features(files: Sequence[Path] = ()) -> list[JsonDict]:
    """Name, label, lookback and formula of every registered feature."""
    return [_described(feature) for feature in _features(files)]


def check_features(source: str, files: Sequence[Path] = ()) -> list[JsonDict]:
    """Check every feature on bars of a sample or a file.

    Returns:
        One row a feature; ``problem`` is empty where it neither looks ahead nor depends on the
        level of prices, ``note`` says why it was not checked.
    """
    bars = load_bars(source)
    return [_described(feature) | _checked(feature, bars) for feature in _features(files)]


def report_features(
    source: str, files: Sequence[Path], horizon: str, until: date | None, out: Path
) -> tuple[pd.DataFrame, list[JsonDict], list[str]]:
    """Score every feature on bars of a sample or a file and write an HTML page.

    Args:
        source: a bundled sample or a file of bars.
        files: Python files of the user's own features, checked before they are scored.
        horizon: bars over which returns are taken, separated by commas.
        until: last day that is used; all days if None.
        out: HTML page.

    Returns:
        A table for the screen, one row of numbers per feature and horizon, and what limits them.

    Raises:
        DataError: a feature, the bars, a horizon or the place of the page cannot be used.
        LookAheadError: a feature looks ahead.
    """
    if out.is_dir():
        raise DataError("the page must be a file", f"the folder {out}", "Write --out page.html.")
    registry = registry_with(files)
    bars = _until(load_bars(source), until)
    features = [registry.get(name) for name in registry.names()]
    report = score_features(bars, features, _horizons(horizon))
    notes = _notes(report, bars)
    write_report(_page(report, features, bars, source, notes), out)
    return _short_table(report), [_row(score) for score in report.scores], notes


def _features(files: Sequence[Path]) -> list[Feature]:
    registry = default_registry()
    for path in files:
        load_feature_file(path, registry)
    return [registry.get(name) for name in registry.names()]


def _described(feature: Feature) -> JsonDict:
    return {
        "name": feature.name,
        "label": feature.label,
        "bars": feature.lookback,
        "formula": feature.formula,
    }


def _checked(feature: Feature, bars: Bars) -> JsonDict:
    if lacks := feature.lacks(bars):
        return {"problem": "", "note": f"not checked: the bars have no {' and '.join(lacks)}"}
    try:
        check_feature(feature, bars, np.random.default_rng(_CHECK_SEED))
    except TradingRlhfError as error:
        return {"problem": str(error), "note": ""}
    return {"problem": "", "note": ""}


def _horizons(text: str) -> list[int]:
    try:
        return sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise DataError(
            "horizons must be numbers of bars", repr(text), "Write --horizon 1,5,20."
        ) from None


def _until(bars: Bars, until: date | None) -> Bars:
    if until is None:
        return bars
    after = pd.Timestamp(until, tz=bars.dates.tz) + pd.Timedelta(days=1)
    n_bars = int((bars.dates < after).sum())
    if n_bars == 0:
        raise DataError(
            "the last day must not lie before the bars",
            f"{until}",
            f"Use {bars.dates[-1]:%Y-%m-%d}.",
        )
    return bars.window(0, n_bars)


def _notes(report: FeatureReport, bars: Bars) -> list[str]:
    n_bars, n_assets = bars.shape
    ranked = (
        "Ranks are taken across assets on each date."
        if report.across_assets
        else f"{n_assets} assets are too few to rank on a date: ranks are taken over each asset's "
        "own dates, which no trader knows in advance."
    )
    n_figures = len(report.scores)
    by_chance = max(1, round(0.05 * n_figures))
    left_out = ", ".join(report.left_out)
    fill = "next open" if bars.has_open else "next close"
    return [
        f"In sample: these figures describe {n_bars} bars of {n_assets} assets, "
        f"{bars.dates[0]:%Y-%m-%d} to {bars.dates[-1]:%Y-%m-%d}; they test nothing. Keep a test "
        "period out with --until.",
        f"{ranked} Returns run from the {fill} after the decision, without costs; a bar that fills "
        "nothing is left out.",
        f"t is Newey and West's; of {n_figures} figures about {by_chance} pass 2 by chance.",
        survivorship_note(bars),
        *([f"Left out, for lack of volume or of high and low: {left_out}."] if left_out else []),
    ]


def _short_table(report: FeatureReport) -> pd.DataFrame:
    rows = [
        {
            "feature": score.feature,
            "bars": f"{score.horizon}",
            "IC": f"{score.ic:+.3f}",
            "t": f"{score.t_statistic:+.1f}",
            "hit share": f"{score.hit_share:.1%}",
            "low, bps": f"{_BPS * score.quantile_returns[0]:.1f}",
            "high, bps": f"{_BPS * score.quantile_returns[-1]:.1f}",
            "spread, bps": f"{_BPS * score.spread:+.1f} ± {_BPS * score.spread_error:.1f}",
            "dates": f"{score.n_dates}",
        }
        for score in report.scores
    ]
    return pd.DataFrame(rows).set_index("feature")


def _row(score: FeatureScore) -> JsonDict:
    return {
        "feature": score.feature,
        "horizon": score.horizon,
        "ic": score.ic,
        "t_statistic": score.t_statistic if np.isfinite(score.t_statistic) else None,
        "hit_share": score.hit_share,
        "dates": score.n_dates,
        "quantile_returns": list(score.quantile_returns),
        "spread": score.spread,
        "spread_error": score.spread_error,
    }


def _page(
    report: FeatureReport,
    features: Sequence[Feature],
    bars: Bars,
    source: str,
    notes: list[str],
) -> Report:
    strongest = max(report.scores, key=lambda score: abs(np.nan_to_num(score.t_statistic)))
    formulas = pd.DataFrame(
        {"bars": [f.lookback for f in features], "formula": [f.formula for f in features]},
        index=pd.Index([f.name for f in features], name="feature"),
    )
    return Report(
        title=f"Features and later returns, {source}",
        summary=[
            f"Largest t: {strongest.feature} over {_bars(strongest.horizon)}, IC "
            f"{strongest.ic:+.3f} with t {strongest.t_statistic:+.1f}, spread "
            f"{_BPS * strongest.spread:+.1f} ± {_BPS * strongest.spread_error:.1f} bps."
        ],
        warnings=notes,
        tables=[
            Table("Scores", _short_table(report), "± one standard error."),
            Table("Features", formulas),
        ],
        plots=_plots(report),
        facts=[("data", source), ("sha256 of the bars", bars.sha256)],
    )


def _plots(report: FeatureReport) -> list[Plot]:
    horizons = list(dict.fromkeys(score.horizon for score in report.scores))
    names = [f"quantile {i + 1}" for i in range(report.n_quantiles)]
    names[0], names[-1] = "lowest", "highest"
    by_horizon = {
        _bars(horizon): {s.feature: s.ic for s in report.scores if s.horizon == horizon}
        for horizon in horizons
    }
    summed = {s.feature: s.by_date.cumsum() for s in report.scores if s.horizon == horizons[0]}
    plots = [
        Plot("Information coefficient", bar_plot(pd.DataFrame(by_horizon), "mean rank IC")),
        Plot(
            f"Information coefficient over {_bars(horizons[0])}, summed over dates",
            line_plot(pd.DataFrame(summed), "sum of rank IC"),
            "A steady slope is an edge that lasts; a step is one episode.",
        ),
    ]
    for horizon in horizons:
        returns = {s.feature: s.quantile_returns for s in report.scores if s.horizon == horizon}
        frame = _BPS * pd.DataFrame(returns, index=names).T
        title = f"Mean return over {_bars(horizon)} by quantile of the feature"
        plots.append(Plot(title, bar_plot(frame, "bps")))
    return plots


def _bars(horizon: int) -> str:
    return "1 bar" if horizon == 1 else f"{horizon} bars"
