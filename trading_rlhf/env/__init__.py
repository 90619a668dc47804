"""The simulated market: pure dynamics, the approval gate and the environments over them."""

from trading_rlhf.env.challenge_setup import (
    Challenge,
    Setup,
    cut_market,
    join_markets,
    make_setup,
)
from trading_rlhf.env.challenges import CHALLENGES, LEVELS, challenge, challenge_env
from trading_rlhf.env.dynamics import MarketTensors, advance, advance_to_weights
from trading_rlhf.env.gate import GateConfig, is_asked, is_cooling, remember_refusals, smooth_gate
from trading_rlhf.env.orders import (
    Orders,
    carry,
    is_due,
    is_new,
    no_orders,
    place,
    remove,
    wanted_order,
)
from trading_rlhf.env.trading_env import TradingEnv
from trading_rlhf.env.vector_env import Accounts, VectorMarketEnv

__all__ = [
    "Accounts",
    "CHALLENGES",
    "Challenge",
    "GateConfig",
    "LEVELS",
    "MarketTensors",
    "Orders",
    "Setup",
    "TradingEnv",
    "VectorMarketEnv",
    "advance",
    "advance_to_weights",
    "carry",
    "challenge",
    "challenge_env",
    "cut_market",
    "is_asked",
    "is_cooling",
    "is_due",
    "is_new",
    "join_markets",
    "make_setup",
    "no_orders",
    "place",
    "remember_refusals",
    "remove",
    "smooth_gate",
    "wanted_order",
]
