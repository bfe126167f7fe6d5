"""Boxes inside the network: normalised (y1, x1, y2, x2) in tensors of fixed shapes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any

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
    """Keep the best boxes that do not overlap a better one of their group.

    Args:
        boxes: (B, n, 4).
        scores: (B, n), at least 0; a negative score takes a box out.
        groups: (B, n) int32.
        threshold: Overlap above which the weaker box is dropped.
        count: Boxes to keep.

    Returns:
        Indices (B, count) int32, best first, and whether each of them is real (B, count) bool.
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
    """Read a grid of points from each box, between the pixels bilinearly.

    The points run from edge to edge: the first row lies on y1, the last on y2. Maps of all sizes
    lie one after another in one table, so that a box can choose its map and all shapes stay fixed.

    Args:
        table: (cells, C), the cells of all maps, row by row.
        offset: (n,) int32, where the map of each box begins.
        height: (n,) int32, rows of that map.
        width: (n,) int32, columns of that map.
        boxes: (n, 4) normalised.
        size: Points a side.
        clamp: Points outside the map read its border if True, else 0.

    Returns:
        (n, size, size, C).
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
