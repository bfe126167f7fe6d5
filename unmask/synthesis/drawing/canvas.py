"""The flat sheet that masks are drawn on.

A mask is drawn as fields over the sheet's coordinates (u, v). Light falls on the height field
(folds, seams, the form of the face beneath) at the end, so that folds, ridge and sides agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unmask.synthesis.template import (
    PIXELS_PER_U,
    PIXELS_PER_V,
    Loops,
    MaskTemplate,
    sheet_coordinates,
    sheet_points,
)

Field = NDArray[np.floating]

ASPECT = PIXELS_PER_V / PIXELS_PER_U
"""How many units of u are as long as one of v."""


@dataclass(eq=False, repr=False)
class Canvas:
    """The fields of one mask, (H, W) each; drawing functions change them in place."""

    u: Field
    v: Field
    color: Field  # (H, W, 3) albedo in [0, 1]
    height: Field  # towards the viewer, in pixels
    stain: Field  # factor on the light that does not come from the height: stitches, creases
    alpha: Field  # coverage in [0, 1]


def new_canvas(color: Field) -> Canvas:
    """Return a flat sheet of one colour, `(3,)` in [0, 1]."""
    u, v = np.meshgrid(*sheet_coordinates())
    albedo = np.broadcast_to(color.astype(np.float32), (*u.shape, 3)).copy()
    return Canvas(u, v, albedo, np.zeros_like(u), np.ones_like(u), np.zeros_like(u))


def soft_step(distance: Field, width: float) -> Field:
    """Return 0 below `-width`, 1 above `width` and a smooth ramp between."""
    t = np.clip(distance / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def bump(distance: Field, width: float) -> Field:
    """Return a bell of height 1 around `distance == 0`."""
    return np.exp(-np.square(distance / width))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, int]) -> Field:
    """Return smooth noise of about unit deviation: random values on a coarse grid, enlarged."""
    coarse = rng.standard_normal((cells[0] + 3, cells[1] + 3), dtype=np.float32)
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return fine * np.float32(1.3)


def cut(canvas: Canvas, top: Field, bottom: Field, side: Field, corner: float) -> None:
    """Cover what lies between the edges at v and the sides at |u|, (H, W) each; rounded in u."""
    from_side = side - np.abs(canvas.u)
    from_edge = np.minimum(canvas.v - top, bottom - canvas.v) * ASPECT
    inside = np.minimum(from_side, from_edge)
    rounded = corner - np.hypot(corner - from_side, corner - from_edge)
    inside = np.where((from_side < corner) & (from_edge < corner), rounded, inside)
    canvas.alpha = soft_step(inside, 1.0 / PIXELS_PER_U).astype(np.float32)


def stand_on_face(canvas: Canvas, rng: np.random.Generator, ridge: float = 1.0) -> None:
    """Raise the sheet over nose (`ridge`: how sharply it shows) and chin; bend sides and bottom."""
    u, v = canvas.u, canvas.v
    canvas.height -= rng.uniform(34, 52) * np.abs(u) ** rng.uniform(2.0, 2.8)
    nose = bump(u, rng.uniform(0.22, 0.34)) * soft_step(0.55 - v, 0.35)
    canvas.height += ridge * rng.uniform(10, 20) * nose
    canvas.height += rng.uniform(4, 10) * bump(u, 0.45) * bump(v - 0.78, 0.22)
    below = np.maximum(v - rng.uniform(0.5, 0.62), 0)
    canvas.height -= rng.uniform(110, 190) * below**2


def wrinkle(canvas: Canvas, rng: np.random.Generator, depth: float) -> None:
    """Add folds from the sides, where loops pull: 0.5 pixels deep if stiff, 3 if loose."""
    u, v = canvas.u, canvas.v
    for _ in range(rng.integers(4, 9)):
        side = rng.choice([-1.0, 1.0])
        start, end = rng.uniform(-0.1, 1.1), rng.uniform(0.2, 0.9)
        reach = rng.uniform(0.5, 1.1)
        t = np.clip((1 - side * u) / reach, 0, 1)
        line = start + (end - start) * t + rng.uniform(-0.05, 0.05) * np.sin(np.pi * t)
        fold = bump(v - line, rng.uniform(0.02, 0.05)) * (1 - t) ** 0.7
        canvas.height += depth * rng.uniform(0.4, 1.0) * fold
    _crease(canvas, rng, depth)
    canvas.height += 0.6 * depth * smooth_noise(rng, u.shape, (6, 5))
    canvas.height += 0.25 * depth * smooth_noise(rng, u.shape, (14, 12))


def _crease(canvas: Canvas, rng: np.random.Generator, depth: float) -> None:
    """Add short sharp creases in all directions, most of them across the face."""
    for _ in range(rng.integers(5, 14)):
        angle = rng.normal(0, 0.5)
        u, v = canvas.u - rng.uniform(-0.9, 0.9), (canvas.v - rng.uniform(0.05, 1)) * ASPECT
        along = u * np.cos(angle) + v * np.sin(angle)
        across = v * np.cos(angle) - u * np.sin(angle) + rng.uniform(-0.4, 0.4) * along**2
        width, length = rng.uniform(0.012, 0.03), rng.uniform(0.12, 0.4)
        # One side of a crease is steep, the other runs out.
        profile = np.where(across < 0, bump(across, width), bump(across, 3 * width))
        canvas.height += rng.uniform(-0.5, 0.5) * depth * profile * bump(along, length)


def hem(canvas: Canvas, distance: Field, inset: float, rng: np.random.Generator) -> None:
    """Sew or weld a line at `inset` of the `distance` from an edge, (H, W)."""
    line = bump(distance - inset, 0.010)
    canvas.height -= rng.uniform(0.4, 0.9) * line
    canvas.stain -= rng.uniform(0.02, 0.06) * line


def finish(
    canvas: Canvas, kind: str, loops: Loops | None, rng: np.random.Generator, contrast: float
) -> MaskTemplate:
    """Light the sheet, a share `contrast` of it from one direction, and make a template of it."""
    light = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.7, -0.2), 1.0])
    slope_y, slope_x = np.gradient(canvas.height)
    facing = light[2] - light[0] * slope_x - light[1] * slope_y
    facing /= np.sqrt(1 + slope_x**2 + slope_y**2)
    shade = (1 - contrast) + contrast * np.maximum(facing, 0)
    shade /= np.percentile(shade[canvas.alpha > 0.5], 80)
    rgb = np.clip(canvas.color * (shade * canvas.stain)[..., None], 0, 1) * 255
    rgba = np.dstack([rgb, canvas.alpha * 255]).round().astype(np.uint8)
    return MaskTemplate(kind, rgba, sheet_points(), "front", loops)
