"""Boxes (y1, x1, y2, x2): in NumPy, y2 and x2 exclusive; in tensors of fixed shapes, normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

Tensor = Any

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


def norm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Turn pixels into fractions: the box of a whole image becomes (0, 0, 1, 1)."""
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


# A box can grow by e^10 at most: no box of this size differs from the whole image after it is
# clipped, and the exponential of a wild correction in an early training is still a number.
_MAX_LOG_GROWTH = 10.0


def decode_boxes(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Move and resize boxes: (..., 4) and (..., 4) to (..., 4)."""
    size = boxes[..., 2:] - boxes[..., :2]
    center = boxes[..., :2] + 0.5 * size + deltas[..., :2] * size
    size = size * ops.exp(ops.minimum(deltas[..., 2:], _MAX_LOG_GROWTH))
    start = center - 0.5 * size
    return ops.concatenate([start, start + size], axis=-1)


def encode_boxes(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return the deltas from boxes to targets, (..., 4); empty boxes give numbers, not NaN."""
    tiny = keras.config.epsilon()
    size = ops.maximum(boxes[..., 2:] - boxes[..., :2], tiny)
    target_size = ops.maximum(targets[..., 2:] - targets[..., :2], tiny)
    shift = targets[..., :2] + 0.5 * target_size - boxes[..., :2] - 0.5 * size
    return ops.concatenate([shift / size, ops.log(target_size / size)], axis=-1)


def clip_boxes(boxes: Tensor, window: Tensor) -> Tensor:
    """Cut boxes (..., 4) at a window that broadcasts to them."""
    low = ops.concatenate([window[..., :2]] * 2, axis=-1)
    high = ops.concatenate([window[..., 2:]] * 2, axis=-1)
    return ops.maximum(ops.minimum(boxes, high), low)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the overlaps (B, n, m) of boxes (B, n, 4) and (B, m, 4); 0 for empty ones."""
    a, b = first[:, :, None], second[:, None]
    size = ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2])
    size = ops.maximum(size, 0.0)
    common = size[..., 0] * size[..., 1]
    union = _areas(a) + _areas(b) - common
    return ops.where(union > 0.0, common / ops.where(union > 0.0, union, 1.0), 0.0)


def nonzero_rows(boxes: Tensor) -> Tensor:
    """Return which boxes are not padding: (..., 4) to (...) bool."""
    return ops.any(ops.not_equal(boxes, 0.0), axis=-1)


def gather_rows(values: Tensor, indices: Tensor) -> Tensor:
    """Pick rows of each batch item: (B, n, c) and (B, m) to (B, m, c)."""
    return ops.take_along_axis(values, indices[..., None], axis=1)


def suppress(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, count: int
) -> tuple[Tensor, Tensor]:
    """Keep the best boxes (B, n, 4) that do not overlap a better one of their group by a threshold.

    Returns:
        Indices (B, count) int32, best first, and whether each of them is real (B, count) bool: a
        negative score takes a box out.
    """
    areas = _areas(boxes)

    def keep_best(step: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        alive, chosen, real = state
        best = ops.cast(ops.argmax(alive, axis=1), "int32")[:, None]
        found = ops.take_along_axis(alive, best, axis=1) >= 0.0
        box = gather_rows(boxes, best)
        size = ops.minimum(box[..., 2:], boxes[..., 2:]) - ops.maximum(box[..., :2], boxes[..., :2])
        size = ops.maximum(size, 0.0)
        common = size[..., 0] * size[..., 1]
        union = areas + ops.take_along_axis(areas, best, axis=1) - common
        same = ops.equal(groups, ops.take_along_axis(groups, best, axis=1))
        # common / union > threshold, without a division by 0 for empty boxes.
        weaker = ops.logical_and(same, common > threshold * union)
        itself = ops.equal(positions, best)
        alive = ops.where(ops.logical_or(weaker, itself), -1.0, alive)
        here = ops.equal(slots, step)
        chosen = ops.where(here, best, chosen)
        real = ops.logical_or(real, ops.logical_and(here, found))
        return alive, chosen, real

    positions = ops.arange(ops.shape(boxes)[1], dtype="int32")[None]
    slots = ops.arange(count, dtype="int32")[None]
    chosen = ops.zeros_like(scores[:, :1], dtype="int32") + ops.zeros_like(slots)
    state = (scores, chosen, ops.not_equal(chosen, 0))
    _, chosen, real = ops.fori_loop(0, count, keep_best, state)
    return chosen, real


def suppress_sorted(
    boxes: Tensor, scores: Tensor, threshold: float, count: int
) -> tuple[Tensor, Tensor]:
    """Do the same for thousands of boxes of one group, best first.

    TensorFlow has an operation of its own for this, which is twenty times faster on a CPU than a
    loop of small ones.
    """
    if keras.backend.backend() == "tensorflow":
        return _suppress_by_tensorflow(boxes, scores, threshold, count)
    groups = ops.zeros_like(scores, dtype="int32")
    return suppress(boxes, scores, groups, threshold, count)


def sample_boxes(
    table: Tensor,
    offset: Tensor,
    height: Tensor,
    width: Tensor,
    boxes: Tensor,
    size: int,
    *,
    clamp: bool,
) -> Tensor:
    """Read a grid (n, size, size, C) of points from each box (n, 4), between pixels bilinearly.

    The points run from edge to edge: the first row lies on y1, the last on y2. Maps of all sizes
    lie one after another, row by row, in one table (cells, C), so that a box can choose its map, by
    where it begins and its height and width (n,), and all shapes stay fixed. Points outside the map
    read its border if `clamp`, else 0.
    """
    y, y_inside = _points(boxes[:, 0], boxes[:, 2], height, size)
    x, x_inside = _points(boxes[:, 1], boxes[:, 3], width, size)
    top, low_y, part_y = _split(y, height)
    left, low_x, part_x = _split(x, width)

    def read(rows: Tensor, columns: Tensor) -> Tensor:
        cells = offset[:, None, None] + rows[:, :, None] * width[:, None, None]
        return ops.take(table, cells + columns[:, None, :], axis=0)

    part_x = ops.cast(part_x, table.dtype)[:, None, :, None]
    part_y = ops.cast(part_y, table.dtype)[:, :, None, None]
    upper = read(top, left)
    upper = upper + (read(top, low_x) - upper) * part_x
    lower = read(low_y, left)
    lower = lower + (read(low_y, low_x) - lower) * part_x
    values = upper + (lower - upper) * part_y
    if clamp:
        return values
    inside = ops.logical_and(y_inside[:, :, None], x_inside[:, None, :])
    return ops.where(inside[..., None], values, ops.zeros_like(values))


def _points(start: Tensor, stop: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    last = ops.cast(length, "float32")[:, None] - 1.0
    steps = ops.arange(size, dtype="float32")[None]
    points = start[:, None] * last + steps * ((stop - start)[:, None] * last / max(size - 1, 1))
    return points, ops.logical_and(points >= 0.0, points <= last)


def _split(points: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    last = length[:, None] - 1
    points = ops.clip(points, 0.0, ops.cast(last, "float32"))
    first = ops.floor(points)
    low = ops.cast(first, "int32")
    return low, ops.minimum(low + 1, last), points - first


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _suppress_by_tensorflow(
    boxes: Tensor, scores: Tensor, threshold: float, count: int
) -> tuple[Tensor, Tensor]:
    import tensorflow as tf

    def one(item: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        indices, found = tf.raw_ops.NonMaxSuppressionV4(
            boxes=item[0], scores=item[1], max_output_size=count, iou_threshold=threshold,
            score_threshold=-1.0, pad_to_max_output_size=True,
        )  # fmt: skip
        return tf.ensure_shape(indices, (count,)), tf.range(count) < found

    return tf.map_fn(
        one, (boxes, scores),
        fn_output_signature=(
            tf.TensorSpec((count,), tf.int32), tf.TensorSpec((count,), tf.bool)
        ),
    )  # fmt: skip
