"""One mask lying flat: its picture, its six key points, and the sheet that all are brought to.

On the sheet u is -1 at the mask's left border, 0 along the nose and 1 at its right border; v is 0
at the upper and 1 at the lower edge. Around that lies a margin for what reaches beyond the points.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

U_RANGE = (-1.25, 1.25)
V_RANGE = (-0.25, 1.3)
PIXELS_PER_U = 96
PIXELS_PER_V = 150
SHAPE = (232, 240)
"""Rows and columns of the sheet: its ranges times the pixels of each."""

_FARTHEST_U = 1.15


@dataclass(frozen=True)
class Loops:
    """The ear loops or straps of a mask, drawn on the face between the mask's side and the ear.

    Attributes:
        color: RGB, 0 to 255.
        width: Thickness as a fraction of the mask's width.
        ends: Where the upper and the lower one leave the mask's side: 0 at its upper corner, 1 at
            its lower one.
    """

    color: tuple[int, int, int]
    width: float = 0.02
    ends: tuple[float, float] = (0.08, 0.92)


@dataclass(frozen=True, eq=False)
class MaskTemplate:
    """One mask, lying flat, with the points that are pinned to the face.

    Attributes:
        kind: Family of the mask, for example `"surgical"`; decides how it is worn.
        rgba: (H, W, 4) uint8, straight (not premultiplied) alpha: the mask's body without loops.
        points: (6, 2) float32, (x, y) in template pixels: left, middle and right of the upper edge,
            then of the lower. Left and right are those of the picture.
        view: Head pose that the picture was made for: `"front"`, `"left"` (its left half is the
            far, narrow one) or `"right"`.
        loops: Ear loops, None where they do not show.
        name: Templates of one name are views of the same mask.
    """

    kind: str
    rgba: NDArray[np.uint8] = field(repr=False)
    points: NDArray[np.float32] = field(repr=False)
    view: str = "front"
    loops: Loops | None = None
    name: str = ""


def sheet_coordinates() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return u of the columns, (W,), and v of the rows, (H,)."""
    return (
        np.linspace(*U_RANGE, SHAPE[1], dtype=np.float32),
        np.linspace(*V_RANGE, SHAPE[0], dtype=np.float32),
    )


def sheet_position(surface: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sheet's pixels (x, y) of (u, v); (..., 2) both."""
    low = np.array([U_RANGE[0], V_RANGE[0]], np.float32)
    high = np.array([U_RANGE[1], V_RANGE[1]], np.float32)
    return (surface - low) * ((np.array(SHAPE[::-1], np.float32) - 1) / (high - low))


def sheet_points() -> NDArray[np.float32]:
    """Return the six key points of a sheet in its pixels, (6, 2)."""
    return sheet_position(np.array([(u, v) for v in (0, 1) for u in (-1, 0, 1)], np.float32))


def flatten(template: MaskTemplate) -> MaskTemplate:
    """Resample a template of any size and form to the sheet, its points to `sheet_points()`.

    Its edges are smooth curves through three key points each; between them the map is linear.
    """
    u, v = sheet_coordinates()
    edges = _edges(template.points.astype(np.float64), u)
    positions = edges[0] + v[:, None, None] * (edges[1] - edges[0])
    rgba = cv2.remap(_bleed(template.rgba), positions.astype(np.float32), None, cv2.INTER_LINEAR)
    # The far side of a turned view may run off the sheet; end it with an edge.
    rgba[..., 3] *= np.abs(u) < _FARTHEST_U
    return replace(template, rgba=rgba, points=sheet_points())


def _bleed(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Carry colours outwards over transparent pixels, so that smoothing an edge adds no fringe."""
    color = rgba[..., :3].astype(np.float32)
    weight = (rgba[..., 3] > 200).astype(np.float32)
    spread = cv2.GaussianBlur(color * weight[..., None], (0, 0), 4)
    total = cv2.GaussianBlur(weight, (0, 0), 4)[..., None]
    filled = np.where(weight[..., None] > 0, color, spread / np.maximum(total, 1e-4))
    alpha = cv2.GaussianBlur(rgba[..., 3], (0, 0), 1.0)
    return np.dstack([np.clip(filled, 0, 255).astype(np.uint8), alpha])


def _edges(points: NDArray[np.float64], u: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the upper and the lower edge at u, (2, W, 2)."""
    start, middle, end = (points[[k, k + 3]] for k in range(3))
    chord = end - start
    share = ((middle - start) * chord).sum(1) / np.maximum((chord**2).sum(1), 1e-6)
    bulge = middle - start - share[:, None] * chord
    # Along the chord a monotone cubic, so that a turned view does not fold; across it a parabola.
    along = np.stack([PchipInterpolator([-1, 0, 1], [0, s, 1])(u.clip(-1, 1)) for s in share])
    beyond = (u - u.clip(-1, 1)) * np.where(u < 0, share[:, None], 1 - share[:, None])
    return (
        start[:, None]
        + (along + beyond)[..., None] * chord[:, None]
        + (1 - u**2)[None, :, None] * bulge[:, None]
    )
