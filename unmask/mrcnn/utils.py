"""The names of matterport's `mrcnn.utils`; those that are not about figures are made elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from unmask.mrcnn.boxes import (
    apply_box_deltas,
    box_refinement,
    box_refinement_graph,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    extract_bboxes,
    generate_anchors,
    generate_pyramid_anchors,
    non_max_suppression,
    norm_boxes,
    trim_zeros,
)
from unmask.mrcnn.data import Dataset
from unmask.mrcnn.images import (
    expand_mask,
    minimize_mask,
    resize,
    resize_image,
    resize_mask,
    unmold_mask,
)

__all__ = [
    "COCO_MODEL_URL", "Dataset", "apply_box_deltas", "batch_slice", "box_refinement",
    "box_refinement_graph", "compute_ap", "compute_ap_range", "compute_iou", "compute_matches",
    "compute_overlaps", "compute_overlaps_masks", "compute_recall", "denorm_boxes",
    "download_trained_weights", "expand_mask", "extract_bboxes", "generate_anchors",
    "generate_pyramid_anchors", "minimize_mask", "non_max_suppression", "norm_boxes", "resize",
    "resize_image", "resize_mask", "trim_zeros", "unmold_mask",
]  # fmt: skip

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
"""The published weights: a resnet101 and 81 classes."""

Array = NDArray[Any]

_logger = logging.getLogger(__name__)


def download_trained_weights(coco_model_path: str | Path, verbose: int = 1) -> None:
    """Download the published COCO weights (258 MB) to a file; `verbose` is not used."""
    path = Path(coco_model_path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.get_file(str(path), COCO_MODEL_URL)


def batch_slice(
    inputs: Any, graph_fn: Callable[..., Any], batch_size: int, names: Sequence[str] | None = None
) -> Any:
    """Apply a function for one item to each item of a batch, and stack what it returns."""
    inputs = inputs if isinstance(inputs, list) else [inputs]
    results = [graph_fn(*(x[i] for x in inputs)) for i in range(batch_size)]
    if isinstance(results[0], (tuple, list)):
        stacked = [ops.stack(part) for part in zip(*results, strict=True)]
        return stacked if len(stacked) > 1 else stacked[0]
    return ops.stack(results)


def compute_overlaps_masks(masks1: Array, masks2: Array) -> NDArray[np.float64]:
    """Return the overlaps (n, m) of masks (H, W, n) and (H, W, m), bool or probabilities.

    Raises:
        ValueError: The masks have different sizes.
    """
    if masks1.shape[-1] == 0 or masks2.shape[-1] == 0:
        return np.zeros((masks1.shape[-1], masks2.shape[-1]))
    if masks1.shape[:-1] != masks2.shape[:-1]:
        raise ValueError(
            "masks must have one size, be it the photo's or the input's; utils.expand_mask makes "
            f"mini masks whole. Received: {masks1.shape} and {masks2.shape}"
        )
    first = np.reshape(masks1 > 0.5, (-1, masks1.shape[-1])).astype(np.float32)
    second = np.reshape(masks2 > 0.5, (-1, masks2.shape[-1])).astype(np.float32)
    common = (first.T @ second).astype(np.float64)
    union = first.sum(0)[:, None] + second.sum(0)[None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def compute_matches(
    gt_boxes: Array, gt_class_ids: Array, gt_masks: Array,
    pred_boxes: Array, pred_class_ids: Array, pred_scores: Array, pred_masks: Array,
    iou_threshold: float = 0.5, score_threshold: float = 0.0,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
    """Match detections with true objects by the overlap of their masks, best score first.

    Each true object is given once, and only to a detection of its class.

    Args:
        gt_boxes: (n, 4); rows of zeros are padding.
        gt_class_ids: (n,).
        gt_masks: (H, W, n).
        pred_boxes: (m, 4); rows of zeros are padding.
        pred_class_ids: (m,).
        pred_scores: (m,).
        pred_masks: (H, W, m).
        iou_threshold: Least overlap of a match.
        score_threshold: The same.

    Returns:
        For each true object the index of its detection, and for each detection, sorted by score,
        the index of its object; -1 for none. Then the overlaps (m, n), the detections sorted too.
    """
    gt_boxes, pred_boxes = trim_zeros(gt_boxes), trim_zeros(pred_boxes)
    gt_masks, gt_class_ids = gt_masks[..., : len(gt_boxes)], gt_class_ids[: len(gt_boxes)]
    order = np.argsort(-pred_scores[: len(pred_boxes)], kind="stable")
    pred_class_ids, pred_masks = pred_class_ids[order], pred_masks[..., order]

    overlaps = compute_overlaps_masks(pred_masks, gt_masks)
    gt_match, pred_match = np.full(len(gt_boxes), -1), np.full(len(pred_boxes), -1)
    for i in range(len(pred_boxes)):
        for j in np.argsort(-overlaps[i], kind="stable"):
            if overlaps[i, j] < max(iou_threshold, score_threshold):
                break
            if gt_match[j] == -1 and pred_class_ids[i] == gt_class_ids[j]:
                gt_match[j], pred_match[i] = i, j
                break
    return gt_match, pred_match, overlaps


def compute_ap(
    gt_boxes: Array, gt_class_ids: Array, gt_masks: Array,
    pred_boxes: Array, pred_class_ids: Array, pred_scores: Array, pred_masks: Array,
    iou_threshold: float = 0.5,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Return one image's average precision, precisions, recalls and overlaps.

    The arguments are those of `compute_matches`. For an image without true objects the average
    precision is 1 when nothing was detected and 0 otherwise.
    """
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes, gt_class_ids, gt_masks,
        pred_boxes, pred_class_ids, pred_scores, pred_masks, iou_threshold,
    )  # fmt: skip
    return (*average_precision(pred_match > -1, len(gt_match)), overlaps)


def average_precision(
    hits: Array, objects: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return average precision, precisions and recalls (m + 2), the curve's ends included.

    Args:
        hits: (m,) bool, whether each detection is right; best score first.
        objects: Number of true objects; without any, the average precision is 1 when nothing was
            detected and 0 otherwise.

    Example:
        >>> average_precision(np.array([True, False, True]), 2)[0]
        0.8333333333333333
    """
    if not objects:
        value = 0.0 if len(hits) else 1.0
        return value, np.array([value, 0.0]), np.array([0.0, 1.0])
    found = np.cumsum(hits)
    precisions = np.concatenate([[0.0], found / (np.arange(len(hits)) + 1), [0.0]])
    recalls = np.concatenate([[0.0], found / objects, [1.0]])
    # A better precision at a higher recall counts for all lower ones.
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.flatnonzero(recalls[:-1] != recalls[1:]) + 1
    value = float(np.sum((recalls[steps] - recalls[steps - 1]) * precisions[steps]))
    return value, precisions, recalls


def compute_ap_range(
    gt_box: Array, gt_class_id: Array, gt_mask: Array,
    pred_box: Array, pred_class_id: Array, pred_score: Array, pred_mask: Array,
    iou_thresholds: Sequence[float] | NDArray[np.float64] | None = None, verbose: int = 1,
) -> float:  # fmt: skip
    """Return the mean of `compute_ap` over several overlaps, by default 0.5 to 0.95 by 0.05."""
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else iou_thresholds
    values = []
    for threshold in thresholds:
        value, *_ = compute_ap(
            gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask,
            iou_threshold=float(threshold),
        )  # fmt: skip
        if verbose:
            _logger.info("AP @%.2f: %.3f", threshold, value)
        values.append(value)
    return float(np.mean(values))


def compute_recall(
    pred_boxes: Array, gt_boxes: Array, iou: float
) -> tuple[float, NDArray[np.int64]]:
    """Return the share of true boxes (n, 4) that some box of (m, 4) meets, and which these are."""
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    if not overlaps.size:
        return (1.0 if len(gt_boxes) == 0 else 0.0), np.zeros(0, np.int64)
    positive = np.flatnonzero(overlaps.max(axis=1) >= iou)
    return len(set(overlaps.argmax(axis=1)[positive])) / len(gt_boxes), positive
