"""Endless, repeatable batches, made ahead by a thread or by worker processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

Sampler = Callable[[int], Any]
"""From a batch's number to the batch. It depends on nothing else, so that a training that was
interrupted goes on with the batches that it has not seen; for processes it can be pickled."""

_sampler: Sampler | None = None  # of a worker process


def count_cores() -> int:
    """Return the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; `taskset -c 0` leaves one
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Return how many processes make samples: none, but a thread, on one or two cores."""
    cores = count_cores()
    return 0 if cores <= 2 else cores - 1


class Stream(Iterator[Any]):
    """Batches `first`, `first + 1`, ... in this order, each made ahead of its use.

    Args:
        sampler: Makes a batch.
        first: Number of the first batch.
        workers: Processes that make batches; 0 for a thread of this one, which costs no start and
            no copies, and suffices where a step takes longer than a batch.

    Example:
        >>> with Stream(lambda number: number * number, first=2) as stream:
        ...     [next(stream), next(stream)]
        [4, 9]
    """

    def __init__(self, sampler: Sampler, *, first: int = 0, workers: int = 0) -> None:
        self._make: Callable[[int], Any] = sampler if workers == 0 else _make
        self._executor: Executor
        self._closing = contextlib.ExitStack()
        if workers == 0:
            from threadpoolctl import threadpool_limits

            # Small products on several threads, beside those of a training, mostly wait for each
            # other: the linear completion took four times the processor time.
            self._closing.enter_context(threadpool_limits(1, user_api="blas"))
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="samples")
        else:
            # Not forked: TensorFlow and JAX have threads, which a fork would lose.
            context = get_context("spawn")
            # Pickled here, so that a worker has its settings before it imports the sampler's code.
            content = pickle.dumps(sampler)
            self._executor = ProcessPoolExecutor(workers, context, _install, (content, os.getpid()))
        self._numbers = itertools.count(first)
        self._ready: deque[Future[Any]] = deque()
        for _ in range(2 * workers + 4):
            self._order()

    def __next__(self) -> Any:
        """Return the next batch; an error in the sampler is raised here."""
        if not self._ready:
            raise StopIteration
        batch = self._ready.popleft().result()
        self._order()
        return batch

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop making batches; there are none after it."""
        self._ready.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._closing.close()

    def _order(self) -> None:
        self._ready.append(self._executor.submit(self._make, next(self._numbers)))


def _install(sampler: bytes, parent: int) -> None:
    """Prepare a worker process: one thread, no accelerator, and no life after its parent."""
    global _sampler

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    # First: what follows may take seconds. Ctrl-C, which all processes of a terminal get, would
    # end this one within an answer, for whose rest the parent would wait.
    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers are as many as cores, and the accelerator is the training's.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    import cv2

    cv2.setNumThreads(1)
    _sampler = pickle.loads(sampler)


def _make(number: int) -> Any:
    assert _sampler is not None
    return _sampler(number)
