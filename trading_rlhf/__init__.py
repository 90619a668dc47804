"""A trainer for trading strategies that learns from the traders who review it."""

import os

# Spinning barriers of OpenMP cost up to 30 times on a shared machine; the policy must be set
# before torch or numba load their runtime.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["__version__"]

__version__ = "0.1.0"
