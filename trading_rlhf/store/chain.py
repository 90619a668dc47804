"""The HMAC chain: each event's code covers its content and the code of the event before it."""

import hashlib
import hmac
import json
from dataclasses import dataclass

from trading_rlhf.errors import StoreError
from trading_rlhf.types import JsonDict

__all__ = ["Chain", "Link", "canonical_json", "sha256_hex"]

_SHORTEST_KEY = 16


def canonical_json(value: JsonDict) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII only.

    Raises:
        StoreError: the value holds something JSON has no word for (NaN, a date, an array).
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise StoreError(
            "a stored value must be plain JSON", str(error), "Convert dates, arrays and NaN first."
        ) from None


def sha256_hex(text: str) -> str:
    """Return the SHA-256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Link:
    """What the code of one event covers; ``payload`` is the canonical JSON text."""

    stream: str
    seq: int
    kind: str
    at: str
    actor: str
    subject: str | None
    key: str | None
    payload: str


class Chain:
    """Signs events and heads with the audit key, which it never shows."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _SHORTEST_KEY:
            raise StoreError(
                f"the audit key must have at least {_SHORTEST_KEY} bytes",
                f"{len(key)}",
                "Set TRLHF_AUDIT_KEY to a long random text.",
            )
        self._key = key

    def __repr__(self) -> str:
        return "Chain(key hidden)"

    def mac(self, previous: str, link: Link) -> str:
        """Return the code of an event that follows the one with code ``previous`` ("" at first)."""
        return self.sign("event", {"previous": previous, **vars(link)})

    def sign(self, purpose: str, value: JsonDict) -> str:
        """Return the code of a value; ``purpose`` keeps codes of one kind from serving another."""
        text = f"{purpose}\n{canonical_json(value)}"
        return hmac.new(self._key, text.encode("ascii"), hashlib.sha256).hexdigest()

    @property
    def key_id(self) -> str:
        """Names the key without telling it (16 hex digits)."""
        return self.sign("key", {})[:16]
