"""Opening damaged files in a process of their own, which may hang or crash without harm.

`python -m tests.fuzz.drive KIND FIRST LAST FOLDER` is that process. It writes a line a file: its
number, "begun"; and then "refused", "accepted" or what went wrong.
"""

from __future__ import annotations

import importlib.util
import os
import random
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.kinds import KINDS, ROOT, Kind
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


def fuzz(kind: Kind, count: int, first: int = 0) -> Outcome:
    """Open damaged files of one kind, numbers `first` to `first + count - 1`.

    A file that ends or stops the process is a failure, and another process goes on after it; the
    HDF5 library does both, which is why `unmask.hdf5` has a process and a time limit itself.
    """
    outcome, done = Outcome(), first
    if not can_open(kind):
        return outcome
    while done < first + count:
        for number, said in _answers(kind, done, first + count):
            done = number + 1
            refused = kind.name == "HDF5" and said.startswith("process:")
            outcome.add(number, "refused" if refused else said)
    return outcome


def _answers(kind: Kind, first: int, end: int) -> Iterator[tuple[int, str]]:
    """Yield the numbers of files and what became of them, until the process ends."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.drive",
            kind.name,
            str(first),
            str(end),
            folder,
        ]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            rest, number, begun = b"", first, False
            while select.select([process.stdout], [], [], SECONDS if begun else 120.0)[0]:
                block = os.read(process.stdout.fileno(), 1 << 16)
                if not block:
                    break
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    word, _, said = line.decode("utf-8", "replace").partition(" ")
                    number, begun = int(word), said == "begun"
                    if not begun:
                        yield number, said
            else:
                process.kill()
            status = process.wait()
        if begun or status:
            yield number, f"process: ended with status {status}" if begun else f"status {status}"


def _work(kind: Kind, first: int, end: int, folder: Path) -> None:
    import resource

    from unmask import hdf5

    hdf5._check_elsewhere = lambda path: None  # this is a process of its own already
    trial = Trial(kind, folder)
    trial.open_good()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for number in range(first, end):
        print(number, "begun", flush=True)
        print(number, trial(number).encode("utf-8", "replace").decode(), flush=True)


if __name__ == "__main__":
    _work(next(k for k in KINDS if k.name == sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]),
          Path(sys.argv[4]))  # fmt: skip
