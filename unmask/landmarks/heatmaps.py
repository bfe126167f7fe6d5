"""From landmarks to target heatmaps and back, in NumPy.

A heatmap pixel covers ``STRIDE`` x ``STRIDE`` image pixels. With pixel centres at integers in both,
``image = STRIDE * (heatmap + 0.5) - 0.5``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.landmark_layout import BOUNDARIES_98

STRIDE = 4
SIGMA = 1.0
IGNORED = -1.0
"""A target channel filled with this value is not supervised."""
_REACH = 3  # heatmap pixels: everything beyond 3 sigma is exactly zero


def to_heatmap(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Image pixels to heatmap pixels."""
    return (points + 0.5) / STRIDE - 0.5


def to_image(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Heatmap pixels to image pixels."""
    return (points + 0.5) * STRIDE - 0.5


def draw_heatmaps(points: NDArray[np.floating], size: int = 64) -> NDArray[np.float32]:
    """Return Gaussian target heatmaps (size, size, N) in [0, 1] of points (N, 2) in heatmap pixels.

    They are centred between pixels where the points are, and zero beyond 3 sigma of 1 pixel; points
    outside leave what reaches inside.

    Example:
        >>> maps = draw_heatmaps(np.array([[10.0, 20.0]]))
        >>> maps.shape, float(maps[20, 10, 0])
        ((64, 64, 1), 1.0)

    Reference:
        Adaptive Wing Loss, section 5; the published code rounds the centre to whole pixels, which
        costs up to two image pixels of accuracy.
    """
    points = np.asarray(points, np.float64)
    heatmaps = np.zeros((size, size, len(points)), np.float32)
    # Only a patch around each point is not zero; all patches are computed at once.
    steps = np.arange(-_REACH, _REACH + 1)
    nearest = np.rint(points).astype(int)
    columns, rows = nearest[:, :1] + steps, nearest[:, 1:] + steps  # (N, 7) each
    from_x = (columns - points[:, :1]) ** 2
    from_y = (rows - points[:, 1:]) ** 2
    distance = from_y[:, :, None] + from_x[:, None, :]
    inside = (rows[:, :, None] >= 0) & (rows[:, :, None] < size)
    inside = inside & (columns[:, None, :] >= 0) & (columns[:, None, :] < size)
    inside &= distance <= (_REACH * SIGMA) ** 2
    n, r, c = np.nonzero(inside)
    heatmaps[rows[n, r], columns[n, c], n] = np.exp(-distance[n, r, c] / (2 * SIGMA**2))
    return heatmaps


def draw_boundary(points: NDArray[np.floating], size: int = 64) -> NDArray[np.float32]:
    """Return a ridge along jaw, brows, nose, lids and lips of points (98, 2) in heatmap pixels.

    It is (size, size) float32 in [0, 1]: a Gaussian of the distance to the nearest curve.

    Example:
        >>> draw_boundary(np.random.default_rng(0).uniform(0, 64, (98, 2))).shape
        (64, 64)

    Reference:
        Adaptive Wing Loss, section 5 (after Wu et al., "Look at Boundary", 2018).
    """
    # Drawn twice as large, because lines are drawn in whole pixels.
    fine = np.full((2 * size, 2 * size), 255, np.uint8)
    scaled = np.rint((np.asarray(points) * 2 + 0.5) * 16).astype(np.int32)
    curves = [scaled[list(curve)] for curve in BOUNDARIES_98]
    cv2.polylines(fine, curves, isClosed=False, color=0, shift=4)
    distance = cv2.distanceTransform(fine, cv2.DIST_L2, 5) / 2
    distance = cv2.resize(distance, (size, size), interpolation=cv2.INTER_AREA)
    ridge = np.exp(-(distance**2) / (2 * SIGMA**2))
    return np.where(distance <= _REACH * SIGMA, ridge, 0).astype(np.float32)


def decode_mean(heatmaps: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the centres of mass of squared heatmaps (B, H, W, N), as in the coordinate loss.

    They are (B, N, 2), (x, y) in heatmap pixels. What is negative counts as 0, and a map without
    mass has its centre at (0, 0).

    Example:
        >>> points = decode_mean(draw_heatmaps(np.array([[30.2, 41.6]]))[None])
        >>> points.astype(float).round(1).tolist()
        [[[30.2, 41.6]]]
    """
    mass = np.square(np.maximum(heatmaps, 0.0))
    over_rows, over_columns = mass.sum(2), mass.sum(1)  # (B, H, N), (B, W, N)
    total = np.maximum(over_rows.sum(1), 1e-12)
    x = np.einsum("bwn,w->bn", over_columns, np.arange(mass.shape[2])) / total
    y = np.einsum("bhn,h->bn", over_rows, np.arange(mass.shape[1])) / total
    return np.stack([x, y], axis=-1).astype(np.float32)
