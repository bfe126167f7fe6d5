"""One row of figures a network, on the same photos: a U-Net beside a Mask R-CNN."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import read_face_folder
from unmask.segmentation import detector
from unmask.segmentation.evaluate import Finder, PhotoScores, evaluate_photos, false_alarms
from unmask.segmentation.finder import UNetFinder, load_finder
from unmask.segmentation.sources import Example, FacePool, labelme_examples, png_examples
from unmask.segmentation.verifier import ACCEPTED

SEED = 1234
"""Seed of the drawn masks, the one of the pipeline's evaluation too."""

# What counts as found by a U-Net's own score.
_MIN_SCORE = 0.7


@dataclass(frozen=True)
class Segmenter:
    """A network with its weights, whatever its kind.

    Attributes:
        name: What it is.
        find: From a photo to the masks found in it.
        parameters: Number of its weights.
    """

    name: str
    find: Finder
    parameters: int


@dataclass(frozen=True, eq=False)
class EvaluationPhotos:
    """What segmenters are measured on; every part but the first may be empty.

    Attributes:
        real: Photos of people in masks, with labels.
        pasted: Faces with a pasted mask, with labels.
        bare: Faces without masks, (H, W, 3) uint8 RGB.
        drawn: The same faces with a synthetic mask.
    """

    real: Sequence[Example] = field(repr=False)
    pasted: Sequence[Example] = field(default=(), repr=False)
    bare: Sequence[NDArray[np.uint8]] = field(default=(), repr=False)
    drawn: Sequence[Example] = field(default=(), repr=False)


@dataclass(frozen=True)
class SegmenterScores:
    """A row of the table.

    Attributes:
        name: The network.
        parameters: Number of its weights.
        real: Scores on real photos.
        pasted: Scores on pasted masks; None when there were no such pictures.
        drawn: Scores on synthetic masks, or None.
        bare: Number of faces without masks.
        alarmed: How many of these showed a mask to the network.
        milliseconds: Median time a real photo on the clock, reading the file not included.
        processor_milliseconds: The same in time of all processor cores together, which other work
            on the machine changes less.
    """

    name: str
    parameters: int
    real: PhotoScores
    pasted: PhotoScores | None
    drawn: PhotoScores | None
    bare: int
    alarmed: int
    milliseconds: float
    processor_milliseconds: float


def load_segmenter(
    path: str | os.PathLike[str],
    verifier: str | os.PathLike[str] | None = None,
    *,
    thorough: bool = True,
) -> Segmenter:
    """Load a U-Net or a Mask R-CNN; the file says which it is.

    Args:
        path: A file for `finder.load_finder`.
        verifier: The same, for U-Nets.
        thorough: Whether a U-Net takes the mean over several looks at a photo, as it does in the
            pipeline. A Mask R-CNN always looks once.

    Returns:
        The network, with the settings that it is used with.

    Raises:
        WeightsError: The file cannot be read, or belongs to another network.
    """
    finder = load_finder(path, verifier)
    if isinstance(finder, UNetFinder):
        judge = finder.verifier
        name, least = "U-Net", _MIN_SCORE
        if judge is not None:
            name, least = "U-Net and verifier", ACCEPTED
        looking = UNetFinder(finder.network, judge, thorough=thorough)
        return Segmenter(
            name if thorough else f"{name}, one look",
            lambda photo: looking.find(photo, min_score=least),
            finder.network.count_params() + (0 if judge is None else judge.count_params()),
        )
    mrcnn = finder.detector
    backbone = mrcnn.config.BACKBONE
    return Segmenter(
        f"Mask R-CNN, {backbone}" if isinstance(backbone, str) else "Mask R-CNN",
        lambda photo: detector.find_masks(mrcnn, photo),
        mrcnn.keras_model.count_params(),
    )


def read_photos(data: Path, faces: int = 120, seed: int = SEED) -> EvaluationPhotos:
    """Read the validation splits of a data folder.

    Args:
        data: Folder with `masks_labelme`; `mask_segmentation` and `faces_wide` where they exist.
        faces: Most faces of `faces_wide` to take, evenly spread.
        seed: Seed of the synthetic masks.

    Returns:
        The photos.

    Raises:
        DataError: `masks_labelme` is missing.
    """
    photos = EvaluationPhotos(labelme_examples(data / "masks_labelme", "val"))
    if (data / "mask_segmentation").is_dir():
        photos = replace(photos, pasted=png_examples(data / "mask_segmentation", "val"))
    if (data / "faces_wide").is_dir():
        records = read_face_folder(data / "faces_wide", split="val")
        pool = FacePool(records[:: max(1, -(-len(records) // faces))], seed)
        numbers = range(len(pool))
        photos = replace(
            photos,
            bare=[pool.plain(number)[0].image for number in numbers],
            drawn=[pool.masked(number, number) for number in numbers],
        )
    return photos


def measure(segmenter: Segmenter, photos: EvaluationPhotos) -> SegmenterScores:
    """Measure a network.

    Args:
        segmenter: The network.
        photos: What it is measured on.

    Returns:
        Its row of the table.
    """
    find = segmenter.find
    alarms = false_alarms(find, photos.bare)
    clock, processor = seconds_each(find, [example.image for example in photos.real])
    return SegmenterScores(
        segmenter.name,
        segmenter.parameters,
        evaluate_photos(find, photos.real),
        evaluate_photos(find, photos.pasted) if photos.pasted else None,
        evaluate_photos(find, photos.drawn) if photos.drawn else None,
        len(alarms),
        sum(bool(found) for found in alarms),
        1000 * clock,
        1000 * processor,
    )


def seconds_each(find: Finder, photos: Sequence[NDArray[np.uint8]]) -> tuple[float, float]:
    """Return the median seconds a photo, on the clock and of all processor cores together.

    Each size of photo is seen once before the clock runs: the first time, networks are traced.
    """
    for photo in {photo.shape: photo for photo in photos}.values():
        find(photo)
    rows = []
    for photo in photos:
        clock, processor = time.perf_counter(), time.process_time()
        find(photo)
        rows.append((time.perf_counter() - clock, time.process_time() - processor))
    medians = np.median(rows, axis=0)
    return float(medians[0]), float(medians[1])


def markdown_table(scores: Sequence[SegmenterScores], cores: int) -> str:
    """Return the rows as Markdown, with what is needed to read them.

    Args:
        scores: A row a network.
        cores: Processor cores that the measuring process could use.
    """
    header = (
        "network", "parameters", "IoU", "F1", "boundary F", "AP50", "AP75", "missed",
        "false alarms", "pasted masks, IoU", "drawn masks, IoU", "alarm on bare faces",
        "ms a photo (processor)",
    )  # fmt: skip
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in scores]
    return "\n".join(lines) + "\n\n" + _protocol(scores[0], cores) + "\n"


def _cells(row: SegmenterScores) -> Iterator[str]:
    yield row.name
    yield f"{row.parameters:,}"
    pixels = row.real.pixels
    figures = (pixels.iou, pixels.f1, pixels.boundary_f, row.real.ap50, row.real.ap75)
    yield from (f"{value:.3f}" for value in figures)
    yield str(row.real.missed)
    yield str(row.real.false_alarms)
    for part in (row.pasted, row.drawn):
        yield f"{part.pixels.iou:.3f}" if part else "-"
    yield f"{row.alarmed} ({row.alarmed / row.bare:.1%})" if row.bare else "-"
    yield f"{row.milliseconds:.0f} ({row.processor_milliseconds:.0f})"


def _protocol(row: SegmenterScores, cores: int) -> str:
    real, pasted, drawn = (part.pixels.pictures if part else 0 for part in _parts(row))
    return (
        f"IoU to false alarms: {real} real validation photos with one masked face each, means over "
        "photos of all masks found together. AP: the masks of all photos ranked by score, those "
        "below the network's working threshold left out; the IoU of a hit is 0.5 or 0.75. Missed: "
        "photos in which no found mask has an IoU of 0.5; false alarms: found masks that do not "
        f"touch the true one. Pasted masks: {pasted} pictures. Drawn masks: {drawn} faces, those "
        f"that are bare in the next column. Time: median over the real photos on {cores} processor "
        "core(s), and the time of all cores together."
    )


def _parts(row: SegmenterScores) -> tuple[PhotoScores | None, ...]:
    return row.real, row.pasted, row.drawn


def count_cores() -> int:
    """Return the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; `taskset -c 0` measures one core
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
