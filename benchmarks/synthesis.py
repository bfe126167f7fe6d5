"""Masked faces a second: drawing alone, and whole folders with one and two workers and with Ray.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    export TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
    python benchmarks/synthesis.py [--faces 200] [--workers 1 2] [--ray] [--find]

`drawing` puts masks on a 256 px portrait in memory. `folder` runs `unmask synthesize` on copies of
the same portrait: read, crop, mask, write three PNGs; with `--find` it also finds the face and its
landmarks with the lite networks, as for any folder of photos. Starting the processes counts, and
is also shown apart (a folder of one face). Every figure is wall-clock time, so nothing else should
be running; processor seconds a face are shown beside it, which other programs disturb less.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from cyclopts import Parameter, run
from skimage.data import astronaut

from unmask.image import save_image
from unmask.synthesis import MaskSynthesizer
from unmask.synthesis.pairs import SynthesisSettings, write_pairs
from unmask.synthesis.sources import FRAMINGS, SourceFace


def main(
    *,
    size: int = 256,
    faces: int = 200,
    workers: Annotated[tuple[int, ...], Parameter(consume_multiple=1)] = (1, 2),
    find: bool = False,
    ray: bool = False,
) -> None:
    """Print the table.

    Args:
        size: Side of the pictures, pixels.
        faces: Faces a measurement.
        workers: Numbers of processes.
        find: Find the landmarks as well.
        ray: Measure Ray Data, too.
    """
    cv2.setNumThreads(1)
    image, landmarks = _portrait(size)
    _time_drawing(image, landmarks, faces)
    with tempfile.TemporaryDirectory() as folder:
        pictures = _source(Path(folder), image, None if find else landmarks, faces)
        for engine in ("local", "ray") if ray else ("local",):
            for number in workers:
                _time_folder(Path(folder), pictures, engine, number, size)


def _portrait(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A portrait in canonical framing at `size` pixels, with an approximate outline."""
    scale = 0.713 * 256 / size
    offset = [225.4 - 0.713 * 128, 104 - 0.713 * 123]
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    image = cv2.warpAffine(
        astronaut(), matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    landmarks = np.full((98, 2), (128.0, 140.0), np.float32)
    angle = np.linspace(np.pi, 0, 33)
    landmarks[:33] = np.stack([128 + 75 * np.cos(angle), 120 + 118 * np.sin(angle)], axis=1)
    landmarks[51:55] = np.stack([np.full(4, 128), np.linspace(124, 160, 4)], axis=1)
    landmarks[60:68], landmarks[68:76] = (96, 123), (160, 123)
    landmarks[[60, 64, 68, 72]] = [(82, 123), (110, 123), (146, 123), (174, 123)]
    landmarks[[76, 82]] = [(104, 188), (152, 188)]
    return np.asarray(image), landmarks * (size / 256)


def _source(
    folder: Path, image: np.ndarray, landmarks: np.ndarray | None, count: int
) -> list[SourceFace]:
    save_image(folder / "portrait.png", image)
    return [
        SourceFace(
            f"{i:06}.png",
            folder / "portrait.png",
            landmarks,
            framing=FRAMINGS["ffhq"],
            gender="female",
        )
        for i in range(count)
    ]


def _time_drawing(image: np.ndarray, landmarks: np.ndarray, faces: int) -> None:
    synthesizer = MaskSynthesizer(seed=0)
    for name in ("drawing, first pass", "drawing, bank drawn"):
        wall, processor = time.perf_counter(), _processor_seconds()
        for index in range(faces):
            synthesizer(image, landmarks, index)
        _print(name, faces, time.perf_counter() - wall, _processor_seconds() - processor)


def _time_folder(
    folder: Path, faces: list[SourceFace], engine: str, workers: int, size: int
) -> None:
    name = f"folder, {engine}, {workers} worker{'s' if workers > 1 else ''}"
    settings = SynthesisSettings(size=size)
    for label, part in ((f"{name}, one face", faces[:1]), (name, faces)):
        target = folder / f"{engine}-{workers}-{len(part)}"
        wall, processor = time.perf_counter(), _processor_seconds()
        results = list(write_pairs(part, target, settings, workers=workers, engine=engine))
        errors = [result.error for result in results if result.error]
        if errors:
            raise SystemExit(errors[0])
        _print(label, len(part), time.perf_counter() - wall, _processor_seconds() - processor)


def _processor_seconds() -> float:
    """User and system time of this process and of its ended children."""
    parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(part) for part in parts]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _print(name: str, faces: int, wall: float, processor: float) -> None:
    print(
        f"{name:34}{faces / wall:9.2f} faces/s {wall:9.2f} s"
        f"{1000 * processor / faces:10.1f} ms of processor a face",
        flush=True,
    )


if __name__ == "__main__":
    run(main)
