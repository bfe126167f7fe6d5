"""From the flat mask to the face: a net of points, and the thin-plate spline through it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

COLUMNS = np.linspace(-1, 1, 7)
ROWS = np.linspace(0, 1, 5)

# Arch of the upper edge, of the row at the mouth and of the lower edge: a jaw is fuller than a
# parabola.
_ROUNDNESS = np.array([2.0, 2.0, 2.6])
# Largest share of a row on one side of its middle: the other side would be too thin to bend.
_LIMIT = 0.85


def net_from_anchors(anchors: Points) -> Points:
    """Fill in the net between nine points.

    Both directions are monotone cubics, so a turned head compresses the far half smoothly and never
    folds it.

    Args:
        anchors: (3, 3, 2) points (x, y) in pixels: upper edge (v = 0), height of the mouth (0.5),
            lower edge (1); each left, middle, right.

    Returns:
        (5, 7, 2) points at `ROWS` x `COLUMNS`.
    """
    left, middle, right = anchors.transpose(1, 0, 2)
    rows = curves_through(left, middle, right, (COLUMNS + 1) / 2, _ROUNDNESS)
    return curves_through(rows[0], rows[1], rows[2], ROWS).transpose(1, 0, 2)


def curves_through(
    start: Points,
    middle: Points,
    end: Points,
    at: NDArray[np.floating],
    power: NDArray[np.floating] | float = 2.0,
) -> Points:
    """Curves through three points each.

    Along the chord the position is a monotone cubic Hermite spline, straight beyond its ends;
    across it is an arch, `1 - |2 at - 1| ** power`: 2 is a parabola, more is flatter.

    Args:
        start: (N, 2) points at 0.
        middle: (N, 2) points at 0.5.
        end: (N, 2) points at 1.
        at: (P,) where to evaluate.
        power: Form of the arch, one for all or (N,).

    Returns:
        (N, P, 2).
    """
    chord = end - start
    length2 = np.maximum((chord**2).sum(1), 1e-6)
    share = (((middle - start) * chord).sum(1) / length2)[:, None]
    bulge = middle - start - share * chord
    share = np.clip(share, 1 - _LIMIT, _LIMIT)
    slope = 2 * share * (1 - share)
    slope_start, slope_end = (3 * share - slope) / 2, (3 * (1 - share) - slope) / 2
    inside = np.clip(at, 0, 1)
    first = _hermite(2 * inside, 0 * share, share, slope_start, slope)
    second = _hermite(2 * inside - 1, share, 0 * share + 1, slope, slope_end)
    along = np.where(inside < 0.5, first, second)
    along += 2 * (at - inside) * np.where(at < 0.5, slope_start, slope_end)
    across = 1 - np.abs(2 * at - 1) ** np.reshape(power, (-1, 1))
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


def surface_coordinates(net: Points, x: Points, y: Points) -> NDArray[np.float32]:
    """Return the (u, v) of image points: the thin-plate spline that takes `net` to its grid.

    Args:
        net: (5, 7, 2) image points at `ROWS` x `COLUMNS`.
        x: (W,) columns at which to evaluate, in pixels.
        y: (H,) rows at which to evaluate, in pixels.

    Returns:
        (H, W, 2).
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
    # Keeps points on one line (a broken landmark set) from stopping a long run.
    system[range(count, count + 3), range(count, count + 3)] = -1e-9
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


def _kernel(distance2: np.ndarray) -> np.ndarray:
    return distance2 * np.log(distance2 + np.float32(1e-9))
