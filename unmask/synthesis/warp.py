"""From the flat mask to the face: a thin-plate spline through a small net of points.

A mask's surface has coordinates (u, v): u runs from -1 (left border) over 0 (the line from the nose to the chin) to 1,
v from 0 (upper edge) over 0.5 (tip of the nose) to 1 (lower edge).
"""

from __future__ import annotations

import numpy as np

COLUMNS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
ROWS = np.array([0.0, 0.5, 1.0])

_LIMIT = 0.82


def net_from_anchors(anchors: np.ndarray) -> np.ndarray:
    """Fill the columns between left border, middle and right border.

    The position along a row is a monotone cubic, so a turned head compresses the far half smoothly and never folds it.

    Args:
        anchors: `(3, 3, 2)`, rows top to bottom, each left, middle, right; (x, y) in pixels.

    Returns:
        `(3, 5, 2)` points at `ROWS` x `COLUMNS`.
    """
    left, middle, right = anchors[:, 0], anchors[:, 1], anchors[:, 2]
    chord = right - left
    length2 = np.maximum((chord**2).sum(1), 1e-6)
    share = np.clip(((middle - left) * chord).sum(1) / length2, 1 - _LIMIT, _LIMIT)
    bulge = middle - left - share[:, None] * chord
    slope = 2 * share * (1 - share)
    end_left = (3 * share - slope) / 2
    end_right = (3 * (1 - share) - slope) / 2
    # Cubic Hermite halfway between two knots: the mean of the values and an eighth of the slopes.
    quarter = share / 2 + (end_left - slope) / 8
    three_quarters = (share + 1) / 2 + (slope - end_right) / 8
    along = np.stack([0 * share, quarter, share, three_quarters, 0 * share + 1], axis=1)
    height = 1 - COLUMNS**2
    return left[:, None] + along[..., None] * chord[:, None] + height[:, None] * bulge[:, None]


def surface_coordinates(net: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the (u, v) of image points: the thin-plate spline that takes `net` to its grid.

    Args:
        net: `(3, 5, 2)` image points at `ROWS` x `COLUMNS`.
        x: `(W,)` columns at which to evaluate, in pixels.
        y: `(H,)` rows at which to evaluate, in pixels.

    Returns:
        `(H, W, 2)` float32.
    """
    centers = net.reshape(-1, 2)
    origin = centers.mean(0)
    scale = max(float(np.abs(centers - origin).max()), 1e-6)
    centers = (centers - origin) / scale
    targets = np.stack(np.meshgrid(COLUMNS, ROWS), axis=-1).reshape(-1, 2)
    count = len(centers)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(((centers[:, None] - centers[None]) ** 2).sum(-1))
    # A little stiffness: landmarks are not exact, a smooth mask matters more.
    system[np.arange(count), np.arange(count)] = 1e-3
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = centers
    system[count + 1 :, :count] = centers.T
    values = np.zeros((count + 3, 2))
    values[:count] = targets
    weights = np.linalg.lstsq(system, values, rcond=None)[0].astype(np.float32)

    grid_x = ((x - origin[0]) / scale).astype(np.float32)
    grid_y = ((y - origin[1]) / scale).astype(np.float32)
    centers32 = centers.astype(np.float32)
    distance2 = (
        np.square(grid_y[:, None] - centers32[:, 1])[:, None, :]
        + np.square(grid_x[:, None] - centers32[:, 0])[None, :, :]
    )
    result = _kernel(distance2) @ weights[:count]
    result += weights[count]
    result += grid_x[None, :, None] * weights[count + 1]
    result += grid_y[:, None, None] * weights[count + 2]
    return result


def template_positions(points: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Return where surface coordinates lie in a template.

    Upper and lower edge are parabolas through three key points each; between them it is linear.

    Args:
        points: `(6, 2)` key points of the template.
        surface: `(..., 2)` of (u, v).

    Returns:
        `(..., 2)` float32, (x, y) in template pixels.
    """
    points = np.asarray(points, np.float32)
    u, v = surface[..., :1], surface[..., 1:]
    top = _parabola(points[:3], u)
    return top + v * (_parabola(points[3:], u) - top)


def _parabola(points: np.ndarray, u: np.ndarray) -> np.ndarray:
    left, middle, right = points
    return middle + u * ((right - left) / 2 + u * ((right + left) / 2 - middle))


def _kernel(distance2: np.ndarray) -> np.ndarray:
    return distance2 * np.log(distance2 + np.float32(1e-9))
