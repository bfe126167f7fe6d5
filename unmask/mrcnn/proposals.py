"""Proposals at random and what the heads should answer for them, in NumPy: for looking at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.mrcnn.boxes import box_refinement, compute_overlaps
from unmask.mrcnn.config import Config
from unmask.mrcnn.resizing import expand_mask, resize
from unmask.mrcnn.targets import positives_per_image

Array = NDArray[Any]


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: Array,
    gt_boxes: Array,
    rng: np.random.Generator | None = None,
) -> NDArray[np.int32]:
    """Return boxes as a region proposal network could, most of them near objects.

    Args:
        image_shape: Height and width.
        count: How many.
        gt_class_ids: (n,); rows with 0 are padding.
        gt_boxes: (n, 4) pixels.
        rng: Chooses; without one the boxes differ from call to call.

    Returns:
        (count, 4) int32 pixels, none of them empty: nine of ten within three times an object's
        height and width around it, the others anywhere.
    """
    rng = rng or np.random.default_rng()
    height, width = image_shape[:2]
    rois = []
    objects = np.asarray(gt_boxes)[np.asarray(gt_class_ids) != 0]
    for y1, x1, y2, x2 in objects:
        region = (
            max(y1 - (y2 - y1), 0), max(x1 - (x2 - x1), 0),
            min(y2 + (y2 - y1), height), min(x2 + (x2 - x1), width),
        )  # fmt: skip
        rois.append(_random_boxes(region, int(0.9 * count / len(objects)), rng))
    rest = count - sum(len(boxes) for boxes in rois)
    return np.concatenate([*rois, _random_boxes((0, 0, height, width), rest, rng)])


def build_detection_targets(
    rpn_rois: Array,
    gt_class_ids: Array,
    gt_boxes: Array,
    gt_masks: Array,
    config: Config,
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Choose proposals and say what the heads should answer: `DetectionTargets` in NumPy.

    Args:
        rpn_rois: (N, 4) pixels.
        gt_class_ids: (n,); rows without a class of 1 or more are left out.
        gt_boxes: (n, 4) pixels.
        gt_masks: (H, W, n), or (h, w, n) mini masks where the configuration says so.
        config: Its `TRAIN_ROIS_PER_IMAGE`, `ROI_POSITIVE_RATIO`, `BBOX_STD_DEV`, `MASK_SHAPE`,
            `USE_MINI_MASK` and `NUM_CLASSES`.
        rng: Chooses; without one the choice differs from call to call.

    Returns:
        Of T = TRAIN_ROIS_PER_IMAGE: boxes (T, 4) int32, objects first; class numbers (T,); the
        corrections (T, classes, 4) and masks (T, height, width, classes), zeros but for the class.
        Backgrounds are repeated where there are too few.
    """
    rng = rng or np.random.default_rng()
    total, classes = config.TRAIN_ROIS_PER_IMAGE, config.NUM_CLASSES
    real = np.flatnonzero(np.asarray(gt_class_ids) > 0)
    boxes, masks = np.asarray(gt_boxes, np.float64)[real], np.asarray(gt_masks)[..., real]
    overlaps = compute_overlaps(rpn_rois, boxes)
    best = overlaps.max(axis=1, initial=0.0)
    objects = np.flatnonzero(best >= 0.5)
    objects = rng.permutation(objects)[: positives_per_image(config)]
    others = rng.permutation(np.flatnonzero(best < 0.5))
    others = np.resize(others, total - len(objects)) if len(others) else others

    rois = np.zeros((total, 4), np.int32)
    chosen = np.concatenate([objects, others]).astype(np.int64)
    rois[: len(chosen)] = rpn_rois[chosen]
    class_ids = np.zeros(total, np.int32)
    deltas = np.zeros((total, classes, 4), np.float32)
    drawn = np.zeros((total, *config.MASK_SHAPE, classes), np.float32)
    extent = np.concatenate([rois, boxes]).max(axis=0)[2:].astype(int)
    for i, owner in enumerate(overlaps[objects].argmax(axis=1) if len(real) else ()):
        y1, x1, y2, x2 = rois[i]
        class_ids[i] = number = gt_class_ids[real[owner]]
        own = boxes[owner : owner + 1]
        refinement = box_refinement(rois[i : i + 1].astype(np.float64), own)[0]
        deltas[i, number] = refinement / config.BBOX_STD_DEV
        mask = masks[..., owner : owner + 1]
        if config.USE_MINI_MASK:
            mask = expand_mask(own, mask, extent)
        piece = resize(mask[y1:y2, x1:x2, 0], config.MASK_SHAPE, preserve_range=True)
        drawn[i, :, :, number] = np.around(piece)
    return rois, class_ids, deltas, drawn


def _random_boxes(region: Sequence[int], count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    y1, x1, y2, x2 = region
    ys = np.sort(rng.integers(y1, y2, (count, 2)), axis=1)
    xs = np.sort(rng.integers(x1, x2, (count, 2)), axis=1)
    # The ends are exclusive, so a box of one pixel begins and ends on it.
    return np.stack([ys[:, 0], xs[:, 0], ys[:, 1] + 1, xs[:, 1] + 1], axis=1).astype(np.int32)
