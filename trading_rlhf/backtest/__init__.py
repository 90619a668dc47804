"""Backtests: the engine, the arms of an experiment, their statistics and the report."""

from trading_rlhf.backtest.arms import (
    ENOUGH_ITEMS,
    Arm,
    ArmFigures,
    figures,
    gap_closed,
    matching_thresholds,
    mean_figures,
    shown_notional,
    stack_policies,
    walk_arms,
)
from trading_rlhf.backtest.crosscheck import vectorbt_equity
from trading_rlhf.backtest.engine import BacktestResult, SizeAt, measure, run_backtest
from trading_rlhf.backtest.report import (
    Plot,
    Report,
    Table,
    bar_plot,
    line_plot,
    reliability_plot,
    write_report,
)
from trading_rlhf.backtest.statistics import sharpe_significance, sharpe_standard_error

__all__ = [
    "ENOUGH_ITEMS",
    "Arm",
    "ArmFigures",
    "BacktestResult",
    "Plot",
    "Report",
    "SizeAt",
    "Table",
    "bar_plot",
    "figures",
    "gap_closed",
    "line_plot",
    "matching_thresholds",
    "mean_figures",
    "measure",
    "reliability_plot",
    "run_backtest",
    "sharpe_significance",
    "sharpe_standard_error",
    "shown_notional",
    "stack_policies",
    "vectorbt_equity",
    "walk_arms",
    "write_report",
]
