"""The two keys of a desk: one signs the audit chain, the other the login cookies."""

import os
import secrets as random_source
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from trading_rlhf.errors import ConfigError

__all__ = ["Secrets", "load_secrets"]

_AUDIT = "TRLHF_AUDIT_KEY"
_SESSION = "TRLHF_SESSION_KEY"
_SHORTEST = 32


@dataclass(frozen=True, repr=False)
class Secrets:
    """Keys read from the environment; never written to a run or a log.

    Attributes:
        audit_key: HMAC key of the audit chain.
        session_key: key that signs session cookies.
    """

    audit_key: bytes
    session_key: str


def load_secrets(directory: Path = Path(".")) -> Secrets:
    """Read the keys from the environment, else from ``.env``, which is made where it is missing.

    Args:
        directory: where ``.env`` lies.

    Raises:
        ConfigError: only one of the two keys is set, or one is too short to be a key.
    """
    path = directory / ".env"
    values = {**dotenv_values(path), **os.environ}
    audit, session = values.get(_AUDIT), values.get(_SESSION)
    if not audit and not session:
        audit, session = random_source.token_hex(32), random_source.token_hex(32)
        _append(path, f"{_AUDIT}={audit}\n{_SESSION}={session}\n")
    if not audit or not session:
        missing = _SESSION if audit else _AUDIT
        raise ConfigError(
            "both keys must be set", f"no {missing}", f"Set {missing} or remove both."
        )
    for name, value in ((_AUDIT, audit), (_SESSION, session)):
        if len(value) < _SHORTEST:
            raise ConfigError(
                f"{name} must have at least {_SHORTEST} characters",
                f"{len(value)}",
                'Make one with: python -c "import secrets; print(secrets.token_hex(32))"',
            )
    return Secrets(audit.encode(), session)


def _append(path: Path, lines: str) -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if before and not before.endswith("\n"):
        lines = "\n" + lines
    # Only the owner may read it, from the moment it exists.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(lines)
    path.chmod(0o600)
