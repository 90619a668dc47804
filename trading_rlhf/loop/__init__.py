"""The one place where the cycle closes: market, agent, desk, reward model, market."""

from trading_rlhf.loop.asking import ask_about_history, simulate_answers, simulated_desk
from trading_rlhf.loop.comparing import ARMS, Comparison, compare, out_of_sample_quality
from trading_rlhf.loop.context import (
    Context,
    SettableClock,
    open_context,
    require_database,
    require_run,
)
from trading_rlhf.loop.demo import run_demo, single_user
from trading_rlhf.loop.learning import Learned, answered_trades, learn, placebo_models
from trading_rlhf.loop.replay import Replayed, catch_up, live_proposals, release, replay
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
from trading_rlhf.loop.training import shape_policies, store_policy, train_base

__all__ = [
    "ARMS",
    "Comparison",
    "Context",
    "Learned",
    "Replayed",
    "SettableClock",
    "StressPlan",
    "Stressed",
    "answered_trades",
    "arm_summary",
    "catch_up",
    "ask_about_history",
    "build_report",
    "compare",
    "figures_table",
    "hold_targets",
    "learn",
    "live_proposals",
    "open_context",
    "out_of_sample_quality",
    "placebo_models",
    "record_stress",
    "release",
    "require_database",
    "require_run",
    "replay",
    "run_demo",
    "shape_policies",
    "simulate_answers",
    "simulated_desk",
    "single_user",
    "store_policy",
    "stress",
    "stress_sentences",
    "stress_table",
    "train_base",
    "undisturbed_walks",
    "write_stress",
    "verdict_sentences",
    "write_summary",
]
