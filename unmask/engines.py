"""Who does many jobs: this process, several processes, or Ray on many machines.

Every engine calls the very same object for each job; only the order of the answers differs.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

from unmask.errors import SettingError, UnmaskError, require

ENGINES = ("local", "ray")

Job = TypeVar("Job")
Answer = TypeVar("Answer")

# Jobs that wait for each worker: enough to keep it busy, few enough for any number of jobs.
_AHEAD = 4
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def work_through(
    work: Callable[[Job], Answer],
    jobs: Sequence[Job],
    *,
    engine: str = "local",
    workers: int = 1,
    ray_address: str | None = None,
    jobs_a_task: int = 1,
) -> Iterator[Answer]:
    """Do every job once.

    Args:
        work: What to do with a job; with more than this process it must be picklable. Each worker
            gets it once and calls it for job after job, so it may keep what was slow to load.
        jobs: The jobs, picklable. What they name must be there on every machine (a network file
            system).
        engine: "local" or "ray".
        workers: Number of processes, or of Ray actors with one processor each. A single local
            worker is this process.
        ray_address: Of a running cluster; Ray is started on this machine when None.
        jobs_a_task: Jobs whose answers Ray gives together.

    Yields:
        The answers as they are finished.

    Raises:
        UnmaskError: Ray is not installed or cannot be started, or a worker was lost.
        SettingError: The engine is unknown, there is not a single worker, or an address is given
            for another engine than Ray.

    Example:
        >>> list(work_through(abs, [-1, 2]))
        [1, 2]
    """
    if engine not in ENGINES:
        raise SettingError(f"engine must be one of {ENGINES}. Received: engine={engine!r}")
    if workers < 1:
        raise SettingError(f"workers must be at least 1. Received: workers={workers}")
    if ray_address is not None and engine != "ray":
        raise SettingError(
            f"ray_address is for the engine 'ray'. Received: {engine=}, {ray_address=}"
        )
    if engine == "ray":
        return _with_ray(work, jobs, workers, ray_address, jobs_a_task)
    return map(work, jobs) if workers == 1 else _with_processes(work, jobs, workers)


def one_thread_each() -> None:
    """Let numerical libraries that are loaded later use one thread a process.

    Workers share the processors among themselves; and one thread always adds in one order, so
    that results do not depend on the number of workers. Processes begun later do the same.
    """
    for name in _THREADS:
        os.environ.setdefault(name, "1")


# === Processes ===


class Workers:
    """Processes that hold one function and call it for job after job; they end with this one.

    Args:
        work: The function, picklable.
        count: Number of processes.
        environment: Variables that are set in them before the function's code is imported.
    """

    def __init__(
        self, work: Callable[[Any], Any], count: int, environment: Mapping[str, str] | None = None
    ) -> None:
        # Threads, which TensorFlow and JAX have, do not survive a fork: the processes start afresh.
        context = get_context("spawn")
        self._listened, self._lifeline = context.Pipe(duplex=False)
        # Pickled here, so that the environment is set before the work is imported.
        given = (pickle.dumps(work), dict(environment or {}), self._listened)
        self._pool = ProcessPoolExecutor(count, context, _begin, given)

    def submit(self, job: Any) -> Future[Any]:
        """Order a job."""
        return self._pool.submit(_do, job)

    def close(self) -> None:
        """End the processes, whatever they have begun."""
        self._lifeline.close()
        self._pool.shutdown(cancel_futures=True)
        self._listened.close()


def _with_processes(
    work: Callable[[Job], Answer], jobs: Sequence[Job], count: int
) -> Iterator[Answer]:
    waiting = iter(jobs)
    workers = Workers(work, count)
    pending: set[Future[Answer]] = set()
    try:
        while True:
            room = _AHEAD * count - len(pending)
            pending |= {workers.submit(job) for job in islice(waiting, room)}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise UnmaskError(
            f"a worker process was killed, perhaps for want of memory. Received: workers={count}"
        ) from error
    finally:
        workers.close()


# The work of a worker process, which has no other place for it: a pool passes functions only.
_given: list[Callable[[Any], Any]] = []


def _begin(work: bytes, environment: Mapping[str, str], lifeline: Connection) -> None:
    # First, as unpickling may take seconds. Ctrl-C reaches all processes of a terminal; this one
    # ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    os.environ |= environment
    import cv2

    cv2.setNumThreads(1)  # the processes are as many as cores
    _given[:] = [pickle.loads(work)]


def _end_with(lifeline: Connection) -> None:
    """End this process when its parent lets go of the line, or is killed itself."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _do(job: Any) -> Any:
    return _given[0](job)


# === Ray ===


def _with_ray(
    work: Callable[[Job], Answer],
    jobs: Sequence[Job],
    workers: int,
    address: str | None,
    jobs_a_task: int,
) -> Iterator[Answer]:
    require("the engine 'ray'", "'unmask[scale]'", "ray")
    ray: Any = importlib.import_module("ray")
    importlib.import_module("ray.data")
    if not jobs:
        return
    if address is not None:
        _require_answer(address)
    started = not ray.is_initialized()
    if started:
        # A machine of this number of processors, whatever it has: workers may share them.
        local: dict[str, Any] = {"num_cpus": workers} if address is None else {}
        quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
        try:
            ray.init(address=address, **quiet, **local)
        # Ray raises bare exceptions here: no cluster there, or a machine too busy to start one.
        except Exception as error:
            raise UnmaskError(f"Ray could not be started: {error}") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        # It warns that it shows no progress bars, because it was told to show none.
        logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
        rows = [{"job": pickle.dumps(job)} for job in jobs]
        tasks = max(workers, -(-len(rows) // jobs_a_task))
        data = ray.data.from_items(rows, override_num_blocks=min(tasks, len(rows)))
        answers = data.map(
            _RayWorker,
            fn_constructor_args=(pickle.dumps(work),),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for row in answers.iter_rows():
            yield cast(Answer, pickle.loads(row["answer"]))
    except ray.exceptions.RayError as error:
        raise UnmaskError(f"Ray stopped: {error}") from error
    finally:
        if started:
            ray.shutdown()


def _require_answer(address: str) -> None:
    """Knock at HOST:PORT; Ray itself would go on trying for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # "auto" and other names that Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UnmaskError(f"no Ray cluster answers at {address} ({error})") from error


class _RayWorker:
    """The work, whose jobs come, and whose answers go, as table rows."""

    def __init__(self, work: bytes) -> None:
        # Ray tells the libraries of OpenMP alone how many processors an actor has. It is set
        # before the work is unpickled, and anything numerical imported with it.
        one_thread_each()
        self._work = pickle.loads(work)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"answer": pickle.dumps(self._work(pickle.loads(row["job"])))}
