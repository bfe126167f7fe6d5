"""Batches come in order, from threads and processes alike, and errors arrive."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from unmask.data.stream import Stream


@dataclass(frozen=True)
class Squares:
    """A sampler; at `wrong` it fails."""

    wrong: int = -1

    def __call__(self, number: int) -> tuple[np.ndarray, int]:
        if number == self.wrong:
            raise ValueError(f"no batch {number}")
        return np.full(3, number**2), os.getpid()


class Slow(Squares):
    """A sampler that takes its time."""

    def __call__(self, number: int) -> tuple[np.ndarray, int]:
        time.sleep(0.3)
        return super().__call__(number)


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_from_any_start(workers: int):
    with Stream(Squares(), first=5, workers=workers) as stream:
        batches = [next(stream) for _ in range(20)]
    assert [int(values[0]) for values, _ in batches] == [n**2 for n in range(5, 25)]
    processes = {process for _, process in batches}
    assert (os.getpid() in processes) == (workers == 0)


def test_an_error_arrives_in_its_place():
    with Stream(Squares(wrong=2)) as stream:
        next(stream), next(stream)
        with pytest.raises(ValueError, match="no batch 2"):
            next(stream)


def test_nothing_after_closing():
    stream = Stream(Squares())
    stream.close()
    assert list(stream) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_nobody_waits_for_a_batch_after_closing(workers: int):
    stream = Stream(Slow(), workers=workers)
    next(stream)
    told: list[str] = []

    def ask() -> None:
        told.extend("batch" for _ in stream)
        told.append("end")

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.1)
    stream.close()
    asking.join(10)
    assert not asking.is_alive()
    assert told[-1] == "end"
