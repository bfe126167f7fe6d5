"""Opening damaged files in a process of their own, which may hang or crash without harm."""

from __future__ import annotations

import importlib.util
import os
import random
import tempfile
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.kinds import KINDS, Kind
from unmask.errors import UnmaskError

SECONDS = 20.0
_MEMORY = 3 << 30


@dataclass
class Outcome:
    """What became of some files.

    Attributes:
        refused: How many were refused with an error of the package.
        accepted: How many were read.
        failures: What happened to the others, with their numbers.
    """

    refused: int = 0
    accepted: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.refused + self.accepted + len(self.failures)

    def add(self, number: int, said: str) -> None:
        """Count one file."""
        self.refused += said == "refused"
        self.accepted += said == "accepted"
        if said not in ("refused", "accepted"):
            self.failures.append(f"{number}: {said}")

    def __add__(self, other: Outcome) -> Outcome:
        """Return both together."""
        failures = [*self.failures, *other.failures]
        return Outcome(self.refused + other.refused, self.accepted + other.accepted, failures)


class Trial:
    """Opens damaged files of one kind in this process.

    Args:
        kind: The kind.
        folder: An empty folder.
    """

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._kind, self._path = kind, folder / kind.file
        self._samples = kind.samples()

    def open_good(self) -> None:
        """Open the files without damage."""
        for sample in self._samples:
            self._path.write_bytes(sample)
            self._kind.open(self._path)

    def __call__(self, number: int) -> str:
        """Return "refused", "accepted" or what went wrong."""
        rng = random.Random(number)
        self._path.write_bytes(self._kind.mutate(rng.choice(self._samples), rng))
        try:
            self._kind.open(self._path)
        except UnmaskError as error:
            str(error).encode()
            return "refused"
        except Exception as error:
            return " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return "accepted"


def can_open(kind: Kind) -> bool:
    """Tell whether the packages that a kind needs are installed."""
    return all(importlib.util.find_spec(name) for name in kind.needs)


def fuzz(kind: Kind, count: int) -> Outcome:
    """Open damaged files of one kind, numbers 0 to `count - 1`.

    A file that ends or stops the process is a failure, and another process goes on after it; the
    HDF5 library does both, which is why `unmask.hdf5` has a process and a time limit itself.
    """
    outcome = Outcome()
    if not can_open(kind):
        return outcome
    with tempfile.TemporaryDirectory() as folder:
        pool = _start(kind, folder)
        for number in range(count):
            try:
                said = pool.submit(_answer, number).result(SECONDS)
            except (BrokenProcessPool, futures.TimeoutError) as error:
                said = "refused" if kind.name == "HDF5" else f"process: {type(error).__name__}"
                _stop(pool)
                pool = _start(kind, folder)
            outcome.add(number, said)
        _stop(pool)
    return outcome


def _start(kind: Kind, folder: str) -> ProcessPoolExecutor:
    """Start a process that has opened the good files."""
    pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare, (kind.name, Path(folder)))
    pool.submit(int).result(120)
    return pool


def _stop(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown()


_trial: Trial  # of the process that opens the files


def _prepare(name: str, folder: Path) -> None:
    import resource

    from unmask import hdf5

    global _trial
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    hdf5._check_elsewhere = lambda path: None  # this is a process of its own already
    _trial = Trial(next(kind for kind in KINDS if kind.name == name), folder)
    _trial.open_good()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _answer(number: int) -> str:
    return _trial(number)
