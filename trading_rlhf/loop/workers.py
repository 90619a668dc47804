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
import traceback
from collections.abc import Iterator, Sized
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

_RAY_STARTS = 2
"""How often a cluster of this machine is started that does not come up."""

_RAY_PATIENCE = {
    "RAY_gcs_server_port_wait_time_s": "60",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_worker_register_timeout_seconds": "180",
}
"""How long the parts of Ray wait for each other; 5 to 60 s, as it has them, pass on busy cores."""


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


class _Crew:
    """How many workers there are, and the jobs that they have."""

    _count: int
    _jobs: Sized

    @property
    def idle(self) -> int:
        """How many more jobs may be started now."""
        return self._count - self.busy

    @property
    def busy(self) -> int:
        """How many jobs have been started and not yet come back."""
        return len(self._jobs)


class LocalWorkers(_Crew):
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

    def start(self, job: Job) -> None:
        """Give a job to an idle worker."""
        # A pool of one process each: of a larger pool, one death would break every job.
        pool = self._pools.pop() if self._pools else self._hire()
        with _interrupts_ignored():
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


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start within never hear of Ctrl+C, which is the parent's affair.

    It reaches them too while they still import torch, long before their initializer.
    """
    # Others than the main thread cannot set this.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tie_to_parent(lifeline: Connection) -> None:
    """End this worker when the sweep ends, even by a kill; Ctrl+C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class RayWorkers(_Crew):
    """Tasks of a Ray cluster, one core each.

    Args:
        address: "local" starts Ray on this machine; else where a cluster is ("host:6379").
        count: tasks at a time; None means the cluster's cores, or this machine's.

    Raises:
        RunError: Ray is not installed or the cluster cannot be reached.
    """

    def __init__(self, address: str, count: int | None) -> None:
        try:
            _check_reachable(address)
        except (OSError, OverflowError, ValueError) as error:
            raise _no_cluster(address, error) from error
        self._ray = ray = _ray(address)
        _join(ray, address, count or usable_cores())
        self._count = count or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        # Ray prints what happens to workers; the caller's output is for results alone.
        self._aside = contextlib.redirect_stdout(io.StringIO())
        self._aside.__enter__()
        # Lost jobs are started again by the sweep, so that they are counted in one place.
        self._run = ray.remote(num_cpus=1, max_retries=0)(run_job)
        self._jobs: dict[Any, Job] = {}

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
    """Import Ray; it and the processes it starts read their settings from the environment."""
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address == "local":
        settings |= _RAY_PATIENCE
        if "RAY_AUTH_MODE" not in os.environ:
            # Ray listens on every interface; without a token of ours it writes one into the home.
            # That tokens are asked for is left to Ray: were that set here, a Ray imported before
            # would start servers that ask for a token and send none.
            settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise RunError(
            "a sweep over Ray needs the package ray",
            "none installed",
            "Install it with pip install 'trading_rlhf[ray]', or leave --ray out.",
        ) from error


def _join(ray: Any, address: str, cores: int) -> None:
    """Connect this process to a cluster, or start one of this machine.

    Raises:
        RunError: there is none, it cannot be started, or this process has one already.
    """
    if ray.is_initialized():
        raise RunError(
            "a sweep joins a Ray cluster of its own",
            "a process that has joined one",
            "Call ray.shutdown() first.",
        )
    local = {
        "num_cpus": cores,
        "object_store_memory": _RAY_OBJECTS,
        "include_dashboard": False,
    }
    left = _RAY_STARTS if address == "local" else 1
    while left:
        left -= 1
        try:
            ray.init(
                address=address,
                logging_level="ERROR",
                log_to_driver=False,
                **(local if address == "local" else {}),
            )
        # Ray raises plain exceptions, too, such as for a node that takes long to start.
        except Exception as error:
            _stop_started(ray, error)
            if not left:
                raise _no_cluster(address, error) from error
        else:
            return


def _stop_started(ray: Any, error: Exception) -> None:
    """End the processes of a start that failed; only the frames of the error know them."""
    ray.shutdown()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        stop = getattr(frame.f_locals.get("self"), "kill_all_processes", None)
        if stop is not None:
            stop(check_alive=False, allow_graceful=False, wait=True)


def _no_cluster(address: str, error: Exception) -> RunError:
    return RunError(
        "a sweep needs a Ray cluster that it can join",
        f"{address}: {(str(error).splitlines() or ['no answer'])[0].rstrip('.: ')}",
        "Leave --ray out for processes of this machine."
        if address == "local"
        else "Start one with 'ray start --head', or use '--ray local'.",
    )


def _check_reachable(address: str) -> None:
    """Raise where nothing listens; Ray itself would go on trying for minutes.

    Raises:
        OSError: nobody answers.
        ValueError: this is no address.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
    elif address not in ("local", "auto") and "://" not in address:
        raise ValueError("an address is host:port, 'local' or 'auto'")


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
