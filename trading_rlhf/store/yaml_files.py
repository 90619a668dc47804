"""YAML files of settings: plain words and values, nothing that surprises whoever reads them."""

from pathlib import Path
from typing import Any, Final

import yaml

from trading_rlhf.errors import ConfigError

__all__ = ["read_mapping"]

_LARGEST: Final = 1_000_000


class _Plain(yaml.SafeLoader):
    """YAML without references, and with each key once: a second one would silently win."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("a reference (*name); write the value out")
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            words = all(key.tag == "tag:yaml.org,2002:str" for key, _ in node.value)
            if not words:
                raise yaml.YAMLError("a key that is no word")
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise yaml.YAMLError(f"{repeated[0]} twice")
        return node


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Read keys and values.

    Args:
        path: the file, up to a megabyte.
        what: names its kind in errors ("a configuration").

    Raises:
        ConfigError: it cannot be read, is too large, or holds no keys and values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > _LARGEST:
            raise yaml.YAMLError(f"{len(text)} characters")
        loaded = yaml.load(text, _Plain)  # noqa: S506 - a SafeLoader that allows even less
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = "too many levels" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            f"{what} is a readable YAML file",
            f"{path}: {reason.splitlines()[0] if reason else type(error).__name__}",
            "Correct the path or the file.",
        ) from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{what} holds keys and values", f"{path}: {loaded!r}", "See the README.")
    return loaded
