"""Endless, repeatable batches, made ahead by a thread or by worker processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from unmask.engines import Workers

Sampler = Callable[[int], Any]
"""From a batch's number to the batch. It depends on nothing else, so that a training that was
interrupted goes on with the batches that it has not seen; for processes it can be pickled."""

Submit = Callable[[int], "Future[Any]"]

# Of the processes, which are as many as cores; and the accelerator is the training's.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
}


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
        self._closing = contextlib.ExitStack()
        if workers == 0:
            from threadpoolctl import threadpool_limits

            # Small products on several threads, beside those of a training, mostly wait for each
            # other: the linear completion took four times the processor time.
            self._closing.enter_context(threadpool_limits(1, user_api="blas"))
            thread = ThreadPoolExecutor(1, thread_name_prefix="samples")
            self._closing.callback(thread.shutdown, wait=False, cancel_futures=True)
            self._submit: Submit = lambda number: thread.submit(sampler, number)
        else:
            pool = Workers(sampler, workers, _ENVIRONMENT)
            self._closing.callback(pool.close)
            self._submit = pool.submit
        self._closed, self._asking = False, threading.Lock()
        self._numbers = itertools.count(first)
        self._ready: deque[Future[Any]] = deque()
        for _ in range(2 * workers + 4):
            self._order()

    def __next__(self) -> Any:
        """Return the next batch; an error in the sampler is raised here."""
        with self._asking:
            try:
                if not self._closed:
                    batch = self._ready.popleft().result()
                    self._order()
                    return batch
            except (CancelledError, RuntimeError):  # what is closed takes no orders
                if not self._closed:
                    raise
            raise StopIteration

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop making batches; there are none after it, for other threads that ask neither.

        A thread of TensorFlow's that still asked when Python ends would keep the process for ever.
        """
        self._closed = True
        self._closing.close()
        with self._asking:
            self._ready.clear()

    def _order(self) -> None:
        self._ready.append(self._submit(next(self._numbers)))
