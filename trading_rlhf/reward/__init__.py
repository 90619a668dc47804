"""The reward model: what reviewers approve, how sure it is, and how it enters training."""

from trading_rlhf.reward.calibration import (
    Quality,
    expected_calibration_error,
    fit_calibrated,
    predicted_answers,
    quality,
    split_by_time,
)
from trading_rlhf.reward.checkpoint import RewardRecord, load_reward_model, save_reward_model
from trading_rlhf.reward.fit import FitConfig, Fitted, Verdicts, fit_reward_model
from trading_rlhf.reward.likelihood import ReviewerEffects, answer_probability, log_prior
from trading_rlhf.reward.nets import RewardModel, trade_inputs
from trading_rlhf.reward.shaping import (
    ModelDesk,
    ShapedReward,
    ShapingConfig,
    SlicedDesk,
    SlicedReward,
)

__all__ = [
    "FitConfig",
    "Fitted",
    "ModelDesk",
    "Quality",
    "ReviewerEffects",
    "RewardModel",
    "RewardRecord",
    "ShapedReward",
    "ShapingConfig",
    "SlicedDesk",
    "SlicedReward",
    "Verdicts",
    "answer_probability",
    "expected_calibration_error",
    "fit_calibrated",
    "fit_reward_model",
    "load_reward_model",
    "log_prior",
    "predicted_answers",
    "quality",
    "save_reward_model",
    "split_by_time",
    "trade_inputs",
]
