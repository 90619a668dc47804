"""Is the result luck? Significance, overfitting, resampling, paths, costs and counted trials."""

from trading_rlhf.backtest.statistics.bootstrap import (
    Interval,
    PairedTest,
    Statistic,
    block_length,
    bootstrap_intervals,
    headlines,
    log_growth,
    paired_test,
    stationary_rows,
    worst_drawdown,
)
from trading_rlhf.backtest.statistics.cost_curve import COST_FACTORS, CostCurve, cost_curve
from trading_rlhf.backtest.statistics.luck import (
    CONVINCING,
    SUGGESTIVE,
    Luck,
    assess_luck,
    deflated_sharpe,
    expected_max_sharpe,
    luck_sentence,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_per_bar,
    sharpe_significance,
    sharpe_standard_error,
)
from trading_rlhf.backtest.statistics.overfitting import Overfitting, overfitting_probability
from trading_rlhf.backtest.statistics.paths import PathFigures, join_paths, path_figures
from trading_rlhf.backtest.statistics.trials import Trials, count_trials, record_trial, trial_key

__all__ = [
    "CONVINCING",
    "COST_FACTORS",
    "SUGGESTIVE",
    "CostCurve",
    "Interval",
    "Luck",
    "Overfitting",
    "PairedTest",
    "PathFigures",
    "Statistic",
    "Trials",
    "assess_luck",
    "block_length",
    "bootstrap_intervals",
    "cost_curve",
    "count_trials",
    "deflated_sharpe",
    "expected_max_sharpe",
    "headlines",
    "join_paths",
    "log_growth",
    "luck_sentence",
    "minimum_track_record",
    "overfitting_probability",
    "paired_test",
    "path_figures",
    "probabilistic_sharpe",
    "record_trial",
    "sharpe_per_bar",
    "sharpe_significance",
    "sharpe_standard_error",
    "stationary_rows",
    "trial_key",
    "worst_drawdown",
]
