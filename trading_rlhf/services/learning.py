"""Learning beside the review page: a fit starts when it is due and nobody waits for it."""

import threading
from pathlib import Path

from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.feedback import Progress
from trading_rlhf.loop import SettableClock, learn, open_context, rank_queue, single_user
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.types import Clock

__all__ = ["REFIT_EVERY", "BackgroundFit", "fit_due"]

REFIT_EVERY = 20
"""New answers after which the reward model is fitted again."""


def fit_due(progress: Progress) -> bool:
    """Whether a fit should start: the first at the needed number, then every few answers."""
    if progress.usable < progress.needed:
        return False
    return progress.trained_on == 0 or progress.usable >= progress.trained_on + REFIT_EVERY


class BackgroundFit:
    """Fits the reward model of a run in a thread of its own, one fit at a time.

    Args:
        run_dir: the run.
        secrets: keys from the environment.
        clock: the present.
    """

    def __init__(self, run_dir: str | Path, secrets: Secrets, clock: Clock) -> None:
        self._folder = Path(run_dir)
        self._secrets, self._clock = secrets, clock
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.problem: str | None = None

    def start_if_due(self, progress: Progress) -> bool:
        """Start a fit where one is due and none runs; returns whether it started.

        Args:
            progress: of any reviewer of the run.
        """
        with self._lock:
            running = self._thread is not None and self._thread.is_alive()
            if running or not fit_due(progress):
                return False
            self._thread = threading.Thread(target=self._fit, name="reward-fit", daemon=True)
            self._thread.start()
            return True

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the running fit, if any."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _fit(self) -> None:
        try:
            with single_user(self._folder):
                context = open_context(
                    self._folder, self._secrets.audit_key, SettableClock(self._clock)
                )
                try:
                    learn(context, simulated=False)
                    rank_queue(context)
                finally:
                    context.store.close()
            self.problem = None
        except TradingRlhfError as error:
            # Answers all alike, or a command at work on this run: the next answer tries again.
            self.problem = str(error)
