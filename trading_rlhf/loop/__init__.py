"""The one place where the cycle closes: market, agent, desk, reward model, market."""

from trading_rlhf.loop.approved import ApprovedArm, approved_arm
from trading_rlhf.loop.asking import ask_about_history, simulate_answers, simulated_desk
from trading_rlhf.loop.attribution import Attribution, attribute
from trading_rlhf.loop.champions import (
    by_champion,
    champion_id,
    line_of_champions,
    promote,
    proposing_policy,
    rollback,
    waiting_challenger,
)
from trading_rlhf.loop.comparing import ARMS, Comparison, compare, out_of_sample_quality
from trading_rlhf.loop.context import (
    Context,
    SettableClock,
    open_context,
    require_database,
    require_run,
)
from trading_rlhf.loop.cross_validation import CrossValidated, cross_validate, plan_trainings
from trading_rlhf.loop.demo import run_demo, single_user
from trading_rlhf.loop.fitting import Watch
from trading_rlhf.loop.folds import EQUAL, HOLD
from trading_rlhf.loop.frontier import Frontier, price_frontier, threshold_frontier
from trading_rlhf.loop.learning import (
    Learned,
    Lesson,
    answered_trades,
    learn,
    placebo_models,
    wanted_weights,
)
from trading_rlhf.loop.outcomes import Outcomes, Trades, trade_outcomes
from trading_rlhf.loop.placebo import Placebo, placebo_walk, store_placebos, stored_placebos
from trading_rlhf.loop.queueing import rank_queue
from trading_rlhf.loop.replay import (
    Replayed,
    catch_up,
    live_proposals,
    release,
    replay,
    require_review_time,
)
from trading_rlhf.loop.reporting import (
    arm_summary,
    build_report,
    figures_table,
    hold_targets,
    undisturbed_walks,
    verdict_sentences,
    write_summary,
)
from trading_rlhf.loop.stress import Stressed, StressPlan, record_stress, stress
from trading_rlhf.loop.stress_report import stress_sentences, stress_table, write_stress
from trading_rlhf.loop.sweep import (
    Swept,
    luck_of_best,
    missing_cells,
    run_sweep,
    sweep_table,
    write_table,
)
from trading_rlhf.loop.sweep_cell import CellResult, Job, run_job, walk_targets
from trading_rlhf.loop.sweep_grid import Cell, Grid, make_cells, read_grid
from trading_rlhf.loop.tracking import tensorboard_scalars
from trading_rlhf.loop.training import help_training, shape_policies, store_policy, train_base
from trading_rlhf.loop.trial_ledger import record_walks
from trading_rlhf.loop.trial_names import base_trial, given_trial, walked_trial
from trading_rlhf.loop.walk_forward import (
    POLICY,
    Period,
    WalkedForward,
    forward_periods,
    walk_forward,
)
from trading_rlhf.loop.workers import LocalWorkers, RayWorkers, Workers, usable_cores

__all__ = [
    "ARMS",
    "EQUAL",
    "HOLD",
    "POLICY",
    "ApprovedArm",
    "Attribution",
    "Cell",
    "CellResult",
    "Comparison",
    "Context",
    "CrossValidated",
    "Frontier",
    "Grid",
    "Job",
    "Learned",
    "Lesson",
    "LocalWorkers",
    "Outcomes",
    "RayWorkers",
    "Period",
    "Placebo",
    "Replayed",
    "SettableClock",
    "StressPlan",
    "Stressed",
    "Swept",
    "Trades",
    "WalkedForward",
    "Workers",
    "answered_trades",
    "approved_arm",
    "arm_summary",
    "ask_about_history",
    "attribute",
    "base_trial",
    "build_report",
    "by_champion",
    "catch_up",
    "champion_id",
    "compare",
    "cross_validate",
    "figures_table",
    "forward_periods",
    "given_trial",
    "help_training",
    "hold_targets",
    "learn",
    "line_of_champions",
    "live_proposals",
    "luck_of_best",
    "make_cells",
    "missing_cells",
    "open_context",
    "out_of_sample_quality",
    "placebo_models",
    "plan_trainings",
    "placebo_walk",
    "price_frontier",
    "promote",
    "proposing_policy",
    "rank_queue",
    "read_grid",
    "record_stress",
    "record_walks",
    "release",
    "replay",
    "require_database",
    "require_review_time",
    "require_run",
    "rollback",
    "run_demo",
    "run_job",
    "run_sweep",
    "shape_policies",
    "simulate_answers",
    "simulated_desk",
    "single_user",
    "store_placebos",
    "store_policy",
    "stored_placebos",
    "stress",
    "stress_sentences",
    "stress_table",
    "sweep_table",
    "threshold_frontier",
    "trade_outcomes",
    "Watch",
    "tensorboard_scalars",
    "train_base",
    "undisturbed_walks",
    "usable_cores",
    "verdict_sentences",
    "waiting_challenger",
    "walk_forward",
    "walk_targets",
    "walked_trial",
    "wanted_weights",
    "write_stress",
    "write_summary",
    "write_table",
]
