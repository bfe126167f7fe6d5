"""The window of the canonical crop in which faces are completed.

Completing the whole 256 x 256 crop would spend half of the work on hair and background. The
window keeps everything that tells about the hidden face (brows, eyes, cheeks, neck) and every
usual mask; training and `unmask.run` use the same one, because instance normalisation depends on
how much background is in sight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.face import CROP_SIZE

WINDOW_CORNER = np.array([32, 64], np.float32)
"""The usual window's first pixel (x, y) in the crop."""

WINDOW_SIDE = 192

# The hole is the mask and this many pixels of the crop around it: enough for soft edges and for a
# pixel or two that the segmentation misses.
HOLE_GROWTH = 4

CHECKER_KERNEL = np.array([0.25, 0.5, 0.25], np.float32)
"""Has no answer to a pattern of two pixels."""

# Pixels between the hole and the window's edge: the generator continues from what it sees there.
_MARGIN = 5


def window_matrix(hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Choose the window of a crop by its hole (256, 256): the usual, or larger where that is wider.

    The (2, 3) matrix, from crop pixels to those of a 192 x 192 window, only shifts where the hole
    leaves a margin in the usual window, and shrinks otherwise.

    Example:
        >>> hole = np.zeros((256, 256), bool)
        >>> hole[130:240, 60:200] = True
        >>> window_matrix(hole)
        array([[  1.,   0., -32.],
               [  0.,   1., -64.]])
    """
    points = np.argwhere(hole)[:, ::-1]
    first = np.minimum(WINDOW_CORNER, points.min(0) - _MARGIN)
    end = np.maximum(WINDOW_CORNER + WINDOW_SIDE, points.max(0) + 1 + _MARGIN)
    scale = WINDOW_SIDE / (end - first).max()
    middle = (WINDOW_SIDE - 1) / 2
    return np.column_stack([scale * np.eye(2), middle - scale * (first + end - 1) / 2])


def window(array: NDArray[Any]) -> NDArray[Any]:
    """Cut the window out of crops, (..., 256, 256) or (..., 256, 256, C): a view with 192.

    Raises:
        ValueError: The array has another shape.
    """
    axis = array.ndim - (2 if array.shape[-2:] == (CROP_SIZE, CROP_SIZE) else 3)
    if axis < 0 or array.shape[axis : axis + 2] != (CROP_SIZE, CROP_SIZE):
        raise ValueError(
            f"array must hold {CROP_SIZE} x {CROP_SIZE} crops. Received: shape={array.shape}"
        )
    left, top = WINDOW_CORNER.astype(int)
    before = (slice(None),) * axis
    return array[(*before, slice(top, top + WINDOW_SIDE), slice(left, left + WINDOW_SIDE))]


def draw_landmark_map(landmarks: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """Return a (side, side, 1) map with 1 at the pixels of landmarks (N, 2) and 0 elsewhere.

    Those outside the map are left out.

    Example:
        >>> float(draw_landmark_map(np.array([[1.2, 2.0], [99.0, 0.0]]), 8).sum())
        1.0
    """
    result = np.zeros((side, side, 1), np.float32)
    columns, rows = np.rint(np.asarray(landmarks)).astype(int).T
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    result[rows[inside], columns[inside]] = 1.0
    return result
