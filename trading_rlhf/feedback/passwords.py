"""Password hashes (argon2id)."""

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from trading_rlhf.errors import AccessError

__all__ = ["dummy_hash", "hash_password", "needs_rehash", "verify_password"]

_SHORTEST, _LONGEST = 10, 200
_HASHER = PasswordHasher()


def hash_password(password: str) -> str:
    """Return the hash of a new password.

    Raises:
        AccessError: it has fewer than 10 or more than 200 characters.
    """
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise AccessError(
            f"a password has {_SHORTEST} to {_LONGEST} characters",
            f"{len(password)}",
            "Choose another.",
        )
    return _HASHER.hash(_plain(password))


def verify_password(hashed: str, password: str) -> bool:
    """Tell whether a password fits a hash; takes the same work either way."""
    try:
        # One character too many is enough to fail, and keeps a huge text from costing time.
        return _HASHER.verify(hashed, _plain(password[: _LONGEST + 1]))
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(hashed: str) -> bool:
    """Tell whether a hash was made with weaker settings than today's."""
    return _HASHER.check_needs_rehash(hashed)


@cache
def dummy_hash() -> str:
    """Return a hash that nobody's password has, to spend the work on for unknown names."""
    return _HASHER.hash(secrets.token_bytes(32))


def _plain(password: str) -> bytes:
    # Two keyboards may send one letter as different code points.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
