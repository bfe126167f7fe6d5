"""The surface of a worn mask: which point of the flat sheet lies under a pixel.

Nine anchors carry it: upper edge, height of the mouth and lower edge, each left, middle, right. In
a frame that is turned with the face, u follows from where a pixel lies between the two side borders
and the line of the nose, then v from where it lies between the three rows at this u. Both steps are
monotone and explicit, so a turned head compresses the far half without folds, and nothing has to be
inverted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Field = NDArray[np.floating]

# Arch of the upper edge, of the row at the mouth and of the lower edge, `1 - |u| ** power`: 2 is a
# parabola; a jaw is fuller.
_ROUNDNESS = (2.0, 2.0, 2.6)
# Largest share of the width on one side of the nose; the rest would be too thin to show anything.
_MOST_TURNED = 0.86
# How far beyond its borders a surface is defined, as a share of its width.
_BEYOND = 0.2


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface through nine anchors; build it with `surface_through`."""

    anchors: Points  # (3, 3, 2) upper edge, mouth's height, lower edge; each left, middle, right
    axes: Points  # (2, 2) unit vectors of the face: to the right of the picture and down
    rows: Points  # (3, 3) heights of the anchors along the second axis
    borders: Points  # (2, 3) coefficients of the left and right border, parabolas over the height
    nose: Points  # (3,) coefficients of the nose's share of the width, a parabola as well

    @property
    def width(self) -> float:
        """Distance of the side borders at the height of the mouth, in pixels; at least 1."""
        return max(float(np.hypot(*(self.anchors[1, 2] - self.anchors[1, 0]))), 1.0)

    def bounds(self) -> tuple[Points, Points]:
        """Return the smallest and the largest (x, y) that the surface reaches, (2,) each."""
        y = np.linspace(self.rows.min(), self.rows.max(), 7)
        left, width, _ = self._span(y)
        x = np.array([left.min(), (left + width).max()])
        corners = np.array([(a, b) for a in x for b in y[[0, -1]]]) @ self.axes
        return corners.min(axis=0), corners.max(axis=0)

    def coordinates(self, x: Field, y: Field) -> NDArray[np.float32]:
        """Return (u, v), (H, W, 2), at columns x, (W,), and rows y, (H,); beyond the edges, too."""
        across, down = self.axes.astype(np.float32)
        columns, rows = np.asarray(x, np.float32), np.asarray(y, np.float32)[:, None]
        x, y = across[0] * columns + across[1] * rows, down[0] * columns + down[1] * rows
        left, width, nose = self._span(y)
        u = _between(np.clip((x - left) / width, -_BEYOND, 1 + _BEYOND), nose)
        top, middle, bottom = (self._row(index, u) for index in range(3))
        height = np.maximum(bottom - top, 1e-3)
        t = np.clip((y - top) / height, -0.4, 1.4)
        share = np.clip((middle - top) / height, 0.3, 0.7)
        v = t * (1 - share) / (t * (1 - share) + (1 - t) * share)
        return np.stack([u, v], axis=-1).astype(np.float32)

    def _span(self, y: Field) -> tuple[Field, Field, Field]:
        """Left border, width and share of the nose at heights."""
        inside = np.clip(y, self.rows[0].min(), self.rows[2, ::2].max())
        left, right = (_parabola(border, inside) for border in self.borders)
        middle = np.clip(y, self.rows[0, 1], self.rows[2, 1])
        nose = np.clip(_parabola(self.nose, middle), 1 - _MOST_TURNED, _MOST_TURNED)
        return left, np.maximum(right - left, 1e-3), nose

    def _row(self, index: int, u: Field) -> Field:
        left, middle, right = (float(height) for height in self.rows[index])
        arch = middle - (left + right) / 2
        return middle + (right - left) / 2 * u - arch * np.abs(u) ** _ROUNDNESS[index]

    def points(self, u: Field, v: Field) -> Points:
        """Return the pixels (x, y), (N, 2), of points u in [-1, 1] and v in [0, 1], (N,) each."""
        top, middle, bottom = (self._row(index, u) for index in range(3))
        share = np.clip((middle - top) / np.maximum(bottom - top, 1e-3), 0.3, 0.7)
        y = top + (bottom - top) * v * share / (v * share + (1 - v) * (1 - share))
        left, width, nose = self._span(y)
        steps = np.linspace(0, 1, 65)
        known = _between(steps, nose[:, None])
        s = np.array([np.interp(a, row, steps) for a, row in zip(u, known, strict=True)])
        return np.stack([left + s * width, y], axis=-1) @ self.axes


def surface_through(anchors: Points) -> Surface:
    """Lay a surface through nine finite anchors, (3, 3, 2), however broken the landmarks are.

    The middle anchors are met exactly unless the head is turned beyond what a surface can show.
    """
    across = (anchors[:, 2] - anchors[:, 0]).sum(axis=0)
    length = float(np.hypot(*across))
    across = across / length if length > 1e-6 else np.array([1.0, 0.0])
    axes = np.stack([across, [-across[1], across[0]]])
    local = anchors @ axes.T
    rows = local[..., 1].copy()
    # Rows keep a distance, so that every parabola through them exists.
    gap = max(0.08 * float(rows[2].max() - rows[0].min()), 0.5)
    for index in (1, 2):
        rows[index] = np.maximum(rows[index], rows[index - 1] + gap)
    borders = np.stack([_fit_parabola(rows[:, k], local[:, k, 0]) for k in (0, 2)])
    middle = np.clip(rows[:, 1], rows[0].min(), rows[2, ::2].max())
    left, right = (_parabola(border, middle) for border in borders)
    share = (local[:, 1, 0] - left) / np.maximum(right - left, 1e-3)
    nose = _fit_parabola(rows[:, 1], np.clip(share, 1 - _MOST_TURNED, _MOST_TURNED))
    return Surface(anchors, axes, rows, borders, nose)


def _between(s: Field, nose: Field) -> Field:
    """Take 0, `nose`, 1 to -1, 0, 1 by a monotone cubic on each side, straight beyond the ends."""
    inside = np.clip(s, 0, 1)
    # Secants 1 / nose and 1 / (1 - nose); 2 is their harmonic mean, the slope at the nose.
    left, right = 1 / nose, 1 / (1 - nose)
    slope_left, slope_right = (3 * left - 2) / 2, (3 * right - 2) / 2
    near = -1 + _rise(inside * left, slope_left * nose, 2 * nose)
    far = 1 - _rise((1 - inside) * right, slope_right * (1 - nose), 2 * (1 - nose))
    u = np.where(inside < nose, near, far)
    return u + (s - inside) * np.where(s < 0.5, slope_left, slope_right)


def _rise(t: Field, start: Field, end: Field) -> Field:
    """Cubic from 0 at 0 to 1 at 1 with the given slopes at both ends."""
    return t * (start + t * ((3 - 2 * start - end) + t * (start + end - 2)))


def _fit_parabola(x: Field, y: Field) -> Points:
    first = (y[1] - y[0]) / (x[1] - x[0])
    second = ((y[2] - y[1]) / (x[2] - x[1]) - first) / (x[2] - x[0])
    slope = first - second * (x[0] + x[1])
    return np.array([y[0] - x[0] * (slope + second * x[0]), slope, second])


def _parabola(coefficients: Points, x: Field) -> Field:
    constant, slope, second = (float(c) for c in coefficients)
    return constant + x * (slope + x * second)
