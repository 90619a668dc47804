"""The trading agent: policy, trainer and checkpoints."""

from trading_rlhf.agent.checkpoint import (
    PolicyRecord,
    load_policy,
    load_training,
    mark_setback,
    save_policy,
    save_training,
)
from trading_rlhf.agent.objective import ProfitReward
from trading_rlhf.agent.policy import Decision, Policy, PolicyConfig
from trading_rlhf.agent.ppo import orthogonal_start
from trading_rlhf.agent.rollout import Position, Walk, start_position, walk
from trading_rlhf.agent.trainer import train
from trading_rlhf.agent.training import (
    BaseTrainConfig,
    PpoConfig,
    TrainConfig,
    Training,
    start_training,
)

__all__ = [
    "BaseTrainConfig",
    "Decision",
    "Policy",
    "PolicyConfig",
    "PolicyRecord",
    "Position",
    "PpoConfig",
    "ProfitReward",
    "TrainConfig",
    "Training",
    "Walk",
    "load_policy",
    "load_training",
    "mark_setback",
    "orthogonal_start",
    "save_policy",
    "save_training",
    "start_position",
    "start_training",
    "train",
    "walk",
]
