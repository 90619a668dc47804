"""Scalars of a training for TensorBoard, where that is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trading_rlhf.agent import TrainConfig, Training
from trading_rlhf.loop.fitting import Watch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["tensorboard_scalars"]


@contextmanager
def tensorboard_scalars(folder: Path, config: TrainConfig) -> Iterator[Watch | None]:
    """Give a watch that writes reward, learning rate, checks and figures to ``folder``.

    The figures are those of the method: the gradient norm, and for ppo its divergence (``kl``),
    ``clip_fraction``, ``value_loss``, ``explained_variance`` and ``exploration_std``.

    Args:
        folder: where event files are written; made with the first scalar.
        config: settings of the training.

    Returns:
        The watch; None where the package tensorboard is not installed.
    """
    if find_spec("tensorboard") is None:
        yield None
        return
    scalars = _Scalars(folder, config)
    try:
        yield scalars.write
    finally:
        scalars.close()


class _Scalars:
    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self._folder, self._config = folder, config
        self._writer: SummaryWriter | None = None
        self._training: Training | None = None
        self._checks = 0

    def write(self, training: Training) -> None:
        """Write one iteration."""
        step = training.iteration
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # A killed process wrote further than its checkpoint.
            self._writer = SummaryWriter(self._folder, purge_step=step)
            self._checks = len(training.checks)
        self._training = training
        named = {"reward": training.history[-1]}
        named |= {name: values.tolist() for name, values in training.figures.items()}
        for name, values in named.items():
            for member, value in enumerate(values):
                self._writer.add_scalar(f"{name}/{member}", value, step)
        self._writer.add_scalar("learning_rate", self._config.rate(step - 1), step)
        self._write_checks()

    def close(self) -> None:
        """Write the last check, too, which comes after the last iteration."""
        if self._writer is not None:
            self._write_checks()
            self._writer.close()

    def _write_checks(self) -> None:
        if self._writer is None or self._training is None:
            return
        for step, score in self._training.checks[self._checks :]:
            self._writer.add_scalar("stopping_bars", score, step)
        self._checks = len(self._training.checks)
