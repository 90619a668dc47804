"""Processes that run jobs of a sweep: on this machine, or over Ray.

A worker that dies takes one job with it and nothing else: that job comes back with the reason.
"""

import contextlib
import importlib
import io
import os
import secrets
import signal
import socket
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol

from trading_rlhf.errors import RunError
from trading_rlhf.loop.sweep_cell import CellResult, Job, run_job

__all__ = ["LocalWorkers", "RayWorkers", "Workers", "usable_cores"]

_DIED = "its worker process was killed"
_RAY_OBJECTS = 100 * 2**20
"""Bytes of Ray's object store: results are some kilobytes each."""


class Workers(Protocol):
    """A number of processes, each with at most one job."""

    @property
    def idle(self) -> int:
        """How many more jobs may be started now."""
        ...

    @property
    def busy(self) -> int:
        """How many jobs have been started and not yet come back."""
        ...

    def start(self, job: Job) -> None:
        """Give a job to an idle worker."""
        ...

    def next(self) -> tuple[Job, list[CellResult] | str]:
        """Wait for a job; returns it with its results, or with why it was lost."""
        ...

    def close(self) -> None:
        """Stop every worker, whatever it is doing."""
        ...


class LocalWorkers:
    """Processes of this machine, one torch thread each.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        # Spawned, as a forked torch may hang in locks that its threads held.
        self._context = get_context("spawn")
        self._lifeline, self._held = self._context.Pipe(duplex=False)
        self._pools: list[ProcessPoolExecutor] = []
        self._jobs: dict[Future[list[CellResult]], tuple[Job, ProcessPoolExecutor]] = {}

    @property
    def idle(self) -> int:
        """How many more jobs may be started now."""
        return self._count - self.busy

    @property
    def busy(self) -> int:
        """How many jobs have been started and not yet come back."""
        return len(self._jobs)

    def start(self, job: Job) -> None:
        """Give a job to an idle worker."""
        # A pool of one process each: of a larger pool, one death would break every job.
        pool = self._pools.pop() if self._pools else self._hire()
        self._jobs[pool.submit(run_job, job)] = (job, pool)

    def next(self) -> tuple[Job, list[CellResult] | str]:
        """Wait for a job; returns it with its results, or with why it was lost."""
        done, _ = wait(self._jobs, return_when=FIRST_COMPLETED)
        future = done.pop()
        job, pool = self._jobs.pop(future)
        try:
            results = future.result()
        except BrokenProcessPool:
            pool.shutdown()
            return job, _DIED
        self._pools.append(pool)
        return job, results

    def close(self) -> None:
        """Stop every worker, whatever it is doing."""
        for pool in self._pools:
            pool.shutdown()
        self._held.close()
        for _, pool in self._jobs.values():
            pool.shutdown()
        self._lifeline.close()

    def _hire(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1, self._context, initializer=_tie_to_parent, initargs=(self._lifeline,)
        )


def _tie_to_parent(lifeline: Connection) -> None:
    """End this worker when the sweep ends, even by a kill; Ctrl+C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class RayWorkers:
    """Tasks of a Ray cluster, one core each.

    Args:
        address: "local" starts Ray on this machine; else where a cluster is ("host:6379").
        count: tasks at a time; None means the cluster's cores, or this machine's.

    Raises:
        RunError: Ray is not installed or the cluster cannot be reached.
    """

    def __init__(self, address: str, count: int | None) -> None:
        self._ray = ray = _ray(address)
        local = {
            "num_cpus": count or usable_cores(),
            "object_store_memory": _RAY_OBJECTS,
            "include_dashboard": False,
        }
        try:
            _check_reachable(address)
            ray.init(
                address=address,
                logging_level="ERROR",
                log_to_driver=False,
                **(local if address == "local" else {}),
            )
        except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise RunError(
                "a sweep needs a Ray cluster that it can join",
                f"{address}: {(str(error).splitlines() or ['no answer'])[0].rstrip('.')}",
                "Start one with 'ray start --head', or use '--ray local'.",
            ) from error
        # Ray prints what happens to workers; the caller's output is for results alone.
        self._aside = contextlib.redirect_stdout(io.StringIO())
        self._aside.__enter__()
        cores = int(ray.cluster_resources().get("CPU", 1))
        self._count = count or max(cores, 1)
        # Lost jobs are started again by the sweep, so that they are counted in one place.
        self._run = ray.remote(num_cpus=1, max_retries=0)(run_job)
        self._jobs: dict[Any, Job] = {}

    @property
    def idle(self) -> int:
        """How many more jobs may be started now."""
        return self._count - self.busy

    @property
    def busy(self) -> int:
        """How many jobs have been started and not yet come back."""
        return len(self._jobs)

    def start(self, job: Job) -> None:
        """Give a job to an idle worker."""
        self._jobs[self._run.remote(job)] = job

    def next(self) -> tuple[Job, list[CellResult] | str]:
        """Wait for a job; returns it with its results, or with why it was lost."""
        (done, *_), _ = self._ray.wait(list(self._jobs), num_returns=1)
        job, errors = self._jobs.pop(done), self._ray.exceptions
        try:
            results: list[CellResult] = self._ray.get(done)
        except (errors.WorkerCrashedError, errors.NodeDiedError):
            return job, _DIED
        except errors.RayError as error:
            # The last line names the error, those above are the other machine's traceback.
            return job, (str(error).strip().splitlines() or ["Ray lost it"])[-1]
        return job, results

    def close(self) -> None:
        """Stop every worker, whatever it is doing."""
        self._ray.shutdown()
        self._aside.__exit__(None, None, None)


def _ray(address: str) -> Any:
    """Import Ray, which reads its settings from the environment when it loads."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local" and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on every interface; without a token of ours it writes one into the home.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise RunError(
            "a sweep over Ray needs the package ray",
            "none installed",
            "Install it with pip install 'trading_rlhf[ray]', or leave --ray out.",
        ) from error


def _check_reachable(address: str) -> None:
    """Raise OSError where nothing listens; Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
