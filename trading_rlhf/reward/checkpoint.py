"""Reward models on disk, with what they were fitted on."""

from dataclasses import asdict, dataclass
from pathlib import Path

from trading_rlhf import __version__
from trading_rlhf.errors import CheckpointError
from trading_rlhf.reward.calibration import Quality
from trading_rlhf.reward.fit import FitConfig
from trading_rlhf.reward.nets import RewardModel
from trading_rlhf.store.weights import content_id, read_weights, write_weights
from trading_rlhf.types import JsonDict

__all__ = ["RewardRecord", "load_reward_model", "save_reward_model"]


@dataclass(frozen=True)
class RewardRecord:
    """What a stored reward model is.

    Attributes:
        id: first 16 hex digits of the sha256 of weights and settings.
        feature_names: inputs in order.
        answer_ids: events it was fitted on.
        simulated: whether any of those answers is simulated.
        quality: measured on held-out answers, None where there were too few.
        config: its FitConfig as a dict.
        code_version: version of this package.
    """

    id: str
    feature_names: tuple[str, ...]
    answer_ids: tuple[str, ...]
    simulated: bool
    quality: JsonDict | None
    config: JsonDict
    code_version: str


def save_reward_model(
    model: RewardModel,
    directory: Path,
    feature_names: tuple[str, ...],
    answer_ids: tuple[str, ...],
    simulated: bool,
    quality: Quality | None,
    config: FitConfig,
) -> RewardRecord:
    """Write ``<id>.safetensors`` and ``<id>.json`` into ``directory`` and return the record."""
    settings = config.model_dump()
    identity = content_id(model.tensors(), {"config": settings, "features": list(feature_names)})
    measured = None if quality is None else asdict(quality)
    record = RewardRecord(
        identity, feature_names, answer_ids, simulated, measured, settings, __version__
    )
    write_weights(directory / identity, model.tensors(), asdict(record))
    return record


def load_reward_model(directory: Path, model_id: str) -> tuple[RewardModel, RewardRecord]:
    """Read a stored reward model.

    Raises:
        CheckpointError: it is missing, damaged or not what its name says.
    """
    tensors, data = read_weights(directory / model_id)
    try:
        lists = {name: tuple(data[name]) for name in ("feature_names", "answer_ids")}
        record = RewardRecord(**{**data, **lists})
        model = RewardModel(**tensors)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            "a checkpoint must hold a complete reward model",
            f"{model_id}: {error}",
            "Fit it again.",
        ) from error
    settings = {"config": record.config, "features": list(record.feature_names)}
    identity = content_id(model.tensors(), settings)
    if identity != model_id:
        raise CheckpointError(
            "a checkpoint's content must match its id",
            f"{identity} in the file named {model_id}",
            "Restore the file or fit again.",
        )
    return model, record
