"""Price bars: where they come from, what they say, and when it was known."""

from trading_rlhf.market.bars import Bars, PriceHistory
from trading_rlhf.market.clock import next_session, session_close, session_open, trading_sessions

__all__ = [
    "Bars",
    "PriceHistory",
    "next_session",
    "session_close",
    "session_open",
    "trading_sessions",
]
