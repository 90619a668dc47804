"""The trading agent: policy, trainer and checkpoints."""

from trading_rlhf.agent.apg import TrainConfig, Training, start_training, train
from trading_rlhf.agent.checkpoint import (
    PolicyRecord,
    load_policy,
    load_training,
    save_policy,
    save_training,
)
from trading_rlhf.agent.objective import ProfitReward
from trading_rlhf.agent.policy import Decision, Policy, PolicyConfig
from trading_rlhf.agent.rollout import Position, Walk, start_position, walk

__all__ = [
    "Decision",
    "Policy",
    "PolicyConfig",
    "PolicyRecord",
    "Position",
    "ProfitReward",
    "TrainConfig",
    "Training",
    "Walk",
    "load_policy",
    "load_training",
    "save_policy",
    "save_training",
    "start_position",
    "start_training",
    "train",
    "walk",
]
