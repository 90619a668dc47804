"""A run directory: its configuration, its store and its bars."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trading_rlhf.config import RunConfig, read_config
from trading_rlhf.loop import require_run
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import Store, open_store
from trading_rlhf.types import Clock

__all__ = ["Run", "open_run", "system_clock"]


@dataclass(frozen=True)
class Run:
    """An open run.

    Attributes:
        path: the run directory.
        config: its settings, from ``config.yaml``.
        store: its database.
    """

    path: Path
    config: RunConfig
    store: Store

    def close(self) -> None:
        """Close the database."""
        self.store.close()


def system_clock() -> datetime:
    """Return the present (UTC): the one clock that screens and servers pass down."""
    return datetime.now(UTC)  # noqa: TID251


def open_run(path: str | Path, secrets: Secrets, clock: Clock) -> Run:
    """Open a run directory.

    Args:
        path: ``runs/<name>``.
        secrets: the audit key signs what is stored.
        clock: the present.

    Raises:
        RunError: there is no such run.
        ConfigError: its configuration cannot be read.
        StoreError: its database cannot be opened.
    """
    folder = Path(path)
    require_run(folder)
    config = read_config(folder / "config.yaml")
    return Run(folder, config, open_store(folder / "store.db", secrets.audit_key, clock))
