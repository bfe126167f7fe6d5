"""The numbers that describe a segmenter, and a table of several: a U-Net beside a Mask R-CNN."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.data.faces import gather_faces
from unmask.data.record import FaceSet
from unmask.decide import LIMITS
from unmask.inference import Network, OnnxNetwork
from unmask.io import PathLike
from unmask.metrics import iou
from unmask.mrcnn.utils import average_precision
from unmask.segmentation import detector
from unmask.segmentation.data import Example, FacePool, gather_photos
from unmask.segmentation.finder import UNetFinder, load_finder
from unmask.segmentation.regions import MaskRegion
from unmask.tables import markdown_table as table

Finder = Callable[[NDArray[np.uint8]], Sequence[MaskRegion]]
"""From a photo, (H, W, 3) uint8 RGB, to the masks found in it. A segmenter of any kind is measured
as one: `lambda photo: finder.find_masks(unet, photo)`, or `detector.find_masks` for Mask R-CNN."""

# A border counts as met within this share of the picture's diagonal (the DAVIS benchmark's value).
_BORDER_TOLERANCE = 0.008

SEED = 1234
"""Seed of the drawn masks, the one of the pipeline's evaluation too."""

# What counts as found by a U-Net's own score.
_MIN_SCORE = 0.7


@dataclass(frozen=True)
class MaskScores:
    """Pixel scores, each the mean over pictures."""

    pictures: int  # number of pictures
    iou: float  # intersection over union, 0 to 1
    precision: float  # share of the found pixels that are mask
    recall: float  # share of the mask pixels that are found
    f1: float  # harmonic mean of both
    boundary_f: float  # the same for the outlines, within 0.8 % of the diagonal


@dataclass(frozen=True)
class PhotoScores:
    """Scores on whole photos that show one masked face each."""

    pixels: MaskScores  # pixel scores of all masks found in a photo together
    ap50: float  # average precision of the found masks, 0 to 1; one with an IoU of 0.5 is a hit
    ap75: float  # the same with 0.75
    missed: int  # photos in which no found mask has an IoU of 0.5 with the true one
    false_alarms: int  # found masks that do not touch the true one


def score_masks(pairs: Iterable[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> MaskScores:
    """Compare found with true masks, (H, W) bool, picture by picture; two empty ones agree fully.

    Example:
        >>> truth = np.zeros((8, 8), bool)
        >>> truth[2:6, 2:6] = True
        >>> score_masks([(truth, truth)]).iou
        1.0
    """
    rows = [
        (iou(found, truth), *precision_recall(found, truth), boundary_f(found, truth))
        for found, truth in pairs
    ]
    if not rows:
        raise ValueError("there is nothing to compare. Received: pairs=[]")
    overlap, precision, recall, boundary = (
        float(np.mean(column)) for column in zip(*rows, strict=True)
    )
    f1 = float(np.mean([_harmonic(row[1], row[2]) for row in rows]))
    return MaskScores(len(rows), overlap, precision, recall, f1, boundary)


def precision_recall(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Return pixel precision and recall; a share of nothing counts as 1."""
    common = float((found & truth).sum())
    precision = common / found.sum() if found.any() else 1.0
    recall = common / truth.sum() if truth.any() else 1.0
    return float(precision), float(recall)


def boundary_f(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: float = _BORDER_TOLERANCE
) -> float:
    """Return the F-score of two masks' outlines (H, W), which meet within a share of the diagonal.

    Reference:
        Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
        Segmentation", CVPR 2016 (measure F).
    """
    radius = max(1, round(tolerance * float(np.hypot(*truth.shape))))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    outlines = [_outline(mask) for mask in (found, truth)]
    near = [cv2.dilate(outline, disk) for outline in outlines]
    precision, _ = precision_recall(outlines[0] > 0, near[1] > 0)
    _, recall = precision_recall(near[0] > 0, outlines[1] > 0)
    return _harmonic(precision, recall)


def evaluate_photos(find: Finder, examples: Sequence[Example]) -> PhotoScores:
    """Measure a segmenter on photos with one masked face each.

    Raises:
        ValueError: There are no photos.

    Example:
        >>> truth = np.zeros((8, 8), np.uint8)
        >>> truth[2:6, 2:6] = 1
        >>> photo = Example(np.zeros((8, 8, 3), np.uint8), truth, (4.0, 4.0, 6.0))
        >>> whole = MaskRegion((2.0, 2.0, 6.0, 6.0), 0.9, np.ones((4, 4), bool), (8, 8))
        >>> scores = evaluate_photos(lambda pixels: [whole], [photo])
        >>> scores.pixels.iou, scores.ap75, scores.missed
        (1.0, 1.0, 0)
    """
    found = [list(find(example.image)) for example in examples]
    truths = [example.mask > 0 for example in examples]
    pairs, missed, alarms = [], 0, 0
    for regions, truth in zip(found, truths, strict=True):
        masks = [region.mask for region in regions]
        pairs.append((np.any(masks, axis=0) if masks else np.zeros_like(truth), truth))
        missed += max((iou(mask, truth) for mask in masks), default=0.0) < 0.5
        alarms += sum(not (mask & truth).any() for mask in masks)
    ap50, ap75 = (instance_precision(found, truths, least) for least in (0.5, 0.75))
    return PhotoScores(score_masks(pairs), ap50, ap75, missed, alarms)


def instance_precision(
    found: Sequence[Sequence[MaskRegion]], truths: Sequence[NDArray[np.bool_]],
    iou_threshold: float,
) -> float:  # fmt: skip
    """Return the average precision of the masks found in photos, ranked together by their scores.

    What a segmenter holds back counts as not found. Each photo has one true mask (H, W) or none.

    Reference:
        Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 2015
        (precision made monotone, area under the curve), with masks instead of boxes.
    """
    scores, hits, objects = [], [], 0
    for regions, truth in zip(found, truths, strict=True):
        objects += int(truth.any())
        ranked = sorted(regions, key=lambda region: -region.score)
        right = [truth.any() and iou(region.mask, truth) >= iou_threshold for region in ranked]
        scores += [region.score for region in ranked]
        # The first that meets the true mask is right; a second one on the same face is not.
        hits += [hit and not any(right[:rank]) for rank, hit in enumerate(right)]
    order = np.argsort(-np.asarray(scores), kind="stable")
    value, _, _ = average_precision(np.asarray(hits, bool)[order], objects)
    return value


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    solid = mask.astype(np.uint8)
    return np.asarray(solid - cv2.erode(solid, np.ones((3, 3), np.uint8)), np.uint8)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


# === Side by side ===


@dataclass(frozen=True)
class Segmenter:
    """A network with its weights: what it is, how it finds masks in a photo, how large it is."""

    name: str
    find: Finder
    parameters: int


@dataclass(frozen=True, eq=False)
class EvaluationPhotos:
    """What segmenters are measured on; every part but the first may be empty."""

    real: Sequence[Example] = field(repr=False)  # photos of people in masks, with labels
    # Faces with a pasted mask, with labels
    pasted: Sequence[Example] = field(default=(), repr=False)
    # Faces without masks, (H, W, 3) uint8 RGB
    bare: Sequence[NDArray[np.uint8]] = field(default=(), repr=False)
    drawn: Sequence[Example] = field(default=(), repr=False)  # the same faces with a synthetic mask


@dataclass(frozen=True)
class SegmenterScores:
    """A row of the table."""

    name: str  # the network
    parameters: int  # number of its weights
    real: PhotoScores  # scores on real photos
    pasted: PhotoScores | None  # scores on pasted masks; None when there were no such pictures
    drawn: PhotoScores | None  # scores on synthetic masks, or None
    bare: int  # number of faces without masks
    alarmed: int  # how many of these showed a mask to the network
    milliseconds: float  # median time a real photo on the clock, reading the file not included
    # The same in time of all processor cores together, which other work on the machine changes less
    processor_milliseconds: float


def load_segmenter(
    path: PathLike, verifier: PathLike | None = None, *,
    thorough: bool = True,
) -> Segmenter:  # fmt: skip
    """Load the network of a file for `finder.load_finder`; a U-Net looks once if not `thorough`.

    Raises:
        WeightsError: The file cannot be read, or belongs to another network.
    """
    finder = load_finder(path, verifier)
    if isinstance(finder, UNetFinder):
        judge = finder.verifier
        name, least = ("U-Net", _MIN_SCORE) if judge is None else (
            "U-Net and verifier", LIMITS.accepted
        )  # fmt: skip
        looking = UNetFinder(finder.network, judge, thorough=thorough)
        return Segmenter(
            name if thorough else f"{name}, one look",
            partial(looking.find, min_score=least),
            sum(_parameters(network) for network in (finder.network, judge)),
        )
    mrcnn = finder.detector
    backbone = mrcnn.config.BACKBONE
    name = f"Mask R-CNN, {backbone}" if isinstance(backbone, str) else "Mask R-CNN"
    find = partial(detector.find_masks, mrcnn)
    return Segmenter(name, find, mrcnn.keras_model.count_params())


def read_photos(data: Path, faces: int = 120) -> EvaluationPhotos:
    """Read the validation splits of `masks_labelme` and others in a folder; at most so many faces.

    Raises:
        DataError: `masks_labelme` is missing.
    """

    def labelled(folder: str) -> Sequence[Example]:
        return gather_photos([data], {folder: 1.0}, "val").examples

    photos = EvaluationPhotos(labelled("masks_labelme"))
    if (data / "mask_segmentation").is_dir():
        photos = replace(photos, pasted=labelled("mask_segmentation"))
    if faces and (data / "faces_wide").is_dir():
        found = gather_faces([data], {"faces_wide": 1.0}, split="val")
        every = slice(None, None, max(1, -(-len(found) // faces)))
        pool = FacePool(FaceSet(found.records[every], found.weights[every]), SEED)
        numbers = range(len(pool))
        photos = replace(
            photos,
            bare=[pool.plain(number)[0].image for number in numbers],
            drawn=[pool.masked(number, number) for number in numbers],
        )
    return photos


def measure(segmenter: Segmenter, photos: EvaluationPhotos) -> SegmenterScores:
    """Measure a network; its row of the table."""
    find = segmenter.find
    clock, processor = seconds_each(find, [example.image for example in photos.real])
    return SegmenterScores(
        segmenter.name, segmenter.parameters, evaluate_photos(find, photos.real),
        evaluate_photos(find, photos.pasted) if photos.pasted else None,
        evaluate_photos(find, photos.drawn) if photos.drawn else None,
        len(photos.bare), sum(bool(find(photo)) for photo in photos.bare),
        1000 * clock, 1000 * processor,
    )  # fmt: skip


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
    """Return the rows as Markdown, measured on so many cores, with what is needed to read them."""
    header = (
        "network", "parameters", "IoU", "F1", "boundary F", "AP50", "AP75", "missed",
        "false alarms", "pasted masks, IoU", "drawn masks, IoU", "alarm on bare faces",
        "ms a photo (processor)",
    )  # fmt: skip
    return f"{table(header, map(_cells, scores))}\n{_protocol(scores[0], cores)}\n"


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
    real, pasted, drawn = (
        part.pixels.pictures if part else 0 for part in (row.real, row.pasted, row.drawn)
    )
    return (
        f"IoU to false alarms: {real} real validation photos with one masked face each, means over "
        "photos of all masks found together. AP: the masks of all photos ranked by score, those "
        "below the network's working threshold left out; the IoU of a hit is 0.5 or 0.75. Missed: "
        "photos in which no found mask has an IoU of 0.5; false alarms: found masks that do not "
        f"touch the true one. Pasted masks: {pasted} pictures. Drawn masks: {drawn} faces, those "
        f"that are bare in the next column. Time: median over the real photos on {cores} processor "
        "core(s), and the time of all cores together."
    )


def _parameters(network: Network | None) -> int:
    """Return how many numbers a network has, 0 where its file does not tell."""
    return 0 if network is None or isinstance(network, OnnxNetwork) else int(network.count_params())
