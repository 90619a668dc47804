"""How long work keeps the processor busy, which other processes do not lengthen."""

import time
from collections.abc import Callable
from typing import Any

__all__ = ["processor_seconds"]


def processor_seconds(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the quickest of some runs; the others may meet a collection of garbage."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)
