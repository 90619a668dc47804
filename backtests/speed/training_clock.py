"""Time spent on training until a score is reached; what evaluation takes counts for nobody."""

import time
from typing import Any

__all__ = ["Clock"]


class Clock:
    """Stopwatch of one training that knows which scores have been reached when.

    Args:
        levels: scores, as shares of the reference, of which the last ends the training.
        limit: seconds after which it ends without.
        check_steps: env-steps between two checks of the score, at least.

    Attributes:
        seconds: of training so far.
        processor_seconds: the same in processor time of all threads, which other work on the
            machine does not lengthen.
        best: highest score so far; None before the first check.
        reached: by level, seconds, processor seconds and env-steps at the first check at or above.
    """

    def __init__(self, levels: tuple[float, ...], limit: float, check_steps: int = 2048) -> None:
        self.levels, self.limit, self.check_steps = levels, limit, check_steps
        self.seconds = self.processor_seconds = 0.0
        self.env_steps = 0
        self.best: float | None = None
        self.reached: dict[float, dict[str, float]] = {}
        self._begun = (0.0, 0.0)

    def start(self) -> None:
        """Training goes on."""
        self._begun = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """Training pauses."""
        self.seconds += time.perf_counter() - self._begun[0]
        self.processor_seconds += time.process_time() - self._begun[1]

    def is_due(self, env_steps: int) -> bool:
        """Whether so many env-steps in all call for a check."""
        return env_steps - self.env_steps >= self.check_steps

    def note(self, score: float, env_steps: int) -> None:
        """Take a score (share of the reference) after so many env-steps in all; the clock rests."""
        self.env_steps = env_steps
        self.best = score if self.best is None else max(self.best, score)
        for level in self.levels:
            if score >= level and level not in self.reached:
                self.reached[level] = {
                    "seconds": self.seconds,
                    "processor_seconds": self.processor_seconds,
                    "env_steps": env_steps,
                }

    @property
    def over(self) -> bool:
        """Whether the last level is reached or the time is up."""
        return self.levels[-1] in self.reached or self.seconds >= self.limit

    def as_dict(self) -> dict[str, Any]:
        """What is reported of the training."""
        return {
            "reached": {f"{level:.0%}": figures for level, figures in self.reached.items()},
            "best_share": self.best,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "env_steps": self.env_steps,
        }
