"""The trading agent: policy, trainer and checkpoints."""

from trading_rlhf.agent.checkpoint import (
    PolicyRecord,
    load_policy,
    load_training,
    mark_setback,
    save_policy,
    save_training,
)
from trading_rlhf.agent.distributed import ALONE, Ranks, join_ranks, started_with_others
from trading_rlhf.agent.imitation import Demonstrations, distance_from_wanted
from trading_rlhf.agent.objective import ProfitReward
from trading_rlhf.agent.policy import Decision, Policy, PolicyConfig
from trading_rlhf.agent.ppo import orthogonal_start
from trading_rlhf.agent.pretraining import PretrainConfig, pretrain
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
    "ALONE",
    "BaseTrainConfig",
    "Decision",
    "Demonstrations",
    "Policy",
    "PolicyConfig",
    "PolicyRecord",
    "Position",
    "PpoConfig",
    "PretrainConfig",
    "ProfitReward",
    "Ranks",
    "TrainConfig",
    "Training",
    "Walk",
    "distance_from_wanted",
    "join_ranks",
    "load_policy",
    "load_training",
    "mark_setback",
    "orthogonal_start",
    "pretrain",
    "save_policy",
    "save_training",
    "start_position",
    "start_training",
    "started_with_others",
    "train",
    "walk",
]
