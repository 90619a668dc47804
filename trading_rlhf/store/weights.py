"""Tensors on disk: safetensors for numbers, JSON for what they mean, both replaced atomically."""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trading_rlhf.errors import CheckpointError
from trading_rlhf.store.files import replace_text, whole_file
from trading_rlhf.types import JsonDict

__all__ = ["content_id", "read_weights", "write_weights"]


def content_id(tensors: dict[str, Tensor], meta: JsonDict) -> str:
    """First 16 hex digits of the sha256 of named tensors and what they mean."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_weights(path: Path, tensors: dict[str, Tensor], meta: JsonDict) -> None:
    """Write ``path``.safetensors and ``path``.json.

    Args:
        path: file name without suffix; its folder is made.
        tensors: any shapes.
        meta: JSON-ready description.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with whole_file(path.with_suffix(".safetensors")) as aside:
        save_file(plain, aside)
    replace_text(path.with_suffix(".json"), json.dumps(meta, indent=1, sort_keys=True))


def read_weights(path: Path) -> tuple[dict[str, Tensor], JsonDict]:
    """Read what ``write_weights`` wrote.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        meta: JsonDict = json.loads(path.with_suffix(".json").read_text())
        return load_file(path.with_suffix(".safetensors")), meta
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            "a checkpoint is a readable pair of .safetensors and .json",
            f"{path}: {error}",
            "Restore both files or train again.",
        ) from error
