"""The flat sheet that masks are drawn on."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from unmask.synthesis.template import MaskTemplate

U_RANGE = (-1.25, 1.25)
V_RANGE = (-0.25, 1.3)
PIXELS_PER_U = 96
PIXELS_PER_V = 140


@dataclass
class Canvas:
    """Fields over the sheet: coordinates, albedo, shade and coverage.

    Args:
        u: `(H, W)` float32, -1 at the left border, 1 at the right.
        v: `(H, W)` float32, 0 at the upper edge, 1 at the lower.
        color: `(H, W, 3)` float32 albedo in [0, 1].
        shade: `(H, W)` float32 factor on the albedo, about 1.
        alpha: `(H, W)` float32 in [0, 1].
    """

    u: np.ndarray
    v: np.ndarray
    color: np.ndarray = field(repr=False)
    shade: np.ndarray = field(repr=False)
    alpha: np.ndarray = field(repr=False)


def new_canvas() -> Canvas:
    """Return an empty white sheet."""
    width = round((U_RANGE[1] - U_RANGE[0]) * PIXELS_PER_U)
    height = round((V_RANGE[1] - V_RANGE[0]) * PIXELS_PER_V)
    u = np.linspace(*U_RANGE, width, dtype=np.float32)
    v = np.linspace(*V_RANGE, height, dtype=np.float32)
    uu, vv = np.meshgrid(u, v)
    return Canvas(
        uu, vv, np.ones((height, width, 3), np.float32), np.ones_like(uu), np.zeros_like(uu)
    )


def soft_step(distance: np.ndarray, width: float) -> np.ndarray:
    """Return 0 below -width, 1 above width and a smooth ramp between."""
    t = np.clip(distance / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def bump(distance: np.ndarray, width: float) -> np.ndarray:
    """Return a bell of height 1 around `distance == 0`."""
    return np.exp(-np.square(distance / width))


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]
) -> np.ndarray:
    """Return smooth noise of about unit deviation: random values on a coarse grid, enlarged."""
    coarse = rng.standard_normal((cells[0] + 3, cells[1] + 3)).astype(np.float32)
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return fine * np.float32(1.3)


def cut(
    canvas: Canvas, top: np.ndarray, bottom: np.ndarray, side: np.ndarray, round_corner: float = 0.0
) -> None:
    """Set the coverage to the region between two edges and two mirrored sides.

    Args:
        canvas: Changed in place.
        top: v of the upper edge, `(H, W)`.
        bottom: v of the lower edge, `(H, W)`.
        side: |u| of the side border, `(H, W)`.
        round_corner: Radius of the corners, in u.
    """
    aspect = PIXELS_PER_V / PIXELS_PER_U
    a = side - np.abs(canvas.u)
    b = (canvas.v - top) * aspect
    c = (bottom - canvas.v) * aspect
    d = np.minimum(a, np.minimum(b, c))
    if round_corner:
        r = round_corner
        e = np.minimum(b, c)
        corner = r - np.hypot(np.maximum(r - a, 0), np.maximum(r - e, 0))
        d = np.where((a < r) & (e < r), corner, d)
    canvas.alpha[...] = soft_step(d, 1.0 / PIXELS_PER_U)


def finish(
    canvas: Canvas,
    kind: str,
    loop_color: tuple[int, int, int] | None,
    loop_width: float,
) -> MaskTemplate:
    """Turn the sheet into a template."""
    rgb = np.clip(canvas.color * canvas.shade[..., None], 0, 1) * 255
    rgba = np.dstack([rgb, canvas.alpha * 255]).round().astype(np.uint8)
    left, middle, right = (
        (x - U_RANGE[0]) * (canvas.u.shape[1] - 1) / (U_RANGE[1] - U_RANGE[0]) for x in (-1, 0, 1)
    )
    top, bottom = (
        (y - V_RANGE[0]) * (canvas.u.shape[0] - 1) / (V_RANGE[1] - V_RANGE[0]) for y in (0, 1)
    )
    points = np.array(
        [
            [left, top],
            [middle, top],
            [right, top],
            [left, bottom],
            [middle, bottom],
            [right, bottom],
        ],
        np.float32,
    )
    return MaskTemplate(kind, rgba, points, "front", loop_color, loop_width)
