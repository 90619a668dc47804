"""Starts the dashboard's server as a process of its own; the package never imports screens."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from trading_rlhf.errors import RunError

__all__ = ["open_dashboard"]


def open_dashboard(run: Path, port: int) -> int:
    """Serve the dashboard of a run on 127.0.0.1 until it is stopped; returns its exit status.

    Raises:
        RunError: the dashboards package is not installed.
    """
    if importlib.util.find_spec("dashboards") is None:
        raise RunError(
            "the dashboards package must be installed beside trading_rlhf",
            "no such package",
            "Install the project with 'pip install -e .'.",
        )
    environment = {**os.environ, "TRLHF_RUN": str(run.resolve()), "TRLHF_PORT": str(port)}
    command = [sys.executable, "-m", "dashboards.server"]
    try:
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        return 0
