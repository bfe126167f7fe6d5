"""Memory over many photos, and eight threads against one.

    python benchmarks/reliability.py [--photos 200]

The photos are the astronaut portrait of scikit-image with a drawn mask, each of another size and
cut. The memory is that of the whole process, networks included.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from cyclopts import run
from numpy.typing import NDArray

from unmask.demo import portraits, wear_mask
from unmask.pipeline import Unmasker

THREADS = 8


def main(*, photos: int = 200) -> int:
    """Print the memory and whether all threads answer alike; the exit status is 1 if not.

    Args:
        photos: How many are completed.
    """
    unmasker = Unmasker().load()
    portrait = wear_mask(unmasker, portraits()[0])
    few = [_photo(portrait, number) for number in range(THREADS)]
    alone = [unmasker(photo) for photo in few]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(unmasker, few))
    pairs = zip(alone, together, strict=True)
    same = all(np.array_equal(one.image, other.image) for one, other in pairs)
    faces = sum(len(result.faces) for result in alone)
    print(f"{THREADS} threads: {'the same pixels' if same else 'OTHER PIXELS'}, {faces} faces")
    for number in range(photos + 1):
        if number % 20 == 0:
            print(f"{number:4} photos: {_memory():5.2f} GiB", flush=True)
        unmasker(_photo(portrait, number))
    return 0 if same else 1


def _photo(portrait: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(number)
    size = int(rng.integers(300, 1200))
    top, left = rng.integers(0, portrait.shape[0] // 20, 2)
    return np.asarray(cv2.resize(portrait[top:, left:], (size, size)), np.uint8)


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**30


if __name__ == "__main__":
    sys.exit(run(main))
