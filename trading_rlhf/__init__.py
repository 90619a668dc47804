"""A trainer for trading strategies that learns from the traders who review it."""

import os

# Spinning barriers of OpenMP cost up to 30 times on a shared machine; the policy must be set
# before torch or numba load their runtime.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import gymnasium

__all__ = ["__version__"]

__version__ = "0.1.0"

# By name, so that importing the package does not load torch.
gymnasium.register(
    id="trading_rlhf/Market-v0",
    entry_point="trading_rlhf.env.trading_env:TradingEnv",
    vector_entry_point="trading_rlhf.env.vector_env:VectorMarketEnv",
)
