"""The numbers that describe a segmenter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from unmask.metrics import iou
from unmask.segmentation.predict import find_masks, segment_crops
from unmask.segmentation.regions import MaskRegion
from unmask.segmentation.sources import Example

# A border counts as met within this share of the picture's diagonal (the DAVIS benchmark's value).
_BORDER_TOLERANCE = 0.008


@dataclass(frozen=True)
class MaskScores:
    """Pixel scores, each the mean over pictures.

    Attributes:
        pictures: Number of pictures.
        iou: Intersection over union, 0 to 1.
        precision: Share of the found pixels that are mask.
        recall: Share of the mask pixels that are found.
        f1: Harmonic mean of both.
        boundary_f: The same for the outlines, within 0.8 % of the diagonal.
    """

    pictures: int
    iou: float
    precision: float
    recall: float
    f1: float
    boundary_f: float


@dataclass(frozen=True)
class PhotoScores:
    """Scores on whole photos that show one masked face each.

    Attributes:
        pixels: Pixel scores of all masks found in a photo together.
        missed: Photos in which no found mask has an IoU of 0.5 with the true one.
        false_alarms: Found masks that do not touch the true one.
    """

    pixels: MaskScores
    missed: int
    false_alarms: int


def score_masks(
    pairs: Iterable[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> MaskScores:
    """Compare found with true masks.

    Args:
        pairs: Found and true mask of each picture, (H, W) bool. Two empty masks agree fully.

    Returns:
        The means over the pictures.

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
    """Return the F-score of the outlines.

    Args:
        found: (H, W) bool.
        truth: (H, W) bool.
        tolerance: Distance within which outlines meet, as a share of the diagonal.

    Returns:
        0 to 1; 1 when both masks have no outline.

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


def evaluate_photos(
    model: keras.Model, examples: Sequence[Example], **options: float
) -> PhotoScores:
    """Measure a segmenter on whole photos with one masked face each.

    Args:
        model: A network of `build_unet`.
        examples: The labelled photos.
        **options: Passed on to `find_masks`.

    Returns:
        The scores.
    """
    pairs, missed, alarms = [], 0, 0
    for example in examples:
        truth = example.mask > 0
        regions = find_masks(model, example.image, **options)  # type: ignore[arg-type]
        masks = [region.mask for region in regions]
        found = np.any(masks, axis=0) if masks else np.zeros_like(truth)
        pairs.append((found, truth))
        missed += max((iou(mask, truth) for mask in masks), default=0.0) < 0.5
        alarms += sum(not (mask & truth).any() for mask in masks)
    return PhotoScores(score_masks(pairs), missed, alarms)


def evaluate_crops(
    model: keras.Model, crops: NDArray[np.uint8], truths: NDArray[np.bool_], threshold: float = 0.5
) -> MaskScores:
    """Measure a segmenter on face crops.

    Args:
        model: A network of `build_unet`.
        crops: (B, S, S, 3) uint8 RGB, S a multiple of 32.
        truths: (B, S, S) bool.
        threshold: Probability from which on a pixel belongs to a mask.

    Returns:
        The scores.
    """
    found = segment_crops(model, crops) > threshold
    return score_masks(zip(found, truths, strict=True))


def false_alarms(
    model: keras.Model, photos: Iterable[NDArray[np.uint8]], **options: float
) -> list[list[MaskRegion]]:
    """Look for masks where there are none.

    Args:
        model: A network of `build_unet`.
        photos: Photos without face masks, (H, W, 3) uint8 RGB.
        **options: Passed on to `find_masks`.

    Returns:
        What was found in each photo; the share of entries that are not empty is the false alarm
        rate.
    """
    return [find_masks(model, photo, **options) for photo in photos]  # type: ignore[arg-type]


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    solid = mask.astype(np.uint8)
    return np.asarray(solid - cv2.erode(solid, np.ones((3, 3), np.uint8)), np.uint8)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0
