"""Seconds and peak memory of loading and of one 1080p photo with one face, stage by stage.

    python benchmarks/run.py [--repeats 5] [--runtime keras]

The photo is the astronaut portrait of scikit-image with a drawn mask, as high as the photo and
mirrored on both sides. The first call also traces the networks and is shown apart.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from unittest import mock

import numpy as np
from cyclopts import run

STAGES = ("_find", "_locate", "_segment", "_classify", "_complete")


def main(*, repeats: int = 5, runtime: Literal["auto", "keras", "onnx"] = "auto") -> None:
    """Print the table.

    Args:
        repeats: Photos that are timed after the first.
        runtime: What runs the networks.
    """
    start = time.perf_counter()
    from unmask.pipeline import Unmasker

    imported = time.perf_counter()
    unmasker = Unmasker(runtime=runtime).load()
    loaded = time.perf_counter()
    print(f"import              {imported - start:7.2f} s")
    print(f"load all networks   {loaded - imported:7.2f} s")

    photo = _photo(unmasker)
    start = time.perf_counter()
    result = unmasker(photo)
    print(f"first photo         {time.perf_counter() - start:7.2f} s   {result}")

    seconds: dict[str, list[float]] = {name: [] for name in STAGES}
    totals = []
    with _timed(seconds):
        for _ in range(repeats):
            start = time.perf_counter()
            unmasker(photo)
            totals.append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"  {name.strip('_'):17} {np.median(values):7.3f} s")
    print(f"1080p photo         {np.median(totals):7.3f} s   (median of {repeats})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"peak memory         {peak:7.2f} GiB")


def _photo(unmasker: object) -> np.ndarray:
    import cv2

    from unmask.demo import portraits, wear_mask

    portrait = cv2.resize(wear_mask(unmasker, portraits()[0]), (1080, 1080))
    return cv2.copyMakeBorder(portrait, 0, 0, 420, 420, cv2.BORDER_REFLECT)


@contextmanager
def _timed(seconds: dict[str, list[float]]) -> Iterator[None]:
    """Measure the pipeline's steps while the block runs."""
    from unmask.pipeline import Unmasker

    def watch(name: str, step: Callable[..., object]) -> Callable[..., object]:
        def measured(*args: object) -> object:
            start = time.perf_counter()
            try:
                return step(*args)
            finally:
                seconds[name].append(time.perf_counter() - start)

        return measured

    watched = {name: watch(name, getattr(Unmasker, name)) for name in STAGES}
    with mock.patch.multiple(Unmasker, **watched):
        yield


if __name__ == "__main__":
    run(main)
