"""One base class for every error that a user can cause; each message says how to go on."""

__all__ = [
    "AccessError",
    "AccountingError",
    "AuditError",
    "BrokerError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "LookAheadError",
    "NotEnoughAnswersError",
    "ReviewError",
    "RunError",
    "StoreError",
    "TradingRlhfError",
    "TrainingError",
    "validation_words",
]

_LONGEST = 400
"""Characters of what came that an error repeats."""


class TradingRlhfError(Exception):
    """An error with its invariant, the value that broke it and the remedy.

    Args:
        must: what must hold ("closes must be positive").
        got: what came ("-3.0 for AAPL on 2009-03-02").
        remedy: what to do ("Fix the file or drop that row.").
    """

    def __init__(self, must: str, got: str, remedy: str) -> None:
        # What came may be a file's whole content.
        got = got if len(got) <= _LONGEST else f"{got[: _LONGEST - 3]}..."
        self.must, self.got, self.remedy = must, got, remedy
        super().__init__(f"{must}; got {got}. {remedy}")


class DataError(TradingRlhfError):
    """Market data that cannot be used as it is."""


class LookAheadError(TradingRlhfError):
    """Something decided at t depends on what was known only later."""


class AccountingError(TradingRlhfError):
    """Weights, prices or costs that the law cannot settle."""


class CheckpointError(TradingRlhfError):
    """A stored policy or reward model that cannot be loaded."""


class ReviewError(TradingRlhfError):
    """An answer that cannot be taken: closed, expired or malformed."""


class NotEnoughAnswersError(TradingRlhfError):
    """Fewer answers than a fit or a figure needs."""


class AccessError(TradingRlhfError):
    """A login, session or role that does not allow this."""


class StoreError(TradingRlhfError):
    """A database that cannot be opened, migrated or written."""


class AuditError(TradingRlhfError):
    """A broken, truncated or unsigned chain of events."""


class BrokerError(TradingRlhfError):
    """A signal or order that must not or cannot be sent."""


class ConfigError(TradingRlhfError):
    """A configuration with an unknown key or a value out of range."""


class RunError(TradingRlhfError):
    """A run directory that is missing, incomplete or in use."""


class TrainingError(TradingRlhfError):
    """A training that cannot go on: its numbers are no longer finite or explode."""


def validation_words(message: str) -> str:
    """Say a message of pydantic's ("Input should be a valid number") as part of a sentence."""
    message = message.removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"
