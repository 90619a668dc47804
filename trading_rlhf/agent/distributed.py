"""Data-parallel training: processes that share each batch and take the same gradient step.

Every rank draws the whole batch's bars and chance from the same generator and rolls out its own
rows. What they find is averaged, weighted by rows (synchronous stochastic gradient descent; Li et
al. 2020, arXiv 2006.15704), so that the weights stay the same on every rank, and those of one
process with the whole batch but for rounding.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from trading_rlhf.env import GateConfig, draw_answers
from trading_rlhf.errors import RunError

__all__ = ["ALONE", "Ranks", "Share", "draw_own_answers", "join_ranks", "started_with_others"]

_LAST_WORDS = timedelta(seconds=10)
"""How long a process that has nothing to add waits for the one that says why all end."""


@dataclass(frozen=True)
class Share:
    """A rank's rows of a batch.

    Attributes:
        rows: which.
        whole: rows of the batch.
        weight: of what these rows give in the average over the batch.
    """

    rows: slice
    whole: int
    weight: float


@dataclass(frozen=True)
class Ranks:
    """Processes that train together; by itself one process alone, for which nothing is exchanged.

    All ranks call the same methods in the same order. Each of them raises RunError where another
    rank is lost.

    Attributes:
        rank: this one, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process keeps and shows what all do."""
        return self.rank == 0

    def share(self, n_rows: int) -> Share:
        """This rank's part of ``n_rows``; of fewer than there are ranks each takes them all."""
        if n_rows < self.count:
            return Share(slice(0, n_rows), n_rows, 1.0 / self.count)
        start, stop = (n_rows * rank // self.count for rank in (self.rank, self.rank + 1))
        return Share(slice(start, stop), n_rows, (stop - start) / n_rows)

    def average(self, tensors: Sequence[Tensor], weight: float) -> list[Tensor]:
        """Average tensors over ranks in one exchange; the ``weight`` of all ranks adds up to 1."""
        if self.count == 1:
            return list(tensors)
        flat = torch.cat([each.reshape(-1) for each in tensors]) * weight
        _exchange(dist.all_reduce, flat)
        parts = torch.split(flat, [each.numel() for each in tensors])
        return [part.view_as(each) for part, each in zip(parts, tensors, strict=True)]

    def gather(self, tensors: Sequence[Tensor], share: Share, dim: int) -> list[Tensor]:
        """Put the rows of all ranks together.

        Args:
            tensors: this rank's rows along ``dim``; floats of one dtype, the first among them,
                and bools.
            share: which of the batch they are.
            dim: dimension of the rows, the same in all tensors.

        Returns:
            Each tensor with the rows of the whole batch.
        """
        if self.count == 1:
            return list(tensors)
        moved = [each.movedim(dim, 0) for each in tensors]
        flat = [each.flatten(1).to(tensors[0].dtype) for each in moved]
        whole = flat[0].new_zeros(share.whole, sum(each.shape[1] for each in flat))
        whole[share.rows] = torch.cat(flat, 1)
        # Nobody else fills these rows, so that the sum copies them.
        _exchange(dist.all_reduce, whole)
        parts = torch.split(whole, [each.shape[1] for each in flat], 1)
        return [
            part.reshape(share.whole, *each.shape[1:]).to(each.dtype).movedim(0, dim).contiguous()
            for part, each in zip(parts, moved, strict=True)
        ]

    def first_decides(self, work: Callable[[], float]) -> float:
        """What ``work`` gives on rank 0, for which the others wait."""
        if self.count == 1:
            return work()
        value = torch.zeros(1, dtype=torch.float64)
        if self.first:
            value[0] = work()
        _exchange(dist.broadcast, value, src=0)
        return float(value)

    def meet(self) -> None:
        """Wait until every rank has come this far."""
        self.first_decides(lambda: 0.0)


ALONE = Ranks()
"""One process."""


def draw_own_answers(
    gate: GateConfig, shape: torch.Size, share: Share, generator: torch.Generator
) -> Tensor | None:
    """Draw the answers to a whole batch (see ``draw_answers``) and keep a rank's own.

    Args:
        gate: the chance of an answer.
        shape: ``[S, B, N]`` of this rank's orders.
        share: its rows of the batch.
        generator: the source of chance, alike on every rank.

    Returns:
        ``[S, B, N]`` bool; None where all are answered.
    """
    drawn = draw_answers(gate, torch.Size((shape[0], share.whole, *shape[2:])), generator)
    return None if drawn is None else drawn[:, share.rows]


def started_with_others() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join_ranks(url: str | None = None) -> Iterator[Ranks]:
    """Meet the other processes that torchrun started, over gloo; otherwise be alone.

    Whatever ends one rank ends all: the others lose it at their next exchange. One of them says
    why, the one that failed first; the rest leave with status 1 and without a word.

    Args:
        url: where to meet, such as "file:///tmp/x?rank=0&world_size=2"; None is what torchrun says.

    Raises:
        RunError: the processes do not find each other.
    """
    if url is None and not started_with_others():
        yield ALONE
        return
    try:
        store, rank, count = next(rendezvous("env://" if url is None else url))
        dist.init_process_group(
            "gloo", store=PrefixStore("ranks", store), rank=rank, world_size=count
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(
            "the processes of a training must find each other",
            str(error).partition("\n")[0],
            "Start them with 'torchrun --standalone --nproc-per-node N -m -- trading_rlhf train'.",
        ) from error
    try:
        yield Ranks(rank, count)
    except (Exception, KeyboardInterrupt):
        if not _may_speak(store):
            raise SystemExit(1) from None
        raise
    finally:
        dist.destroy_process_group()


def _may_speak(store: Store) -> bool:
    """Whether this process is the first to fail; others wait until that one has spoken.

    torchrun kills the rest as soon as one process has ended.
    """
    try:
        if store.add("failed", 1) == 1:
            atexit.register(store.set, "said", "1")
            return True
        store.wait(["said"], _LAST_WORDS)
    except RuntimeError:
        # Who kept the store is gone, or was killed while it spoke.
        pass
    return False


def _exchange(collective: Callable[..., Any], values: Tensor, **more: int) -> None:
    """Run a collective operation on ``values`` in place."""
    try:
        collective(values, **more)
    except RuntimeError as error:
        raise RunError(
            "every process of a training must stay until its end",
            "the loss of one",
            "Start the training again: it goes on from its last checkpoint.",
        ) from error
