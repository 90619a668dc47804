"""Policies and trainings on disk: safetensors for numbers, JSON for what they mean."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from trading_rlhf import __version__
from trading_rlhf.agent.policy import Policy, PolicyConfig
from trading_rlhf.agent.training import TrainConfig, Training, named_parameters, start_training
from trading_rlhf.errors import CheckpointError
from trading_rlhf.store.files import replace_text
from trading_rlhf.store.weights import content_id, read_weights, write_weights
from trading_rlhf.types import JsonDict

__all__ = [
    "PolicyRecord",
    "save_policy",
    "load_policy",
    "save_training",
    "load_training",
    "mark_setback",
]


@dataclass(frozen=True)
class PolicyRecord:
    """What a stored policy is.

    Attributes:
        id: first 16 hex digits of the sha256 of weights and config.
        config: its PolicyConfig as a dict; settings that are left out have their defaults.
        feature_names: inputs in order.
        members: S.
        data_sha256: hash of the bars it was trained on.
        parent: id of the policy it started from, or None.
        note: what it is ("base", "shaped").
        code_version: version of this package.
    """

    id: str
    config: JsonDict
    feature_names: tuple[str, ...]
    members: int
    data_sha256: str
    parent: str | None
    note: str
    code_version: str


def save_policy(
    policy: Policy,
    directory: Path,
    feature_names: tuple[str, ...],
    data_sha256: str,
    note: str,
    parent: str | None = None,
) -> PolicyRecord:
    """Write ``<id>.safetensors`` and ``<id>.json`` into ``directory`` and return the record."""
    tensors = dict(policy.state_dict())
    config = policy.config.stored()
    identity = content_id(tensors, {"config": config, "features": list(feature_names)})
    record = PolicyRecord(
        identity, config, feature_names, policy.members, data_sha256, parent, note, __version__
    )
    write_weights(directory / record.id, tensors, asdict(record))
    return record


def load_policy(directory: Path, policy_id: str) -> tuple[Policy, PolicyRecord]:
    """Read a stored policy.

    Raises:
        CheckpointError: it is missing, damaged or not what its name says.
    """
    tensors, data = read_weights(directory / policy_id)
    try:
        record = PolicyRecord(**{**data, "feature_names": tuple(data["feature_names"])})
        config = PolicyConfig(**record.config)
        policy = Policy(len(record.feature_names), config, record.members, torch.Generator())
        policy.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "a checkpoint must hold a complete policy",
            f"{policy_id} with missing or unfitting parts",
            "Restore the file or train again.",
        ) from error
    identity = content_id(
        dict(policy.state_dict()),
        {"config": record.config, "features": list(record.feature_names)},
    )
    if identity != policy_id:
        raise CheckpointError(
            "a checkpoint's content must match its id",
            f"{identity} in the file named {policy_id}",
            "Restore the file or train again.",
        )
    return policy, record


def save_training(training: Training, path: Path, config: TrainConfig, identity: JsonDict) -> None:
    """Write a training in progress to ``path`` (two files, each replaced atomically).

    Args:
        training: the state to keep.
        path: file name without suffix.
        config: settings it runs under.
        identity: what must match at resumption (data hash, features, policy config).
    """
    tensors = {f"policy.{k}": v.detach() for k, v in training.policy.state_dict().items()}
    if training.critic is not None:
        tensors |= {f"critic.{k}": v.detach() for k, v in training.critic.state_dict().items()}
    for name, parameter in named_parameters(training):
        for key, value in training.optimizer.state.get(parameter, {}).items():
            tensors[f"adam.{key}.{name}"] = torch.as_tensor(value)
    tensors["generator"] = training.generator.get_state()
    tensors["frozen"] = training.frozen
    tensors |= {f"best.{name}": value for name, value in training.best.items()}
    meta = {
        "iteration": training.iteration,
        "history": training.history,
        "checks": training.checks,
        "setbacks": training.setbacks,
        "config": config.model_dump(),
        "identity": identity,
    }
    # The iteration travels in both files: a kill between the two writes is then seen.
    tensors["iteration"] = torch.tensor(training.iteration)
    write_weights(path, tensors, meta)


def load_training(
    path: Path, policy: Policy, config: TrainConfig, identity: JsonDict
) -> Training | None:
    """Read a training back into ``policy``; None where nothing usable was kept.

    One that ceased to be finite goes on under another learning rate, too; ``setbacks`` tells where.

    Raises:
        CheckpointError: it belongs to other settings or data, or is damaged.
    """
    if not path.with_suffix(".json").exists():
        return None
    tensors, meta = read_weights(path)
    try:
        # Settings that came later than the file have their defaults.
        before = type(config)(**meta["config"])
        setback = meta.get("setback")
        same = _without_rate(before) == _without_rate(config) if setback else before == config
        if not same or meta["identity"] != identity:
            raise CheckpointError(
                "a training goes on only with its own settings and data",
                f"other settings in {path.with_suffix('.json')}",
                "Delete that file to start anew, or restore the settings.",
            )
        if int(tensors["iteration"]) != meta["iteration"]:
            return None
        training = _restore(tensors, meta, policy, config)
        if setback and before != config:
            training.setbacks.append(setback)
        return training
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "a kept training must be complete",
            f"{path} with missing or unfitting parts",
            "Delete both files to start anew.",
        ) from error


def _restore(
    tensors: dict[str, Tensor], meta: JsonDict, policy: Policy, config: TrainConfig
) -> Training:
    policy.load_state_dict(_under("policy.", tensors))
    generator = torch.Generator()
    training = start_training(policy, config, generator)
    if training.critic is not None:
        training.critic.load_state_dict(_under("critic.", tensors))
    kept = _under("adam.", tensors)
    for name, parameter in named_parameters(training):
        training.optimizer.state[parameter] = {
            key.partition(".")[0]: value
            for key, value in kept.items()
            if key.partition(".")[2] == name
        }
    # Starting drew the critic's first weights.
    generator.set_state(tensors["generator"])
    training.frozen = tensors["frozen"]
    training.iteration, training.history = meta["iteration"], meta["history"]
    training.checks = [(at, score) for at, score in meta.get("checks", [])]
    training.best = _under("best.", tensors)
    training.setbacks = list(meta.get("setbacks", []))
    return training


def mark_setback(path: Path, config: TrainConfig, iteration: int) -> int | None:
    """Note in a kept training that it ceased to be finite in ``iteration``.

    Args:
        path: file name without suffix.
        config: settings under which it did.
        iteration: the first one that does not count.

    Returns:
        The iteration from which it can go on; None where nothing was kept.
    """
    file = path.with_suffix(".json")
    if not file.exists():
        return None
    _, meta = read_weights(path)
    kept = int(meta["iteration"])
    meta["setback"] = {"at": iteration, "back_to": kept, "learning_rate": config.rate(0)}
    replace_text(file, json.dumps(meta, indent=1, sort_keys=True))
    return kept


def _without_rate(config: TrainConfig) -> JsonDict:
    settings = config.model_dump()
    del settings["learning_rate"], settings["ppo"]["learning_rate"]
    return settings


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
