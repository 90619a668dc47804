"""Price bars: where they come from, what they say, and when it was known."""

from trading_rlhf.market.bars import Bars, PriceHistory
from trading_rlhf.market.clock import next_session, session_close, session_open, trading_sessions
from trading_rlhf.market.sources import load_sample, read_bars, sample_names, write_bars

__all__ = [
    "Bars",
    "PriceHistory",
    "load_sample",
    "next_session",
    "read_bars",
    "sample_names",
    "session_close",
    "session_open",
    "trading_sessions",
    "write_bars",
]
