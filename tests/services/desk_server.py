"""The real server process on a free port, for tests over HTTP and in a browser."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trading_rlhf.services.secrets import Secrets

__all__ = ["serve"]

_START_SECONDS = 180


@contextmanager
def serve(run_dir: Path, secrets: Secrets, log: Path) -> Iterator[str]:
    """Run ``python -m dashboards.server`` and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "TRLHF_RUN": str(run_dir),
        "TRLHF_PORT": str(port),
        "TRLHF_AUDIT_KEY": secrets.audit_key.decode(),
        "TRLHF_SESSION_KEY": secrets.session_key,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboards.server"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/auth/login")
            connection.getresponse().read()
            connection.close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
