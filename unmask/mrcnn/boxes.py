"""Boxes and anchors in NumPy: (y1, x1, y2, x2), y2 and x2 exclusive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]

# Corners of a box that covers all pixels: (0, 0, height, width), which is (0, 0, 1, 1) normalised.
_SHIFT = np.array([0.0, 0.0, 1.0, 1.0])


def extract_bboxes(mask: ArrayLike) -> NDArray[np.int32]:
    """Return the tight boxes of masks.

    Args:
        mask: (H, W, n), bool or numbers; what is not 0 belongs to the object.

    Returns:
        (n, 4) int32; zeros for an empty mask.

    Example:
        >>> mask = np.zeros((8, 8, 1), bool)
        >>> mask[2:5, 3:7] = True
        >>> extract_bboxes(mask).tolist()
        [[2, 3, 5, 7]]
    """
    masks = np.asarray(mask)
    if masks.ndim != 3:
        raise ValueError(f"mask must be (H, W, n). Received: shape={masks.shape}")
    boxes = np.zeros((masks.shape[-1], 4), np.int32)
    for i in range(masks.shape[-1]):
        rows = np.flatnonzero(masks[:, :, i].any(axis=1))
        columns = np.flatnonzero(masks[:, :, i].any(axis=0))
        if len(rows):
            boxes[i] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes


def box_areas(boxes: Floats) -> Floats:
    """Return the areas of boxes, (..., 4) to (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def compute_iou(box: Floats, boxes: Floats, box_area: float, boxes_area: Floats) -> Floats:
    """Return the intersection over union of one box with others.

    Args:
        box: (4,).
        boxes: (n, 4).
        box_area: Area of `box`.
        boxes_area: (n,) areas of `boxes`, which the caller computes once.

    Returns:
        (n,), 0 where both areas are 0.
    """
    top, left = np.maximum(box[0], boxes[:, 0]), np.maximum(box[1], boxes[:, 1])
    bottom, right = np.minimum(box[2], boxes[:, 2]), np.minimum(box[3], boxes[:, 3])
    common = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    union = box_area + boxes_area - common
    return np.divide(common, union, out=np.zeros(len(boxes)), where=union > 0)


def compute_overlaps(boxes1: ArrayLike, boxes2: ArrayLike) -> NDArray[np.float64]:
    """Return the intersection over union of each pair, (n, 4) and (m, 4) to (n, m) float64.

    Example:
        >>> compute_overlaps([[0, 0, 2, 2]], [[0, 1, 2, 3], [4, 4, 5, 5]]).round(3).tolist()
        [[0.333, 0.0]]
    """
    first = np.asarray(boxes1, np.float64).reshape(-1, 4)
    second = np.asarray(boxes2, np.float64).reshape(-1, 4)
    areas1, areas2 = box_areas(first), box_areas(second)
    overlaps = np.zeros((len(first), len(second)))
    for j in range(len(second)):
        overlaps[:, j] = compute_iou(second[j], first, float(areas2[j]), areas1)
    return overlaps


def non_max_suppression(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.int32]:
    """Drop each box that overlaps a better one.

    Args:
        boxes: (n, 4).
        scores: (n,).
        threshold: Overlap above which the weaker box is dropped.

    Returns:
        Indices of what is kept, best first, int32.
    """
    boxes = np.asarray(boxes, np.float64)
    areas = box_areas(boxes)
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        overlaps = compute_iou(boxes[best], boxes[rest], float(areas[best]), areas[rest])
        order = rest[overlaps <= threshold]
    return np.array(kept, np.int32)


def apply_box_deltas(boxes: Floats, deltas: Floats) -> NDArray[np.float32]:
    """Move and resize boxes.

    Args:
        boxes: (n, 4).
        deltas: (n, 4): shift of the centre in heights and widths, logarithms of the growth.

    Returns:
        (n, 4) float32.
    """
    boxes, deltas = np.asarray(boxes, np.float32), np.asarray(deltas, np.float32)
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * np.exp(deltas[:, 2:])
    start = center - 0.5 * size
    return np.concatenate([start, start + size], axis=1)


def box_refinement(box: Floats, gt_box: Floats) -> NDArray[np.float32]:
    """Return the deltas that turn boxes into others; the inverse of `apply_box_deltas`.

    Args:
        box: (n, 4), none of them empty.
        gt_box: (n, 4), none of them empty.

    Returns:
        (n, 4) float32.

    Example:
        >>> box_refinement(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10]])).tolist()
        [[0.5, 0.0, 0.0, 0.0]]
    """
    box, gt_box = np.asarray(box, np.float32), np.asarray(gt_box, np.float32)
    size, gt_size = box[:, 2:] - box[:, :2], gt_box[:, 2:] - gt_box[:, :2]
    center, gt_center = box[:, :2] + 0.5 * size, gt_box[:, :2] + 0.5 * gt_size
    return np.concatenate([(gt_center - center) / size, np.log(gt_size / size)], axis=1)


def norm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Turn pixels into fractions: the box of a whole image becomes (0, 0, 1, 1).

    Args:
        boxes: (n, 4) or (4,), pixels.
        shape: Height and width.

    Returns:
        float32 of the same shape.
    """
    return ((np.asarray(boxes, np.float64) - _SHIFT) / _scale(shape)).astype(np.float32)


def denorm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.int32]:
    """Turn fractions into whole pixels; the inverse of `norm_boxes`.

    Example:
        >>> denorm_boxes([0.0, 0.0, 1.0, 1.0], (480, 640)).tolist()
        [0, 0, 480, 640]
    """
    return np.around(np.asarray(boxes, np.float64) * _scale(shape) + _SHIFT).astype(np.int32)


def generate_anchors(
    scales: ArrayLike,
    ratios: ArrayLike,
    shape: Sequence[int],
    feature_stride: int,
    anchor_stride: int,
) -> NDArray[np.float64]:
    """Return the anchors of one level.

    Args:
        scales: Sides of the anchors in pixels: one number or several.
        ratios: Width over height.
        shape: Height and width of the feature map.
        feature_stride: Pixels from cell to cell.
        anchor_stride: Cells from anchor to anchor.

    Returns:
        (n, 4) float64 pixels, cell after cell. The first one is centred on pixel (0, 0).

    Example:
        >>> generate_anchors(32, [1], (1, 2), 4, 1).tolist()
        [[-16.0, -16.0, 16.0, 16.0], [-16.0, -12.0, 16.0, 20.0]]
    """
    scale, ratio = np.meshgrid(np.asarray(scales, np.float64), np.asarray(ratios, np.float64))
    root = np.sqrt(ratio.ravel())
    half = 0.5 * np.stack([scale.ravel() / root, scale.ravel() * root], axis=1)
    ys = np.arange(0, shape[0], anchor_stride) * float(feature_stride)
    xs = np.arange(0, shape[1], anchor_stride) * float(feature_stride)
    grid = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1)[:, :, None]
    return np.concatenate([grid - half, grid + half], axis=-1).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Sequence[float],
    ratios: Sequence[float],
    feature_shapes: ArrayLike,
    feature_strides: Sequence[int],
    anchor_stride: int,
) -> NDArray[np.float64]:
    """Return the anchors of all levels, one scale a level, in the order of the levels."""
    shapes = np.asarray(feature_shapes)
    return np.concatenate(
        [
            generate_anchors(scale, ratios, shapes[i], feature_strides[i], anchor_stride)
            for i, scale in enumerate(scales)
        ]
    )


def trim_zeros(x: Floats) -> Floats:
    """Drop the rows that hold nothing but zeros."""
    return x[~np.all(x == 0, axis=1)]


def _scale(shape: Sequence[int]) -> NDArray[np.float64]:
    return np.array([shape[0], shape[1], shape[0], shape[1]], np.float64) - 1.0
