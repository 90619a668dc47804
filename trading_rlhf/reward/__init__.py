"""The reward model: what reviewers approve, how sure it is, and how it enters training."""

from trading_rlhf.reward.answers import Answers, Comparisons, Ratings, Resizes, Tags, Verdicts
from trading_rlhf.reward.calibration import (
    Quality,
    expected_calibration_error,
    fit_calibrated,
    predicted_answers,
    quality,
    split_by_time,
)
from trading_rlhf.reward.checkpoint import RewardRecord, load_reward_model, save_reward_model
from trading_rlhf.reward.collusion import Alike, suspiciously_alike
from trading_rlhf.reward.fit import FitConfig, Fitted, fit_reward_model
from trading_rlhf.reward.likelihood import (
    ReviewerEffects,
    answer_probability,
    comparison_probabilities,
    log_prior,
    rating_probabilities,
    resize_probability,
    tag_probability,
)
from trading_rlhf.reward.nets import RewardModel, trade_inputs
from trading_rlhf.reward.shaping import (
    ModelDesk,
    ShapedReward,
    ShapingConfig,
    SlicedDesk,
    SlicedReward,
)
from trading_rlhf.reward.tags import TagHeads
from trading_rlhf.reward.uncertainty import Uncertainty, split_uncertainty

__all__ = [
    "Alike",
    "Answers",
    "Comparisons",
    "FitConfig",
    "Fitted",
    "ModelDesk",
    "Quality",
    "Ratings",
    "Resizes",
    "ReviewerEffects",
    "RewardModel",
    "RewardRecord",
    "ShapedReward",
    "ShapingConfig",
    "SlicedDesk",
    "SlicedReward",
    "TagHeads",
    "Tags",
    "Uncertainty",
    "Verdicts",
    "answer_probability",
    "comparison_probabilities",
    "expected_calibration_error",
    "fit_calibrated",
    "fit_reward_model",
    "load_reward_model",
    "log_prior",
    "predicted_answers",
    "quality",
    "rating_probabilities",
    "resize_probability",
    "save_reward_model",
    "split_by_time",
    "split_uncertainty",
    "suspiciously_alike",
    "tag_probability",
    "trade_inputs",
]
