"""Boxes (y1, x1, y2, x2): in NumPy, y2 and x2 exclusive; in tensors of fixed shapes, normalised.

What does the same to both is one function; some have a second name in matterport's package, ending
in "_graph".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from unmask.face import tight_box

Tensor = Any

Floats = NDArray[np.floating]

# Corners of a box that covers all pixels: (0, 0, height, width), which is (0, 0, 1, 1) normalised.
_SHIFT = np.array([0, 0, 1, 1], np.float32)


def extract_bboxes(mask: ArrayLike) -> NDArray[np.int32]:
    """Return the tight boxes (n, 4) int32 of masks (H, W, n), where these are not 0; or zeros.

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
    for box, single in zip(boxes, np.moveaxis(masks, -1, 0), strict=True):
        if (around := tight_box(single)) is not None:
            left, top, right, bottom = around
            box[:] = top, left, bottom, right
    return boxes


def box_areas(boxes: Any) -> Any:
    """Return the areas of boxes, arrays or tensors, (..., 4) to (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _common_area(a: Any, b: Any) -> Any:
    library = _library(a)
    size = library.minimum(a[..., 2:], b[..., 2:]) - library.maximum(a[..., :2], b[..., :2])
    size = library.maximum(size, 0)
    return size[..., 0] * size[..., 1]


def _library(values: Any) -> Any:
    """Return what computes with an array, or else with a tensor."""
    return np if isinstance(values, np.ndarray) else ops


def compute_iou(box: Floats, boxes: Floats, box_area: float, boxes_area: Floats) -> Floats:
    """Return the overlaps (n,) of a box (4,) with boxes (n, 4), given the areas of all of them."""
    common = _common_area(box, boxes)
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
    for j, box in enumerate(second):
        overlaps[:, j] = compute_iou(box, first, float(areas2[j]), areas1)
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
    scales: ArrayLike, ratios: ArrayLike, shape: Sequence[int], feature_stride: int,
    anchor_stride: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the anchors of one level, (n, 4) pixels, the first one centred on pixel (0, 0).

    Args:
        scales: Sides of the anchors in pixels: one number or several.
        ratios: Width over height.
        shape: Height and width of the feature map.
        feature_stride: Pixels from cell to cell.
        anchor_stride: Cells from anchor to anchor.

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
    scales: Sequence[float], ratios: Sequence[float], feature_shapes: ArrayLike,
    feature_strides: Sequence[int], anchor_stride: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the anchors of all levels, one scale a level, in the order of the levels."""
    # There may be more strides than scales.
    levels = zip(scales, np.asarray(feature_shapes), feature_strides, strict=False)
    return np.concatenate(
        [generate_anchors(s, ratios, at, stride, anchor_stride) for s, at, stride in levels]
    )


def non_max_suppression(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.int32]:
    """Drop each box (n, 4) that overlaps a better one above a threshold; indices of the rest."""
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


# A box can grow by e^10 at most: no box of this size differs from the whole image after it is
# clipped, and the exponential of a wild correction in an early training is still a number.
_MAX_LOG_GROWTH = 10.0


def apply_box_deltas(boxes: Any, deltas: Any) -> Any:
    """Move and resize boxes (..., 4), by shifts in heights and widths and logarithms of growth."""
    library = _library(boxes)
    size = boxes[..., 2:] - boxes[..., :2]
    center = boxes[..., :2] + 0.5 * size + deltas[..., :2] * size
    size = size * library.exp(library.minimum(deltas[..., 2:], _MAX_LOG_GROWTH))
    start = center - 0.5 * size
    return library.concatenate([start, start + size], axis=-1)


def box_refinement(box: Any, gt_box: Any) -> Any:
    """Return the deltas from boxes (..., 4) to others; undoes `apply_box_deltas`.

    Empty boxes give numbers, not NaN.

    Example:
        >>> box_refinement(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10]])).tolist()
        [[0.5, 0.0, 0.0, 0.0]]
    """
    library, tiny = _library(box), keras.config.epsilon()
    size = library.maximum(box[..., 2:] - box[..., :2], tiny)
    gt_size = library.maximum(gt_box[..., 2:] - gt_box[..., :2], tiny)
    shift = gt_box[..., :2] + 0.5 * gt_size - box[..., :2] - 0.5 * size
    return library.concatenate([shift / size, library.log(gt_size / size)], axis=-1)


apply_box_deltas_graph, box_refinement_graph = apply_box_deltas, box_refinement


def trim_zeros(x: Floats) -> Floats:
    """Drop the rows that hold nothing but zeros."""
    return x[~np.all(x == 0, axis=1)]


def _scale(shape: Sequence[int]) -> NDArray[np.float64]:
    return np.array([shape[0], shape[1], shape[0], shape[1]], np.float64) - 1.0


def clip_boxes_graph(boxes: Tensor, window: Tensor) -> Tensor:
    """Cut boxes (..., 4) at a window that broadcasts to them."""
    low = ops.concatenate([window[..., :2]] * 2, axis=-1)
    high = ops.concatenate([window[..., 2:]] * 2, axis=-1)
    return ops.maximum(ops.minimum(boxes, high), low)


def overlaps_graph(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return the overlaps (..., n, m) of boxes (..., n, 4) and (..., m, 4); 0 for empty ones."""
    a, b = boxes1[..., :, None, :], boxes2[..., None, :, :]
    common = _common_area(a, b)
    union = box_areas(a) + box_areas(b) - common
    return ops.where(union > 0.0, common / ops.where(union > 0.0, union, 1.0), 0.0)


def norm_boxes_graph(boxes: Tensor, shape: Any) -> Tensor:
    """Turn boxes in pixels (..., 4) into fractions of heights and widths (..., 2)."""
    return (ops.cast(boxes, "float32") - _SHIFT) / _sides(shape)


def denorm_boxes_graph(boxes: Tensor, shape: Any) -> Tensor:
    """Turn fractions (..., 4) into whole pixels, int32."""
    return ops.cast(ops.round(ops.cast(boxes, "float32") * _sides(shape) + _SHIFT), "int32")


def _sides(shape: Any) -> Tensor:
    sides = ops.cast(ops.convert_to_tensor(shape), "float32")
    return ops.concatenate([sides, sides], axis=-1) - 1.0


def trim_zeros_graph(boxes: Tensor, name: str = "trim_zeros") -> tuple[Tensor, Tensor]:
    """Return the rows of boxes (n, 4) that are not zeros, and which these are (n,) bool."""
    real = nonzero_rows(boxes)
    return ops.take(boxes, ops.nonzero(real)[0], axis=0), real


def batch_pack_graph(x: Tensor, counts: Sequence[int], num_rows: int) -> Tensor:
    """Join the first `counts[i]` rows of each item of a batch."""
    return ops.concatenate([x[i, : counts[i]] for i in range(num_rows)], axis=0)


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

    Returns indices (B, count) int32, best first, and which are real (B, count) bool: a negative
    score takes a box out.
    """
    areas = box_areas(boxes)

    def keep_best(step: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        alive, chosen, real = state
        best = ops.cast(ops.argmax(alive, axis=1), "int32")[:, None]
        found = ops.take_along_axis(alive, best, axis=1) >= 0.0
        box = gather_rows(boxes, best)
        common = _common_area(box, boxes)
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
    """Do the same for thousands of boxes of one group, best first."""
    if keras.backend.backend() != "tensorflow":
        return suppress(boxes, scores, ops.zeros_like(scores, dtype="int32"), threshold, count)
    # TensorFlow's own operation is twenty times faster on a CPU than a loop of small ones.
    import tensorflow as tf

    def one(item: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        indices, found = tf.raw_ops.NonMaxSuppressionV4(
            boxes=item[0], scores=item[1], max_output_size=count, iou_threshold=threshold,
            score_threshold=-1.0, pad_to_max_output_size=True,
        )  # fmt: skip
        return tf.ensure_shape(indices, (count,)), tf.range(count) < found

    signature = tf.TensorSpec((count,), tf.int32), tf.TensorSpec((count,), tf.bool)
    return tf.map_fn(one, (boxes, scores), fn_output_signature=signature)


def sample_boxes(
    table: Tensor, offset: Tensor, height: Tensor, width: Tensor, boxes: Tensor, size: int, *,
    clamp: bool,
) -> Tensor:  # fmt: skip
    """Read a grid (n, size, size, C) of points from each box (n, 4), bilinearly, edge to edge.

    Maps of all sizes lie one after another in one table (cells, C), so that a box can choose its
    map, by where it begins and its height and width (n,), and all shapes stay fixed. Points
    outside the map read its border if `clamp`, else 0.
    """
    top, low_y, part_y, y_inside = _points(boxes[:, 0], boxes[:, 2], height, size)
    left, low_x, part_x, x_inside = _points(boxes[:, 1], boxes[:, 3], width, size)

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


def _points(
    start: Tensor, stop: Tensor, length: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the cells before and after each point, the share of the latter, and what is inside."""
    last = length[:, None] - 1
    end = ops.cast(last, "float32")
    steps = ops.arange(size, dtype="float32")[None]
    points = start[:, None] * end + steps * ((stop - start)[:, None] * end / max(size - 1, 1))
    inside = ops.logical_and(points >= 0.0, points <= end)
    points = ops.clip(points, 0.0, end)
    first = ops.floor(points)
    before = ops.cast(first, "int32")
    return before, ops.minimum(before + 1, last), points - first, inside
