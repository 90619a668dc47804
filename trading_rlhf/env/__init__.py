"""The simulated market: pure dynamics, the approval gate and the environments over them."""

from trading_rlhf.env.accounts import Accounts
from trading_rlhf.env.challenge_setup import (
    Challenge,
    Setup,
    cut_market,
    join_markets,
    make_setup,
)
from trading_rlhf.env.challenges import CHALLENGES, LEVELS, challenge, challenge_env
from trading_rlhf.env.dynamics import MarketTensors, advance, advance_to_weights
from trading_rlhf.env.gate import (
    GateConfig,
    draw_answers,
    hard_gate,
    is_asked,
    is_cooling,
    remember_refusals,
    smooth_gate,
)
from trading_rlhf.env.liquidity import Liquidity
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig
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
from trading_rlhf.env.reviewing import Reviewed, review
from trading_rlhf.env.trading_env import TradingEnv
from trading_rlhf.env.transition import Rules, Transition, transition
from trading_rlhf.env.vector_env import VectorMarketEnv

__all__ = [
    "Accounts",
    "CHALLENGES",
    "Challenge",
    "ConstraintConfig",
    "GateConfig",
    "LEVELS",
    "Liquidity",
    "MarketTensors",
    "ObjectiveConfig",
    "Orders",
    "Reviewed",
    "Rules",
    "Setup",
    "TradingEnv",
    "Transition",
    "VectorMarketEnv",
    "advance",
    "advance_to_weights",
    "carry",
    "challenge",
    "challenge_env",
    "cut_market",
    "draw_answers",
    "hard_gate",
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
    "review",
    "smooth_gate",
    "transition",
    "wanted_order",
]
