"""From the flat mask to the face: a thin-plate spline through a small net of points.

A mask's surface has coordinates (u, v): u runs from -1 (left border) over 0 (the line from the nose to the chin) to 1,
v from 0 (upper edge) over 0.5 (tip of the nose) to 1 (lower edge).
"""

from __future__ import annotations

import numpy as np

COLUMNS = np.linspace(-1, 1, 7)
ROWS = np.linspace(0, 1, 5)

# Arch of the upper edge, the row at the mouth and the lower edge: a jaw is fuller than a parabola.
_ROUNDNESS = np.array([2.0, 2.0, 2.6])
# Share of a row's length on one side of its middle; beyond it the other side would be too thin to bend.
_LIMIT = 0.85


def net_from_anchors(anchors: np.ndarray) -> np.ndarray:
    """Fill in the net between nine points.

    Both directions are monotone cubics, so a turned head compresses the far half smoothly and never folds it.

    Args:
        anchors: `(3, 3, 2)`, rows top (v = 0), middle (0.5), bottom (1); each left, middle, right; (x, y) in pixels.

    Returns:
        `(5, 7, 2)` points at `ROWS` x `COLUMNS`.
    """
    rows = _through(anchors[:, 0], anchors[:, 1], anchors[:, 2], (COLUMNS + 1) / 2, _ROUNDNESS)
    return _through(rows[0], rows[1], rows[2], ROWS, np.full(len(COLUMNS), 2.0)).transpose(1, 0, 2)


def _through(
    start: np.ndarray, middle: np.ndarray, end: np.ndarray, at: np.ndarray, power: np.ndarray
) -> np.ndarray:
    """Curves through three points, (N, 2) each, at 0, 0.5 and 1: (N, P, 2) for P positions.

    Along the chord the position is a monotone cubic Hermite spline; across it it is an arch,
    `1 - |2 at - 1| ** power`: 2 is a parabola, more is flatter in the middle.
    """
    chord = end - start
    length2 = np.maximum((chord**2).sum(1), 1e-6)
    share = (((middle - start) * chord).sum(1) / length2)[:, None]
    bulge = middle - start - share * chord
    share = np.clip(share, 1 - _LIMIT, _LIMIT)
    slope = 2 * share * (1 - share)
    first = _hermite(2 * at, 0 * share, share, (3 * share - slope) / 2, slope)
    second = _hermite(2 * at - 1, share, 0 * share + 1, slope, (3 * (1 - share) - slope) / 2)
    along = np.where(at < 0.5, first, second)
    across = 1 - np.abs(2 * at - 1) ** power[:, None]
    return start[:, None] + along[..., None] * chord[:, None] + across[..., None] * bulge[:, None]


def _hermite(
    t: np.ndarray, start: np.ndarray, end: np.ndarray, slope0: np.ndarray, slope1: np.ndarray
) -> np.ndarray:
    t2, t3 = t * t, t * t * t
    return (
        (2 * t3 - 3 * t2 + 1) * start
        + (t3 - 2 * t2 + t) * slope0
        + (3 * t2 - 2 * t3) * end
        + (t3 - t2) * slope1
    )


def surface_coordinates(net: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the (u, v) of image points: the thin-plate spline that takes `net` to its grid.

    Args:
        net: `(5, 7, 2)` image points at `ROWS` x `COLUMNS`.
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
    weights = np.linalg.solve(system, values).astype(np.float32)

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
