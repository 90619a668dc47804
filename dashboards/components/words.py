"""How an error is said on a screen."""

from trading_rlhf.errors import TradingRlhfError

__all__ = ["sentence"]


def sentence(error: TradingRlhfError) -> str:
    """Return the error as sentences that begin with a capital letter."""
    text = str(error)
    return text[:1].upper() + text[1:]
