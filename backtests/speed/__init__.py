"""Speed, measured: each benchmark checks its result before it is timed."""

# First: it makes waiting threads sleep, which the runtimes of torch and numba read as they load.
import trading_rlhf

__all__: list[str] = []

_ = trading_rlhf.__version__
