"""The flat sheet that masks are drawn on.

A mask is drawn as fields over the sheet's coordinates (u, v). Light falls on the height field
(folds, seams, the form of the face beneath) at the end, so that folds, ridge and sides agree.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.synthesis.template import (
    PIXELS_PER_U,
    PIXELS_PER_V,
    SHAPE,
    Loops,
    MaskTemplate,
    sheet_coordinates,
    sheet_points,
)

Field = NDArray[np.floating]

ASPECT = PIXELS_PER_V / PIXELS_PER_U
"""How many units of u are as long as one of v."""


def soft_step(distance: Field, width: float) -> Field:
    """Return 0 below `-width`, 1 above `width` and a smooth ramp between."""
    t = np.clip(distance / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def bump(distance: Field, width: float) -> Field:
    """Return a bell of height 1 around `distance == 0`."""
    return np.exp(-np.square(distance / width))


def smooth_noise(rng: np.random.Generator, rows: int, columns: int) -> Field:
    """Return smooth noise of about unit deviation: random values on a coarse grid, enlarged."""
    coarse = rng.standard_normal((rows + 3, columns + 3), dtype=np.float32)
    fine = cv2.resize(coarse, SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return fine * np.float32(1.3)


class Canvas:
    """The fields of one mask, (H, W) each, which the methods change in place.

    Args:
        rng: Varies everything.
        color: (3,) albedo in [0, 1].
    """

    def __init__(self, rng: np.random.Generator, color: Field) -> None:
        self.rng = rng
        self.u, self.v = np.meshgrid(*sheet_coordinates())
        self.away = np.abs(self.u)
        self.color = np.broadcast_to(color, (*self.u.shape, 3)).copy()
        self.height: Field = np.zeros_like(self.u)  # towards the viewer, in pixels
        self.stain: Field = np.ones_like(self.u)  # factor on the light: stitches, creases
        self.alpha: Field = np.zeros_like(self.u)  # coverage

    def paint(self, cover: Field, color: Field | float) -> None:
        """Lay a colour over the sheet, 1 in `cover` hides what is below."""
        self.color += cover[..., None].astype(np.float32) * (color - self.color)

    def cut(self, top: Field, bottom: Field, side: Field, corner: float) -> None:
        """Cover what lies between the edges at v and the sides at |u|; corners are rounded in u."""
        from_side = side - self.away
        from_edge = np.minimum(self.v - top, bottom - self.v) * ASPECT
        inside = np.minimum(from_side, from_edge)
        rounded = corner - np.hypot(corner - from_side, corner - from_edge)
        inside = np.where((from_side < corner) & (from_edge < corner), rounded, inside)
        self.alpha = soft_step(inside, 1.0 / PIXELS_PER_U).astype(np.float32)

    def stand_on_face(self, ridge: float = 1.0) -> None:
        """Raise the sheet over nose (`ridge`: how sharply) and chin; bend sides and bottom."""
        u, v, rng = self.u, self.v, self.rng
        self.height -= rng.uniform(34, 52) * self.away ** rng.uniform(2.0, 2.8)
        nose = bump(u, rng.uniform(0.22, 0.34)) * soft_step(0.55 - v, 0.35)
        self.height += ridge * rng.uniform(10, 20) * nose
        self.height += rng.uniform(4, 10) * bump(u, 0.45) * bump(v - 0.78, 0.22)
        below = np.maximum(v - rng.uniform(0.5, 0.62), 0)
        self.height -= rng.uniform(110, 190) * below**2

    def hem(self, distance: Field, inset: float) -> None:
        """Sew or weld a line at `inset` of the `distance` from an edge."""
        line = bump(distance - inset, 0.010)
        self.height -= self.rng.uniform(0.4, 0.9) * line
        self.stain -= self.rng.uniform(0.02, 0.06) * line

    def wrinkle(self, depth: float) -> None:
        """Add folds from the sides, where loops pull: 0.5 pixels deep if stiff, 3 if loose."""
        rng = self.rng
        for _ in range(rng.integers(4, 9)):
            side = float(rng.choice([-1.0, 1.0]))
            start, end = rng.uniform(-0.1, 1.1), rng.uniform(0.2, 0.9)
            reach = rng.uniform(0.5, 1.1)
            t = np.clip((1 - side * self.u[0]) / reach, 0, 1)  # the same in each row
            line = start + (end - start) * t + rng.uniform(-0.05, 0.05) * np.sin(np.pi * t)
            fold = bump(self.v - line, rng.uniform(0.02, 0.05)) * (1 - t) ** 0.7
            self.height += depth * rng.uniform(0.4, 1.0) * fold
        for _ in range(rng.integers(5, 14)):
            self._crease(depth)
        self.height += 0.6 * depth * smooth_noise(rng, 6, 5)
        self.height += 0.25 * depth * smooth_noise(rng, 14, 12)

    def _crease(self, depth: float) -> None:
        """Add a short sharp crease in any direction, most likely across the face."""
        rng = self.rng
        angle = rng.normal(0, 0.5)
        u, v = self.u - rng.uniform(-0.9, 0.9), (self.v - rng.uniform(0.05, 1)) * ASPECT
        along = u * math.cos(angle) + v * math.sin(angle)
        across = v * math.cos(angle) - u * math.sin(angle) + rng.uniform(-0.4, 0.4) * along**2
        width, length = rng.uniform(0.012, 0.03), rng.uniform(0.12, 0.4)
        # One side of a crease is steep, the other runs out.
        steepness = np.where(across < 0, np.float32(1 / width), np.float32(1 / (3 * width)))
        fold = np.exp(-np.square(across * steepness) - np.square(along / length))
        self.height += rng.uniform(-0.5, 0.5) * depth * fold

    def finish(self, kind: str, contrast: float, loops: Loops | None = None) -> MaskTemplate:
        """Light the sheet, a share `contrast` of it from one direction: the finished template."""
        sideways, down = self.rng.uniform(-0.5, 0.5), self.rng.uniform(-0.7, -0.2)
        slope_y, slope_x = np.gradient(self.height)
        facing = 1.0 - sideways * slope_x - down * slope_y
        facing /= np.sqrt(1 + slope_x**2 + slope_y**2)
        shade = (1 - contrast) + contrast * np.maximum(facing, 0)
        shade /= float(np.percentile(shade[self.alpha > 0.5], 80))
        rgb = np.clip(self.color * (shade * self.stain)[..., None], 0, 1) * 255
        rgba = np.dstack([rgb, self.alpha * 255]).round().astype(np.uint8)
        return MaskTemplate(kind, rgba, sheet_points(), loops=loops)
