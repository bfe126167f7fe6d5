"""Who does the work on many faces: this process, several processes, or Ray on many machines.

Every engine calls the very same function for each face; only the order of the answers differs.
"""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from itertools import islice
from multiprocessing import get_context
from typing import Any

import numpy as np

from unmask.errors import UnmaskError
from unmask.synthesis.sources import SourceFace
from unmask.synthesis.worker import PairMaker, PairResult

ENGINES = ("local", "ray")

# Faces that wait for each worker: enough to keep it busy, few enough for any number of faces.
_AHEAD = 4
# Faces of one Ray task; what such a task has done is written down when it ends.
_FACES_A_TASK = 32


def run_local(maker: PairMaker, faces: Iterable[SourceFace], workers: int) -> Iterator[PairResult]:
    """Do the work on this machine.

    Args:
        maker: What to do with each face.
        faces: The faces.
        workers: Number of processes; 1 stays in this one.

    Yields:
        The results as they are finished.

    Raises:
        ValueError: There is not a single worker.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1. Received: workers={workers}")
    if workers == 1:
        yield from map(maker, faces)
        return
    waiting = iter(faces)
    # TensorFlow's threads do not survive a fork: the processes start afresh.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(maker,)
    ) as pool:
        pending: set[Future[PairResult]] = set()
        try:
            while True:
                room = _AHEAD * workers - len(pending)
                pending |= {pool.submit(_work, face) for face in islice(waiting, room)}
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            # After an interruption nobody waits for what has not begun.
            pool.shutdown(cancel_futures=True)


def run_ray(
    maker: PairMaker,
    faces: list[SourceFace],
    workers: int,
    address: str | None = None,
) -> Iterator[PairResult]:
    """Do the work with Ray Data, on this machine or on a cluster.

    Source and destination must be the same paths on every machine (a network file system).

    Args:
        maker: What to do with each face.
        faces: The faces.
        workers: Number of actors, one processor each.
        address: Of a running cluster; Ray is started on this machine when None.

    Yields:
        The results as they are finished.

    Raises:
        UnmaskError: Ray is not installed or cannot be started.
        ValueError: There is not a single worker.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1. Received: workers={workers}")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UnmaskError("the engine 'ray' needs: pip install 'unmask[scale]'") from error

    started = not ray.is_initialized()
    if started:
        # A machine of this number of processors, whatever it has: workers may share them.
        local: dict[str, Any] = {"num_cpus": workers} if address is None else {}
        try:
            ray.init(address=address, include_dashboard=False, logging_level="ERROR", **local)
        # Ray raises bare exceptions here: no cluster there, or a machine too busy to start one.
        except Exception as error:
            raise UnmaskError(f"Ray could not be started: {error}") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = [{"face": pickle.dumps(face)} for face in faces]
        tasks = max(workers, -(-len(rows) // _FACES_A_TASK))
        data = ray.data.from_items(rows, override_num_blocks=min(tasks, len(rows)))
        actors = ray.data.ActorPoolStrategy(size=workers)
        finished = data.map(_RayMaker, fn_constructor_args=(maker,), compute=actors, num_cpus=1)
        for row in finished.iter_rows():
            yield _from_json(row["result"])
    finally:
        if started:
            ray.shutdown()


class _RayMaker:
    """A `PairMaker` whose faces come, and whose results go, as table rows."""

    def __init__(self, maker: PairMaker) -> None:
        self._maker = maker

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"result": _to_json(self._maker(pickle.loads(row["face"])))}


# The maker of a worker process, which has no other place for it: a pool passes functions only.
_makers: list[PairMaker] = []


def _begin(maker: PairMaker) -> None:
    _makers[:] = [maker]


def _work(face: SourceFace) -> PairResult:
    return _makers[0](face)


def _to_json(result: PairResult) -> str:
    points = None if result.landmarks is None else result.landmarks.tolist()
    return json.dumps({**asdict(result), "landmarks": points})


def _from_json(text: str) -> PairResult:
    content = json.loads(text)
    points = content.pop("landmarks")
    return PairResult(
        **content, landmarks=None if points is None else np.asarray(points, np.float32)
    )
